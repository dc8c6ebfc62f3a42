"""The command `keras-remul train`."""

import importlib.util
import pathlib
import runpy
import sys
import traceback

import keras
from rich.console import Console
from rich.table import Table

from keras_remul.recipe import Recipe

SHOWN = (
    "test_mse",
    "symmetrized_mse",
    "error",
    "relative_error",
    "orbit_variance_share",
    "parameters",
    "seconds",
)


class UsageError(ValueError):
    """What was typed cannot be meant."""


def load_recipe(path):
    """The `RECIPE` of a file; it may import its neighbours.

    Raises:
        ValueError: where there is no such file, no recipe in it, or an error.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        here = sorted(map(str, path.parent.glob("*.py")))
        raise ValueError(f"There is no recipe {path}. In its folder: {here}")
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ValueError(_of_file(path, error)) from error
    finally:
        sys.path.pop(0)
    if "RECIPE" not in names:
        raise ValueError(f"{path} does not define RECIPE, a Recipe.")
    recipe = names["RECIPE"]
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"RECIPE in {path} must be a keras_remul.recipe.Recipe. Received: "
            f"{type(recipe).__name__}"
        )
    return recipe


def _of_file(path, error):
    """What is wrong in a recipe, and in which of its lines."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    where = f"{path}, line {lines[-1]}" if lines and lines[-1] else str(path)
    remedy = "Repair it there."
    if isinstance(error, ModuleNotFoundError):
        remedy = f"Try: pip install {str(error.name).partition('.')[0]}"
    return f"{where}: {type(error).__name__}: {error}. {remedy}"


def changes_of(settings):
    """A dict from texts such as `["epochs=5"]`.

    Raises:
        UsageError: for one without a name or a value.
    """
    pairs = [text.partition("=") for text in settings]
    for name, _, value in pairs:
        if not name or not value:
            raise UsageError(
                "Expected settings as NAME=VALUE, such as epochs=5. Received: "
                f"{[*settings]}"
            )
    return {name: value for name, _, value in pairs}


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
    changes = changes_of(arguments.set)
    recipe = load_recipe(arguments.recipe)
    try:
        recipe = recipe.replace(**changes)
    except ValueError as error:
        raise UsageError(f"--set: {error}") from error
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
        value = result[key]
        table.add_row(key, "none" if value is None else f"{value:.5g}")
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
