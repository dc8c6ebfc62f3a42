"""Scalings: changes of the unit of length."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul.groups.base import Group, uniform
from keras_remul.utils.arguments import above, between, checked
from keras_remul.utils.typing import Array, Config, Elements


@keras.saving.register_keras_serializable(package="keras_remul")
class Scalings(Group):
    """x -> s x with s > 0, for vectors x of R^d; elements are s times 1.

    A `Vector` is multiplied by s and a `Tensor` by s^rank; a `Scalar` does not
    change; `Homogeneous` gives a feature another power of s.

    The group is not compact. `sample` draws log s uniform between
    -log(max_factor) and log(max_factor): the Haar measure ds / s conditioned
    on 1 / max_factor <= s <= max_factor.

    Args:
        max_factor: largest s, above 1. Defaults to 2.0.
        dimension: d. Defaults to 3.

    Example:

    >>> g = Scalings(max_factor=10.0).sample(8, seed=0)    # (8, 3, 3)
    """

    orthogonal = False
    isotropic = True
    num_normals = 1

    @checked(max_factor=above(1), dimension=between(1, 4))
    def __init__(self, max_factor: float = 2.0, dimension: int = 3) -> None:
        self.max_factor = float(max_factor)
        self.dimension = dimension

    def from_normal(self, z: Array) -> Elements:
        log = (2 * uniform(z) - 1) * math.log(self.max_factor)
        eye = ops.eye(self.dimension, dtype=z.dtype)
        return ops.cast(ops.exp(log), z.dtype)[:, :, None] * eye

    def inverse(self, g: Elements) -> Elements:
        scale = self.scale(g)
        eye = ops.eye(self.dimension, dtype=scale.dtype)
        return eye / scale[:, None, None]

    def linear(self, g: Elements) -> Array:
        return self.as_tensor(g)

    def generators(self) -> dict[str, Any]:
        return {"scaling": np.eye(self.dimension)}

    def scale(self, g: Elements) -> Array:
        return self.as_tensor(g)[:, 0, 0]

    def get_config(self) -> Config:
        return {"max_factor": self.max_factor, "dimension": self.dimension}
