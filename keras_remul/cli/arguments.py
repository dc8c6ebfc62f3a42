"""Arguments that commands share: numbers in their ranges, files to write."""

import argparse
import math
import pathlib

ZOO = "address of another zoo (default: KERAS_REMUL_ZOO_URL)"


class UsageError(ValueError):
    """The arguments of the command are not valid."""


def at_least(least):
    """A type for argparse: whole numbers from `least` to 2^32 - 1."""

    def convert(text):
        value = int(text)
        if not least <= value < 2**32:
            raise argparse.ArgumentTypeError(
                f"must be at least {least} and below 2^32, not {value}"
            )
        return value

    convert.__name__ = "whole number"  # which argparse names in its errors
    return convert


def number(text):
    """A type for argparse: a finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be finite, not {value}")
    return value


def positive(text):
    """A type for argparse: a finite number above 0."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be positive, not {value}")
    return value


def add_data_dir(parser):
    """Adds `--data-dir` to a command that loads data sets."""
    parser.add_argument(
        "--data-dir", help="folder of the data sets (default: that of TFDS)"
    )


def add_output(parser, text, **kwargs):
    """Adds `--output` to a command that writes one file, and `--force`.

    Args:
        parser: the parser of the command.
        text: what is written.
        **kwargs: `default=` or `required=` of the option.
    """
    parser.add_argument("--output", help=text, **kwargs)
    parser.add_argument(
        "--force", action="store_true", help="replace what exists there"
    )


def check_free(path, arguments):
    """Raises UsageError if something exists there, unless `--force` is given.

    Args:
        path: the file to write.
        arguments: those of a command with `--force`.
    """
    if pathlib.Path(path).exists() and not arguments.force:
        raise UsageError(f"{path} exists. --force replaces it.")
