"""The command `keras-remul`."""

import argparse
import os
import sys

from keras_remul import tables, train_command
from keras_remul.datasets import commands as commands_of_datasets
from keras_remul.presets import commands as commands_of_presets

# TensorFlow and absl write their start-up notes to the terminal otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _quickstart(arguments):
    from keras_remul import quickstart

    quickstart.run(
        output=arguments.output,
        epochs=arguments.epochs,
        seed=arguments.seed,
        data_dir=arguments.data_dir,
    )


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def main(argv=None):
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="keras-remul",
        description="Models that are as equivariant as you ask. The backend "
        "is chosen by the environment variable KERAS_BACKEND.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    quickstart = commands.add_parser(
        "quickstart",
        help="simulate, train, measure, draw, save and load, in minutes",
    )
    quickstart.add_argument(
        "--output",
        default="quickstart_output",
        help="folder for results (default: %(default)s)",
    )
    quickstart.add_argument(
        "--epochs",
        type=_positive,
        default=30,
        help="epochs of each training (default: %(default)s)",
    )
    quickstart.add_argument(
        "--seed", type=int, default=0, help="default: %(default)s"
    )
    quickstart.add_argument(
        "--data-dir",
        help="folder of the data sets (default: that of TFDS)",
    )
    quickstart.set_defaults(run=_quickstart)
    commands_of_datasets.add_parser(commands)
    train_command.add_parser(commands)
    tables.add_parsers(commands)
    commands_of_presets.add_parsers(commands)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f"keras-remul: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
