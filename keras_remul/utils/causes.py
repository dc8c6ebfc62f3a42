"""What went wrong, in one line, whoever reported it."""

import re

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
# How lines begin that say nothing of what went wrong.
_GENERAL = (
    "Exception encountered when calling",  # Keras
    "Graph execution error",  # TensorFlow
    "Detected at node",
    "<stack traces unavailable",
    'File "',
)


def cause(error):
    """The type and the first line of the exception that others were raised for.

    Keras and the converters of the frameworks wrap what happened in general
    sentences, of which none is taken.

    Args:
        error: an exception.

    Returns:
        Text such as `"ValueError: Unknown operation eigh"`.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in _COLOR.sub("", str(error)).splitlines()]
    said = [line for line in lines if line and not line.startswith(_GENERAL)]
    return f"{type(error).__name__}: {said[0]}" if said else repr(error)
