"""The command `keras-remul train`."""

import importlib.util
import pathlib
import runpy
import sys

import keras
from rich.console import Console
from rich.table import Table

SHOWN = (
    "test_mse",
    "symmetrized_mse",
    "error",
    "relative_error",
    "orbit_variance_share",
    "parameters",
    "seconds",
)


def load_recipe(path):
    """The `RECIPE` of a file; it may import its neighbours.

    Raises:
        ValueError: where there is no such file, or no recipe in it.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        here = sorted(map(str, path.parent.glob("*.py")))
        raise ValueError(f"There is no recipe {path}. In its folder: {here}")
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        names = runpy.run_path(str(path))
    finally:
        sys.path.pop(0)
    if "RECIPE" not in names:
        raise ValueError(f"{path} does not define RECIPE, a Recipe.")
    return names["RECIPE"]


def _tensorboard(folder):
    packages = ("tensorboard", "tensorflow")
    if not all(importlib.util.find_spec(package) for package in packages):
        raise ValueError(
            "--tensorboard needs TensorFlow, on each backend. Try: pip install "
            '"keras-remul[tensorboard]"'
        )
    return keras.callbacks.TensorBoard(folder, write_graph=False)


def train(arguments):
    """Runs a recipe and shows the result."""
    changes = dict(text.partition("=")[::2] for text in arguments.set)
    recipe = load_recipe(arguments.recipe).replace(**changes)
    name = pathlib.Path(arguments.recipe).stem
    output = arguments.output or f"runs/{name}_seed{recipe.seed}"
    callbacks = []
    if arguments.tensorboard:
        callbacks.append(_tensorboard(f"{output}/tensorboard"))
    result = recipe.run(
        output, data_dir=arguments.data_dir, callbacks=callbacks
    )
    table = Table(title=name, show_header=False)
    for key in SHOWN:
        table.add_row(key, f"{result[key]:.5g}")
    Console().print(table)
    Console().print(f"In {output}: result.json, preset/")


def add_parser(commands):
    """Adds the command to those of `keras-remul`."""
    parser = commands.add_parser(
        "train", help="run a recipe, or go on with a run that was stopped"
    )
    parser.add_argument("recipe", help="a file, such as those in recipes/")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another epochs, batch_size, learning_rate, seed, ...",
    )
    parser.add_argument(
        "--output", help="folder (default: runs/<recipe>_seed<seed>)"
    )
    parser.add_argument(
        "--data-dir", help="folder of the data sets (default: that of TFDS)"
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write logs for TensorBoard into the folder",
    )
    parser.set_defaults(run=train)
