"""The words of the type annotations.

Keras states no types, and the arrays of three backends have none in common. So
most of these are `Any` to a type checker, and tell the reader what is meant;
shapes, units and dtypes stand in the docstrings.
"""

import os
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import keras

Array: TypeAlias = Any
"""An array of the backend, which may have no values yet, or of NumPy."""

ArrayLike: TypeAlias = Any
"""An array, a number, or nested lists of numbers."""

Elements: TypeAlias = Any
"""Elements of a group: an array, or a nest of arrays."""

Tree: TypeAlias = Any
"""An array, or dicts, lists and tuples of trees."""

Shape: TypeAlias = tuple[Any, ...]
"""The lengths of the axes of an array; None where any length is possible."""

Shapes: TypeAlias = Any
"""A shape, or dicts, lists and tuples of shapes."""

Seed: TypeAlias = "int | keras.random.SeedGenerator | None"
"""What random numbers are drawn with; None for a new seed each time."""

Config: TypeAlias = dict[str, Any]
"""What `get_config` returns."""

StrPath: TypeAlias = str | os.PathLike[str]
"""A path."""
