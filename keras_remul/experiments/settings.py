"""The numbers of a recipe: read from text, and checked."""

import dataclasses
import math

import numpy as np

# How the values of fields that a command line can set are made from text.
_TEXT_TO = {
    str: str,
    str | None: str,
    int: int,
    int | None: int,
    float: float,
    float | None: float,
}
# The least values of whole numbers.
_WHOLE = {
    "epochs": 1,
    "batch_size": 1,
    "passes": 1,
    "checkpoint_every": 1,
    "seed": 0,
    "validation_size": 1,
    "unlabeled_batch_size": 0,
}
_OPTIONAL = ("validation_size", "beta", "tolerance")
_POSITIVE = ("positive", lambda value: value > 0)
_NOT_NEGATIVE = ("at least 0", lambda value: value >= 0)
_REAL = {
    "learning_rate": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "beta": _NOT_NEGATIVE,
    "tolerance": _POSITIVE,
}


def from_text(recipe, changes):
    """Changes of a recipe, with text converted to the type of its field.

    Raises:
        ValueError: the text is not of that type, or the field cannot be set by
            text.
    """
    settable = {
        field.name: _TEXT_TO[field.type]
        for field in dataclasses.fields(recipe)
        if field.type in _TEXT_TO
    }
    result = dict(changes)
    for name, value in changes.items():
        if isinstance(value, str):
            if name not in settable:
                raise ValueError(
                    f"Expected one of {[*settable]} to be set. Received: "
                    f"{name}={value}"
                )
            result[name] = _from_text(name, value, settable[name])
    return result


def _from_text(name, text, convert):
    try:
        return convert(text)
    except ValueError:
        kind = {int: "a whole number", float: "a number"}[convert]
        raise ValueError(
            f"Argument `{name}` must be {kind}. Received: {text!r}"
        ) from None


def plain(recipe):
    """`{name: value}` of NumPy numbers as Python numbers, for JSON."""
    values = {name: getattr(recipe, name) for name in (*_WHOLE, *_REAL)}
    return {
        name: value.item()
        for name, value in values.items()
        if isinstance(value, (np.integer, np.floating))
    }


def check(recipe):
    """Raises ValueError for numbers with which no training is possible."""
    for name, low in _WHOLE.items():
        value = getattr(recipe, name)
        if value is None and name in _OPTIONAL:
            continue
        whole = isinstance(value, int) and low <= value < 2**32
        if not whole or isinstance(value, bool):
            raise ValueError(
                f"Argument `{name}` must be a whole number, at least {low} and "
                f"below 2^32. Received: {value!r}"
            )
    for name, (kind, fits) in _REAL.items():
        number = getattr(recipe, name)
        if number is None and name in _OPTIONAL:
            continue
        real = isinstance(number, (int, float)) and math.isfinite(number)
        if not real or isinstance(number, bool) or not fits(number):
            raise ValueError(
                f"Argument `{name}` must be {kind}, and finite. Received: "
                f"{number!r}"
            )
    if recipe.unlabeled_batch_size and recipe.validation_size is None:
        raise ValueError(
            "Argument `unlabeled_batch_size` needs `validation_size`, since "
            "the inputs without labels are the rest of the validation split. "
            f"Received: unlabeled_batch_size={recipe.unlabeled_batch_size}, "
            "validation_size=None"
        )
    if recipe.unlabeled_batch_size and recipe.aligned:
        raise ValueError(
            "A recipe with `aligned=True` takes no inputs without labels. "
            f"Received: unlabeled_batch_size={recipe.unlabeled_batch_size}"
        )
    if recipe.beta is not None and recipe.tolerance is not None:
        raise ValueError(
            "Arguments `beta` and `tolerance` are two weightings, and a recipe "
            f"has one. Received: beta={recipe.beta}, "
            f"tolerance={recipe.tolerance}. Take one of them out."
        )
