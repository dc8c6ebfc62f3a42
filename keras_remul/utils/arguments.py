"""Arguments of constructors, compared with their annotations."""

import contextlib
import functools
import inspect
import math
import numbers
import re
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
_LONGEST = 80  # characters of what is shown of a value


class Range(NamedTuple):
    """The values of an argument: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]


def at_least(least):
    """Numbers that are not below `least`."""
    return Range(f"at least {least}", lambda value: value >= least)


def between(least, largest):
    """Numbers from `least` to `largest`, both included."""
    words = f"from {least} to {largest}"
    return Range(words, lambda value: least <= value <= largest)


def above(limit):
    """Numbers above `limit`."""
    return Range(f"above {limit}", lambda value: value > limit)


def one_of(*choices):
    """A few values."""
    *others, last = map(str, choices)
    words = f"one of {', '.join(others)} or {last}"
    return Range(words, lambda value: value in choices)


def check_multiples(of, number, **widths):
    """Raises ValueError unless arguments are multiples of another.

    Args:
        of: name of the other.
        number: its value, such as the number of heads.
        **widths: those that it has to divide.
    """
    for key, width in widths.items():
        if width % number:
            raise ValueError(
                f"Argument `{key}` must be a multiple of `{of}`. Received: "
                f"{key}={width}, {of}={number}"
            )


@contextlib.contextmanager
def named(key):
    """Errors of the values in an argument begin with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Argument `{key}`: {error}") from None


POSITIVE = above(0)
RATE = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
SHARE = Range("above 0 and at most 1", lambda value: 0 < value <= 1)


class _Kind(NamedTuple):
    """What an annotation says."""

    one: str
    many: str
    fits: Callable[[Any], bool]
    values: Range | None = None


def _is_integer(value):
    integer = isinstance(value, (int, np.integer))
    return integer and not isinstance(value, bool)


def _is_number(value):
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)


_KINDS = {
    "int": _Kind("an integer", "integers", _is_integer, at_least(1)),
    "float": _Kind("a finite number", "finite numbers", _is_number),
    "bool": _Kind(
        "True or False", "bools", lambda v: isinstance(v, (bool, np.bool_))
    ),
    "str": _Kind("a string", "strings", lambda v: isinstance(v, str)),
}
_SEQUENCE = re.compile(r"Sequence\[(\w+)\]")


def check(
    key: str, value: Any, annotation: str, values: Range | None = None
) -> Any:
    """An argument that fits its annotation.

    Args:
        key: name of the argument.
        value: what was given.
        annotation: `int`, `float`, `bool`, `str`, a `Sequence` of one of these,
            or one of them `| None`, as text. Others are not checked.
        values: a `Range`. Defaults to 1 and more for integers.

    Returns:
        `value`, a number of NumPy as one of Python.

    Raises:
        ValueError: it does not fit.
    """
    name, *others = annotation.split(" | ")
    listed = _SEQUENCE.fullmatch(name)
    kind = _KINDS.get(listed[1] if listed else name)
    if kind is None or others not in ([], ["None"]):
        return value
    if value is None and others:
        return None
    values = values or kind.values
    if listed:
        items = _items(value)
        good = items is not None and all(_fits(v, kind, values) for v in items)
    else:
        good = _fits(value, kind, values)
    if not good:
        words = f"a list of {kind.many}" if listed else kind.one
        if values:
            words += f", each {values.words}" if listed else f", {values.words}"
        words += ", or None" if others else ""
        raise ValueError(
            f"Argument `{key}` must be {words}. Received: {key}={_shown(value)}"
        )
    return value.item() if isinstance(value, np.generic) else value


def _fits(value, kind, values):
    return kind.fits(value) and (values is None or values.holds(value))


def _items(value):
    """Those of a list, tuple or vector; None of anything else."""
    if isinstance(value, (list, tuple)):
        return value
    vector = isinstance(value, (np.ndarray, range)) and np.ndim(value) == 1
    return list(value) if vector else None


def _shown(value):
    """repr in one line that is not long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def checked(**values: Range) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that checks arguments before the constructor runs.

    Each that has one of the annotations of `check` has to fit it.

    Args:
        **values: the `Range` of arguments, where the default of their
            annotation is another.
    """

    def decorated(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(self, /, *args, **kwargs):
            bound = signature.bind(self, *args, **kwargs)
            for key, value in bound.arguments.items():
                annotation = str(signature.parameters[key].annotation)
                bound.arguments[key] = check(
                    key, value, annotation, values.get(key)
                )
            return function(*bound.args, **bound.kwargs)

        # Keras reads it, and does not look behind a decorator.
        setattr(call, "__signature__", signature)  # noqa: B010
        return call

    return decorated
