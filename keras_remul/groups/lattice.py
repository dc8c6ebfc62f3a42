"""Finite groups of the plane, which also act on images: C_n and D_n."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.groups.base import uniform_index
from keras_remul.groups.orthogonal import OrthogonalGroup
from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, Config, Elements, Shape


class _FiniteGroup(OrthogonalGroup):
    """A finite subgroup of O(2), drawn uniformly: its Haar measure.

    On images `(B, H, W, ...)` declared as `Grid` it acts exactly where it is a
    symmetry of the square lattice: (g x)(u) = x(g^-1 u), u from the middle of
    the image. The plane's x axis points right along W and its y axis up,
    against H, so that a turn by 90 degrees is `np.rot90`.
    """

    dimension = 2
    num_normals = 1

    @checked()
    def __init__(self, order: int) -> None:
        self.order = order
        angle = 2 * np.pi * np.arange(order) / order
        c, s = np.cos(angle), np.sin(angle)
        elements = np.array([[c, -s], [s, c]]).transpose(2, 0, 1)
        if not self.proper:
            elements = np.concatenate([elements, elements * [1.0, -1.0]])
        if order in (1, 2, 4):
            elements = np.round(elements) + 0.0  # no -0
            self.grid_axes = 2
        self._matrices = elements

    def from_normal(self, z: Array) -> Elements:
        return self._pick(uniform_index(z[:, 0], self.num_elements), z.dtype)

    @property
    def num_elements(self) -> int:
        return len(self._matrices)

    def _pick(self, index, dtype):
        matrices = ops.convert_to_tensor(self._matrices, dtype)
        return ops.take(matrices, index, axis=0)

    def generators(self) -> dict[str, Any]:
        return {}

    def check_grid(self, sizes: Shape) -> None:
        if self.order == 4 and sizes[0] != sizes[1]:
            raise ValueError(
                f"{self!r} holds quarter turns, which need square images. "
                f"Received: {sizes[0]} x {sizes[1]} cells"
            )

    def move_grid(self, g: Elements, x: Array) -> Array:
        # A symmetry of the square: perhaps exchange the axes, then flips.
        g = self.as_tensor(g)

        def where(condition, new, old):
            axes = (-1,) + (1,) * (len(x.shape) - 1)
            return ops.where(ops.reshape(condition, axes), new, old)

        if self.order == 4:
            # The exchange of H and W is the reflection (x, y) -> (-y, -x).
            swap = ops.abs(g[:, 0, 0]) < 0.5
            x = where(swap, ops.swapaxes(x, 1, 2), x)
            g = ops.where(swap[:, None, None], -ops.flip(g, axis=-1), g)
        x = where(g[:, 0, 0] < 0, ops.flip(x, axis=2), x)
        return where(g[:, 1, 1] < 0, ops.flip(x, axis=1), x)

    def get_config(self) -> Config:
        return {"order": self.order}


@keras.saving.register_keras_serializable(package="keras_remul")
class Cyclic(_FiniteGroup):
    """C_n: rotations of the plane by multiples of 360 / n degrees.

    `sample` draws from the Haar measure: all n elements are equally likely.
    For n = 1, 2, 4 it also acts on images without interpolation, see `Grid`:
    (g x)(u) = x(g^-1 u), with the plane's x axis to the right along W and its
    y axis up, against H, so that the turn by 90 degrees is `np.rot90`.

    Args:
        order: n.

    Example:

    >>> g = Cyclic(4).sample(8, seed=0)    # (8, 2, 2), quarter turns
    """


@keras.saving.register_keras_serializable(package="keras_remul")
class Dihedral(_FiniteGroup):
    """D_n: the rotations of C_n and n reflections, (x, y) -> (x, -y) the first.

    `sample` draws from the Haar measure: all 2n elements are equally likely.
    For n = 1, 2, 4 it also acts on images without interpolation, as `Cyclic`
    does: quarter turns and flips for n = 4.

    Args:
        order: n.

    Example:

    >>> g = Dihedral(4).sample(8, seed=0)    # (8, 2, 2), det +1 or -1
    """

    proper = False
