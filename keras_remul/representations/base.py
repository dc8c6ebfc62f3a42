"""The base class of representations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group
from keras_remul.utils.configurable import Configurable
from keras_remul.utils.dtypes import floating, widened
from keras_remul.utils.typing import Array, Elements, Shape


class Representation(Configurable):
    """How a feature changes under a group.

    A representation acts on the trailing axes of an array
    `(B, ..., *shape)`, with the same element for everything in one sample.
    Linear representations obey rho(gh) = rho(g) rho(h).

    An array that is multiplied keeps its floating-point dtype, and the product
    is computed in float32 at least; integers and booleans become
    `keras.config.floatx()`. An array that is only rearranged, or does not
    change, keeps its dtype.

    To add one, define `shape` and `transform`, and `check` if it does not fit
    every group.

    Example: a rotation of the plane rotates the components (xx - yy, 2 xy) of a
    symmetric matrix by twice its angle.

    >>> @keras.saving.register_keras_serializable("mine")
    ... class Spin2(Representation):
    ...     def shape(self, group):
    ...         return (2,)
    ...     def transform(self, group, g, x):
    ...         turn = group.linear(g)
    ...         return act(group.compose(turn, turn), x)

    Attributes:
        moves_origin: True for affine actions, which translations change.
        per_node: True where axis 1 of `(B, N, ..., *shape)` counts the nodes,
            False where it does not, None where the shape of an array tells; see
            `Symmetry.is_per_node`.
    """

    moves_origin: bool = False
    per_node: bool | None = None

    if TYPE_CHECKING:  # see compound.py

        def __add__(self, other: Representation) -> Representation: ...

    def shape(self, group: Group) -> tuple[int, ...]:
        """Trailing axes of the feature that the group acts on.

        Args:
            group: the `Group`.

        Returns:
            Tuple of sizes; `()` where any axes may follow.
        """
        raise NotImplementedError

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        """Acts on a feature.

        Args:
            group: the `Group`.
            g: B elements of the group.
            x: the feature `(B, ..., *shape)`.

        Returns:
            Array of the shape of x. For its dtype see the class.
        """
        raise NotImplementedError

    def check(self, group: Group) -> None:
        """Checks that the representation is one of this group.

        Args:
            group: the `Group`.

        Raises:
            ValueError: the group does not act on such a feature.
        """

    def check_data(self, group: Group, shape: Shape) -> None:
        """Checks that the group can transform an array of this shape.

        Args:
            group: the `Group`.
            shape: shape of the array, the batch axis first.

        Raises:
            ValueError: it cannot.
        """

    def restrict(
        self, group: Group, g: Elements | None = None
    ) -> tuple[Representation, Group, Elements]:
        """The representation, group and elements that act on the feature.

        Most representations return themselves and the arguments. `OnFactor`
        returns those of one factor of a `Product`.

        Args:
            group: the `Group`.
            g: elements of the group, or None.
        """
        return self, group, g

    def rho(self, group: Group, g: Elements) -> Array:
        """The matrix rho(g) on the flattened feature.

        Args:
            group: the `Group`.
            g: B elements of the group.

        Returns:
            Array `(B, k, k)`, k the product of `shape`. Its columns are the
            images of the unit vectors.

        Raises:
            ValueError: the action is affine and has no matrix.
        """
        if self.moves_origin:
            raise ValueError(
                f"{self!r} is an affine action x -> R x + t and has no matrix "
                "rho. Use Vector() for its linear part."
            )
        shape = self.shape(group)
        k = int(np.prod(shape))
        elements = keras.tree.flatten(g)[0]
        units = ops.eye(k, dtype=floating(elements.dtype))
        units = ops.reshape(units, (1, k, *shape))
        count = ops.shape(elements)[0]
        units = ops.tile(units, (count,) + (1,) * (len(shape) + 1))
        images = ops.reshape(self.transform(group, g, units), (-1, k, k))
        return ops.swapaxes(images, -1, -2)


def act(matrix: Array, x: Array) -> Array:
    """A matrix for each sample, on the last axis.

    Args:
        matrix: `(B, k, k)`.
        x: `(B, ..., k)`.

    Returns:
        `(B, ..., k)` in the dtype of x, or floatx where x holds integers; the
        product is computed in float32 at least.
    """
    rows = widened(x)
    transposed = ops.cast(ops.swapaxes(matrix, -1, -2), rows.dtype)
    if len(x.shape) != 3:
        middle = x.shape[1:-1]
        count = -1 if None in middle else math.prod(middle)  # -1 of 0 / 0
        rows = ops.reshape(rows, (ops.shape(x)[0], count, x.shape[-1]))
    moved = ops.cast(backend.matmul(rows, transposed), floating(x.dtype))
    return moved if len(x.shape) == 3 else ops.reshape(moved, ops.shape(x))


def per_sample(values, x):
    """values `(B,)` with axes added so that they broadcast to x `(B, ...)`."""
    return ops.reshape(values, (-1,) + (1,) * (len(x.shape) - 1))


def times(values, x):
    """values `(B,)` times x `(B, ...)`, in the dtypes of `act`."""
    wide = widened(x)
    values = per_sample(ops.cast(values, wide.dtype), x)
    return ops.cast(wide * values, floating(x.dtype))


def check_vectors(representation, group, dimensions=None):
    """Raises ValueError unless the group acts on vectors of these dimensions.

    Args:
        representation: the `Representation` that asks.
        group: the `Group`.
        dimensions: tuple of the d accepted. None accepts any.
    """
    if group.dimension is None:
        names = group.names("dimension")
        hint = (
            f" Its factors {names} all do, and do not commute: name the "
            "one to use, such as "
            f"OnFactor({names[0]!r}, {representation!r})."
            if names
            else ""
        )
        raise ValueError(
            f"{representation!r} needs a group that acts on vectors. "
            f"Received: group={group!r}.{hint}"
        )
    if dimensions is not None and group.dimension not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise ValueError(
            f"{representation!r} needs a group that acts on {expected} "
            f"dimensions. Received: group={group!r}, which acts on "
            f"{group.dimension} dimensions"
        )
