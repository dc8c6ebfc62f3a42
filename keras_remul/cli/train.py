"""The command `keras-remul train`."""

from keras_remul.cli.arguments import UsageError, add_data_dir
from keras_remul.cli.output import add_formats, say, show

SHOWN = (
    "test_mse",
    "symmetrized_mse",
    "equivariance_error",
    "relative_equivariance_error",
    "orbit_variance_share",
    "test_energy_mae",
    "test_forces_mae",
    "energy_spread",
    "forces_relative",
    "test_auc",
    "test_accuracy",
    "auc_moved",
    "parameters",
    "seconds",
)


def train(arguments):
    """Runs a recipe and shows the result."""
    from keras_remul.evaluation.measures import EQUIVARIANCE_ERROR
    from keras_remul.experiments.event_files import EventFiles
    from keras_remul.experiments.recipe_file import (
        changes_of,
        load_recipe,
        run_name,
    )

    recipe = load_recipe(arguments.recipe)
    try:
        recipe = recipe.replace(**changes_of(arguments.set))
    except ValueError as error:
        raise UsageError(f"--set: {error}") from error
    name = run_name(arguments.recipe)
    output = arguments.output or f"runs/{name}_seed{recipe.seed}"
    callbacks = []
    if arguments.tensorboard:
        callbacks.append(EventFiles(f"{output}/tensorboard"))
    as_text = arguments.printed_as is None
    result = recipe.run(
        output,
        data_dir=arguments.data_dir,
        verbose="auto" if as_text else 0,  # the progress is no table
        callbacks=callbacks,
    )
    nothing = "none" if as_text else None
    shown = {key: result[key] for key in SHOWN if key in result}
    show(
        arguments,
        {"key": "", "value": ("", ".5g")},
        [
            {"key": key, "value": nothing if value is None else value}
            for key, value in shown.items()
        ],
        title=name,
        caption=EQUIVARIANCE_ERROR if "equivariance_error" in result else None,
        header=False,
    )
    say(f"In {output}: result.json, preset/", arguments)


def add_parser(commands):
    """Adds the command to those of `keras-remul`."""
    parser = commands.add_parser(
        "train", help="run a recipe, or resume a run that was stopped"
    )
    parser.add_argument(
        "recipe",
        help="FILE.py:NAME, a file of yours, or a name that `keras-remul "
        "recipes` lists, such as nbody_charged:egnn",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change epochs, batch_size, learning_rate, seed, ...",
    )
    parser.add_argument(
        "--output", help="folder (default: runs/<recipe>_seed<seed>)"
    )
    add_data_dir(parser)
    add_formats(parser)
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write logs for TensorBoard into the folder",
    )
    parser.set_defaults(run=train)
