"""The commands `keras-remul reproduce` and `keras-remul report`."""

from keras_remul.cli.output import say
from keras_remul.evaluation.measures import EQUIVARIANCE_ERROR
from keras_remul.experiments.tables import markdown, report, reproduce


def _reproduce_command(arguments):
    elsewhere = reproduce(
        arguments.table, arguments.recipes, arguments.runs, arguments.data_dir
    )
    if elsewhere:
        say(f"Running in another process: {', '.join(elsewhere)}")
    say(markdown(arguments.table, arguments.recipes))
    say(EQUIVARIANCE_ERROR)


def _report_command(arguments):
    report(arguments.recipes, arguments.output)
    say(f"Written: {arguments.output}")


def add_parsers(commands):
    """Adds the commands to those of `keras-remul`."""
    one = commands.add_parser(
        "reproduce", help="run the missing rows of a table of results"
    )
    one.add_argument("table", help="such as nbody_charged")
    one.add_argument("--runs", default="runs", help="default: %(default)s")
    one.add_argument(
        "--data-dir", help="folder of the data sets (default: that of TFDS)"
    )
    one.set_defaults(run=_reproduce_command)
    two = commands.add_parser("report", help="write the tables of results")
    two.add_argument(
        "--output", default="docs/results.md", help="default: %(default)s"
    )
    two.set_defaults(run=_report_command)
    for parser in (one, two):
        parser.add_argument(
            "--recipes",
            default="recipes",
            help="folder of the recipes (default: %(default)s)",
        )
