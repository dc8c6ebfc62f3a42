"""The command `keras-remul recipes`: those of the package."""

import pathlib

from keras_remul.cli.arguments import check_free
from keras_remul.cli.output import add_formats, say, show

COLUMNS = {"name": "name", "dataset": "data set", "model": "model"}


def list_command(arguments):
    """Table of the recipes that `keras-remul train` finds by their names."""
    from keras_remul.experiments import shipped
    from keras_remul.experiments.recipe_file import load_recipes

    rows = []
    for name in shipped.names():
        for key, recipe in load_recipes(shipped.path(name)).items():
            row = f"{name}:{key}", recipe.dataset, type(recipe.model()).__name__
            rows.append(dict(zip(COLUMNS, row, strict=True)))
    show(arguments, COLUMNS, rows)


def copy_command(arguments):
    """Copies recipes into a folder, to change them there."""
    from keras_remul.experiments import shipped

    target = pathlib.Path(arguments.folder)
    sources = shipped.files(None if arguments.name == "all" else arguments.name)
    for file in sources:
        check_free(target / file.name, arguments)
    shipped.copy(sources, target)
    for file in sources:
        say(f"Written: {target / file.name}")


def add_parser(commands):
    """Adds `recipes` to the commands of `keras-remul`."""
    parser = commands.add_parser(
        "recipes", help="list the recipes of the package, or copy them"
    )
    add_formats(parser)
    parser.set_defaults(run=list_command)
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    add_formats(actions.add_parser("list", help="the same as without ACTION"))
    copy = actions.add_parser("copy", help="copy them into a folder")
    copy.add_argument(
        "name",
        nargs="?",
        default="all",
        help="file of recipes, such as nbody_charged (default: %(default)s, "
        "with the tables for `keras-remul reproduce`)",
    )
    copy.add_argument(
        "folder",
        nargs="?",
        default="recipes",
        help="where to (default: %(default)s)",
    )
    copy.add_argument(
        "--force", action="store_true", help="replace files that exist there"
    )
    copy.set_defaults(run=copy_command)
