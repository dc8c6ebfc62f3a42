"""Numbers on a command line, within their ranges."""

import argparse
import math


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
