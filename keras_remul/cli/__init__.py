"""The command `keras-remul`.

The modules of the commands import argparse and no more, so that help and wrong
arguments take no time; a command imports what it needs when it runs.
"""

import importlib
import json
import os
import sys
import traceback

from keras_remul.cli import (
    convert,
    datasets,
    doctor,
    huge_pages,
    md,
    presets,
    quickstart,
    recipes,
    tables,
    train,
)
from keras_remul.cli.arguments import UsageError
from keras_remul.cli.secrets import Parser, hidden, hide
from keras_remul.utils import start
from keras_remul.version import __version__

# Shows where an error came from.
DEBUG = "KERAS_REMUL_DEBUG"
_STOPPED = 130  # as shells say it of SIGINT
_LONGEST = 1000  # characters of what a framework says


def _doing(arguments):
    """The command and its subject, such as "train mine.py"."""
    keys = ("command", "action", "recipe", "name", "names", "table")
    words = []
    for key in keys:
        value = getattr(arguments, key, None) or []
        words += value if isinstance(value, list) else [value]
    return " ".join(["keras-remul", *map(hidden, words)])


def _explained(error, arguments):
    """One line about an error: what happened, and what to do."""
    text = " ".join(hide(arguments, str(error)).split())
    told = isinstance(error, (ValueError, OSError, ImportError))
    if isinstance(error, OSError) and error.strerror:  # of the system
        return (
            f"{hide(arguments, str(error.filename or 'a file'))}: "
            f"{error.strerror}. Check that it exists, that you have access to "
            "it, and that the disk is not full."
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


def _begin(arguments):
    """Imports Keras, on a backend that is installed."""
    # Else TensorFlow writes its start-up notes to the terminal.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        start.begin()
    except ImportError as error:
        raise UsageError(error) from error
    if arguments.again:
        huge_pages.start_again()
    importlib.import_module("keras_remul.presets.methods")


def _run(arguments):
    """Runs a command; returns the exit status, and raises nothing."""
    try:
        if arguments.needs_keras:
            _begin(arguments)
        arguments.run(arguments)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        status, text = _STOPPED, "stopped. The same command resumes a training."
    except BrokenPipeError:
        # Nothing more goes there, at the end of the process neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status, text = 1, "the program that read the output has ended."
    except UsageError as error:
        status, text = 2, _explained(error, arguments)
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        status, text = 1, _explained(error, arguments)
    print(f"{_doing(arguments)}: {text}", file=sys.stderr)
    return status


def main(argv=None):
    """Runs the command line; returns the exit status."""
    parser = Parser(
        prog="keras-remul",
        description="Models that are as equivariant as you ask. The backend "
        "is chosen by the environment variable KERAS_BACKEND.",
        epilog=f"{DEBUG}=1 in the environment shows where errors come from.",
    )
    parser.add_argument(
        "--version", action="version", version=f"keras-remul {__version__}"
    )
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", dest="command"
    )
    quickstart.add_parser(commands)
    datasets.add_parser(commands)
    train.add_parser(commands)
    tables.add_parsers(commands)
    presets.add_parsers(commands)
    convert.add_parser(commands)
    md.add_parser(commands)
    recipes.add_parser(commands)
    doctor.add_parser(commands)
    arguments = parser.parse_args(argv)
    arguments.needs_keras = getattr(arguments, "needs_keras", True)
    arguments.again = argv is None and arguments.command == "train"
    return _run(arguments)
