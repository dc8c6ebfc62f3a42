"""Changes of sign: charge conjugation, reversal of motion."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.groups.base import Group
from keras_remul.utils.typing import Array, Elements


@keras.saving.register_keras_serializable(package="keras_remul")
class Negation(Group):
    """{1, -1}: all features that are declared `Odd` keep or change their sign.

    A symmetry of many laws beside those of space: all charges flipped leaves
    the motion of charged bodies as it is, and velocities and magnetic fields
    flipped are a motion run backwards. It acts on nothing else, so it is
    mostly one factor of a `Product`.

    `sample` draws from the Haar measure: both signs are equally likely.

    Example:

    >>> group = Product({"space": O3(), "charge": Negation()})
    >>> Symmetry(group, {"positions": "point", "charges": "odd"}, "point")
    """

    negates = True
    num_normals = 1
    num_elements = 2

    @property
    def matrix_size(self) -> int:
        return 1

    def from_normal(self, z: Array) -> Elements:
        one = ops.ones_like(z)
        return ops.where(z < 0, -one, one)[:, :, None]

    def _pick(self, index, dtype):
        return ops.cast(1 - 2 * index, dtype)[:, None, None]

    def inverse(self, g: Elements) -> Elements:
        return self.as_tensor(g)

    def sign(self, g: Elements) -> Array:
        return self.as_tensor(g)[:, 0, 0]

    def generators(self) -> dict[str, Any]:
        return {}
