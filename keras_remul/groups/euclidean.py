"""Groups with translations: T(d), SE(2), E(2), SE(3), E(3)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group, rotation_generators
from keras_remul.groups.orthogonal import O2, O3, SO2, SO3
from keras_remul.utils.arguments import POSITIVE, between, checked
from keras_remul.utils.typing import Array, Config, Elements


class AffineGroup(Group):
    """x -> R x + t as matrices [[R, t], [0, 1]] of d + 1 rows.

    A uniform distribution on all translations does not exist. `sample` draws
    t from a normal distribution; only R is drawn from the Haar measure.

    Args:
        translation_std: standard deviation of each component of t, in the
            units of the data. Defaults to 1.0.
    """

    dimension = 3
    has_translations = True

    @checked(translation_std=POSITIVE)
    def __init__(self, translation_std: float = 1.0) -> None:
        self.translation_std = float(translation_std)

    def _linear_from_normal(self, z):
        """R `(n, d, d)` from the variates that t does not use."""
        raise NotImplementedError

    def from_normal(self, z: Array) -> Elements:
        d = self.dimension
        t = self.translation_std * z[:, :d]
        return self.assemble(self._linear_from_normal(z[:, d:]), t)

    def assemble(self, linear: Array, t: Array) -> Elements:
        """Makes elements from their two parts.

        Args:
            linear: R `(n, d, d)`.
            t: translations `(n, d)`.

        Returns:
            Elements `(n, d + 1, d + 1)`.
        """
        top = ops.concatenate([linear, t[:, :, None]], axis=-1)  # (n, d, d+1)
        last = ops.one_hot(self.dimension, self.dimension + 1, dtype=top.dtype)
        bottom = ops.zeros_like(top[:, :1]) + last  # (n, 1, d+1)
        return ops.concatenate([top, bottom], axis=1)

    def inverse(self, g: Elements) -> Elements:
        inverse = ops.swapaxes(self.linear(g), -1, -2)
        t = -backend.matmul(inverse, self.translation(g)[:, :, None])
        return self.assemble(inverse, t[:, :, 0])

    def linear(self, g: Elements) -> Array:
        return self.as_tensor(g)[:, : self.dimension, : self.dimension]

    def translation(self, g: Elements) -> Array:
        return self.as_tensor(g)[:, : self.dimension, self.dimension]

    @property
    def matrix_size(self) -> int:
        return self.dimension + 1

    def generators(self) -> dict[str, Any]:
        d = self.dimension
        result = rotation_generators(d, d + 1)
        for i in range(d):
            matrix = np.zeros((d + 1, d + 1))
            matrix[i, d] = 1.0
            result[f"translation_{'xyz'[i]}"] = matrix
        return result

    def get_config(self) -> Config:
        return {"translation_std": self.translation_std}


@keras.saving.register_keras_serializable(package="keras_remul")
class Translations(AffineGroup):
    """Translations of R^d.

    Args:
        dimension: d. Defaults to 3.
        translation_std: standard deviation of each component of the
            translations drawn (a choice, not a Haar measure). Defaults to 1.0.

    Example:

    >>> g = Translations(translation_std=5.0).sample(8, seed=0)    # (8, 4, 4)
    """

    @checked(dimension=between(1, 3))
    def __init__(
        self, dimension: int = 3, translation_std: float = 1.0
    ) -> None:
        super().__init__(translation_std)
        self.dimension = self.num_normals = dimension

    def from_normal(self, z: Array) -> Elements:
        eye = ops.eye(self.dimension, dtype=z.dtype)
        linear = ops.zeros_like(z)[:, :, None] + eye
        return self.assemble(linear, self.translation_std * z)

    def generators(self) -> dict[str, Any]:
        every = super().generators().items()
        return {k: v for k, v in every if k.startswith("translation")}

    def get_config(self) -> Config:
        return {"dimension": self.dimension, **super().get_config()}


@keras.saving.register_keras_serializable(package="keras_remul")
class SE2(AffineGroup):
    """Rigid motions of the plane: rotations and translations.

    Args:
        translation_std: standard deviation of each component of the
            translations drawn (a choice, not a Haar measure); the rotations
            are drawn from the Haar measure of SO(2). Defaults to 1.0.

    Example:

    >>> g = SE2().sample(8, seed=0)    # (8, 3, 3)
    """

    dimension = 2
    num_normals = 2 + SO2.num_normals

    def _linear_from_normal(self, z):
        return SO2(axis=None).from_normal(z)


@keras.saving.register_keras_serializable(package="keras_remul")
class E2(AffineGroup):
    """Rigid motions and reflections of the plane.

    Args:
        translation_std: standard deviation of each component of the
            translations drawn (a choice, not a Haar measure); rotations and
            reflections are drawn from the Haar measure of O(2). Defaults to
            1.0.

    Example:

    >>> g = E2().sample(8, seed=0)    # (8, 3, 3)
    """

    dimension = 2
    proper = False
    num_normals = 2 + O2.num_normals

    def _linear_from_normal(self, z):
        return O2().from_normal(z)


@keras.saving.register_keras_serializable(package="keras_remul")
class SE3(AffineGroup):
    """Rigid motions of space: rotations and translations.

    Args:
        translation_std: standard deviation of each component of the
            translations drawn (a choice, not a Haar measure); the rotations
            are drawn from the Haar measure of SO(3). Defaults to 1.0.

    Example:

    >>> g = SE3().sample(8, seed=0)    # (8, 4, 4)
    """

    num_normals = 3 + SO3.num_normals

    def _linear_from_normal(self, z):
        return SO3().from_normal(z)


@keras.saving.register_keras_serializable(package="keras_remul")
class E3(AffineGroup):
    """Rigid motions and reflections of space.

    Args:
        translation_std: standard deviation of each component of the
            translations drawn (a choice, not a Haar measure); rotations and
            reflections are drawn from the Haar measure of O(3). Defaults to
            1.0.

    Example:

    >>> g = E3(translation_std=0.5).sample(8, seed=0)    # (8, 4, 4)
    """

    proper = False
    num_normals = 3 + O3.num_normals

    def _linear_from_normal(self, z):
        return O3().from_normal(z)
