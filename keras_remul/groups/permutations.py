"""Permutations of the nodes of a sample, and shifts of a grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.groups.base import Group, uniform_index
from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, ArrayLike, Config, Elements, Shape


def _take(x, index):
    """x `(B, N, ...)` with the entries `index` `(B, N)` of axis 1."""
    x = ops.convert_to_tensor(x)
    axes = (1,) * (len(x.shape) - 2)
    index = ops.reshape(index, ops.shape(index) + axes)
    index = ops.broadcast_to(index, ops.shape(x))
    return ops.take_along_axis(x, index, axis=1)


class _IntegerGroup(Group):
    """A group whose elements are rows of integers, int32."""

    def as_tensor(self, g: ArrayLike) -> Elements:
        g = ops.convert_to_tensor(g)
        if "int" not in keras.backend.standardize_dtype(g.dtype):
            raise ValueError(
                f"The elements of {self!r} are integers. Received: elements of "
                f"dtype {keras.backend.standardize_dtype(g.dtype)}"
            )
        return ops.cast(g, "int32")

    def generators(self) -> dict[str, Any]:
        return {}


@keras.saving.register_keras_serializable(package="keras_remul")
class Permutations(_IntegerGroup):
    """S_N: permutations of the N nodes of a sample.

    An element is an array of indices: (g x)_i = x_{g_i} on the node axis of
    each leaf `(B, N, ...)`, whatever its representation. Leaves `(B, C)`, one
    value per sample, do not change. Nothing is rounded. The group does not act
    on vectors; `Product` combines it with one that does.

    `sample` draws from the Haar measure: all N! permutations are equally
    likely.

    Args:
        num_nodes: N.

    Example:

    >>> g = Permutations(5).sample(8, seed=0)    # (8, 5), int32
    """

    num_nodes: int

    @checked()
    def __init__(self, num_nodes: int) -> None:
        self.num_nodes = self.num_normals = num_nodes

    def from_normal(self, z: Array) -> Elements:
        return ops.cast(ops.argsort(z, axis=-1), "int32")

    @property
    def num_elements(self) -> int:
        return math.factorial(self.num_nodes)

    def _pick(self, index, dtype):
        every = list(itertools.permutations(range(self.num_nodes)))
        every = ops.convert_to_tensor(np.array(every, "int32"))
        return ops.take(every, index, axis=0)

    def identity(self, n: int | Array, dtype: str | None = None) -> Elements:
        return ops.tile(ops.arange(self.num_nodes, dtype="int32")[None], (n, 1))

    def compose(self, a: ArrayLike, b: ArrayLike) -> Elements:
        # (a b x)_i = (b x)_{a_i} = x_{b_{a_i}}
        return _take(self.as_tensor(b), self.as_tensor(a))

    def inverse(self, g: Elements) -> Elements:
        return ops.cast(ops.argsort(self.as_tensor(g), axis=-1), "int32")

    def permute(self, g: Elements, x: Array) -> Array:
        return _take(x, self.as_tensor(g))

    def get_config(self) -> Config:
        return {"num_nodes": self.num_nodes}


@keras.saving.register_keras_serializable(package="keras_remul")
class CircularShifts(_IntegerGroup):
    """Shifts of a periodic grid by whole cells, on its first axes.

    An element holds one shift t per axis: (g x)_u = x_{u - t}, with indices
    modulo the size of the axis, on leaves declared as `Grid`. Nothing is
    rounded. Components of vectors do not change.

    `sample` draws from the Haar measure: all shifts are equally likely.

    Args:
        sizes: number of cells on each axis, such as (H, W).

    Example:

    >>> g = CircularShifts(sizes=(28, 28)).sample(8, seed=0)    # (8, 2), int32
    """

    @checked()
    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = [int(size) for size in sizes]
        if not 1 <= len(self.sizes) <= 3:
            raise ValueError(
                "Argument `sizes` must hold the positive sizes of one to "
                f"three axes. Received: sizes={sizes!r}"
            )
        self.grid_axes = self.num_normals = len(self.sizes)

    def _modulo(self, shifts):
        sizes = ops.convert_to_tensor(self.sizes, "int32")
        return ops.mod(shifts, sizes)

    def from_normal(self, z: Array) -> Elements:
        return uniform_index(z, ops.convert_to_tensor(self.sizes, "int32"))

    @property
    def num_elements(self) -> int:
        return math.prod(self.sizes)

    def _pick(self, index, dtype):
        every = np.stack(np.unravel_index(range(self.num_elements), self.sizes))
        every = ops.convert_to_tensor(every.T.astype("int32"))
        return ops.take(every, index, axis=0)

    def identity(self, n: int | Array, dtype: str | None = None) -> Elements:
        return ops.zeros((n, self.grid_axes), "int32")

    def compose(self, a: ArrayLike, b: ArrayLike) -> Elements:
        return self._modulo(self.as_tensor(a) + self.as_tensor(b))

    def inverse(self, g: Elements) -> Elements:
        return self._modulo(-self.as_tensor(g))

    def check_grid(self, sizes: Shape) -> None:
        if list(sizes) != self.sizes:
            raise ValueError(
                f"{self!r} acts on grids of {self.sizes} cells. Received: "
                f"{list(sizes)} cells"
            )

    def move_grid(self, g: Elements, x: Array) -> Array:
        g = self.as_tensor(g)
        for axis, size in enumerate(self.sizes):
            source = ops.arange(size, dtype="int32") - g[:, axis : axis + 1]
            x = ops.swapaxes(x, 1, 1 + axis)
            x = _take(x, ops.mod(source, size))
            x = ops.swapaxes(x, 1, 1 + axis)
        return x

    def get_config(self) -> Config:
        return {"sizes": self.sizes}
