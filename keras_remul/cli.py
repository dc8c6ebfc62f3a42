"""The command `keras-remul`."""

import argparse
import json
import os
import sys
import traceback

from keras_remul import tables, train_command
from keras_remul.arguments import at_least
from keras_remul.datasets import commands as commands_of_datasets
from keras_remul.presets import commands as commands_of_presets
from keras_remul.web import redact

# TensorFlow and absl write their start-up notes to the terminal otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Shows where an error came from.
DEBUG = "KERAS_REMUL_DEBUG"
_STOPPED = 130  # as shells say it of SIGINT
_LONGEST = 1000  # characters of what a framework says


def _quickstart(arguments):
    from keras_remul import quickstart

    quickstart.run(
        output=arguments.output,
        epochs=arguments.epochs,
        seed=arguments.seed,
        data_dir=arguments.data_dir,
    )


def _doing(arguments):
    """The command and what it is about, such as "train mine.py"."""
    keys = ("command", "action", "recipe", "name", "names", "table")
    words = []
    for key in keys:
        value = getattr(arguments, key, None) or []
        words += value if isinstance(value, list) else [value]
    return " ".join(["keras-remul", *map(redact, words)])


def _explained(error):
    """One line about an error: what happened, and what to do."""
    text = redact(" ".join(str(error).split()))
    told = isinstance(error, (ValueError, OSError, ImportError))
    if isinstance(error, OSError) and error.strerror:  # of the system
        return (
            f"{redact(error.filename or 'a file')}: {error.strerror}. Look "
            "whether it is there, whether you may use it and whether the disk "
            "has room."
        )
    if told and not isinstance(error, (UnicodeError, json.JSONDecodeError)):
        return text or type(error).__name__
    if isinstance(error, MemoryError):
        return (
            "the memory is used up. Try a smaller batch_size, model or part "
            f"of the data. {text}"
        )
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} ..."
    return (
        f"{type(error).__name__}: {text}. This was not expected; set {DEBUG}=1 "
        "to see where it comes from."
    )


def _run(arguments):
    """Runs a command; returns the exit status, and raises nothing."""
    try:
        arguments.run(arguments)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        status, text = _STOPPED, "stopped. A training goes on where it was."
    except BrokenPipeError:
        # Nothing more goes there, at the end of the process neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status, text = 1, "the program that read the output has ended."
    except train_command.UsageError as error:
        status, text = 2, _explained(error)
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        status, text = 1, _explained(error)
    print(f"{_doing(arguments)}: {text}", file=sys.stderr)
    return status


def main(argv=None):
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="keras-remul",
        description="Models that are as equivariant as you ask. The backend "
        "is chosen by the environment variable KERAS_BACKEND.",
        epilog=f"{DEBUG}=1 in the environment shows where errors come from.",
    )
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", dest="command"
    )
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
        type=at_least(1),
        default=30,
        help="epochs of each training (default: %(default)s)",
    )
    quickstart.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        help="default: %(default)s",
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
    return _run(arguments)


if __name__ == "__main__":
    sys.exit(main())
