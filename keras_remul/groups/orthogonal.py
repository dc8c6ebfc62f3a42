"""Rotations and reflections: SO(2), O(2), SO(3), O(3)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group, rotation_generators, uniform
from keras_remul.utils import linalg, polyhedra
from keras_remul.utils.arguments import check, checked
from keras_remul.utils.typing import Array, Config, Elements

# The rotation of a unit quaternion q is quadratic in q: R = (q q^T) C with
# q q^T flattened to 16 numbers and R to 9.
_QUATERNION_TO_ROTATION = np.zeros((4, 4, 3, 3))
for _i in range(3):
    # R = (w^2 - |u|^2) 1 + 2 u u^T + 2 w [u]_x
    _QUATERNION_TO_ROTATION[0, 0, _i, _i] += 1
    for _j in range(3):
        _QUATERNION_TO_ROTATION[1 + _j, 1 + _j, _i, _i] -= 1
        _QUATERNION_TO_ROTATION[1 + _i, 1 + _j, _i, _j] += 2
    _j, _k = (_i + 1) % 3, (_i + 2) % 3
    _QUATERNION_TO_ROTATION[0, 1 + _i, _k, _j] += 2
    _QUATERNION_TO_ROTATION[0, 1 + _i, _j, _k] -= 2
_QUATERNION_TO_ROTATION = _QUATERNION_TO_ROTATION.reshape(16, 9)

# t as a function of s = (6 (t - sin t))^(1/3): t = s p(s^2), p by a fit.
_t = np.linspace(1e-2, np.pi, 1000)
_s = np.cbrt(6 * (_t - np.sin(_t)))
_ANGLE = (
    np.polynomial.Polynomial.fit(_s**2, _t / _s, 10).convert().coef.tolist()
)

# Numbers of the rotations of a tetrahedron, a cube and an icosahedron.
_EVEN = (12, 24, 60)

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def _sign(z):
    """+1 or -1 by the sign of z, +1 at zero."""
    one = ops.ones_like(z)
    return ops.where(z < 0, -one, one)


def _unit(z):
    # Also behind cos and sin, which Keras rounds to float32 on JAX.
    return z / ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True))


class OrthogonalGroup(Group):
    """A subgroup of O(d): R^T R = 1, so the inverse is the transpose."""

    dimension = 3

    def inverse(self, g: Elements) -> Elements:
        return ops.swapaxes(self.as_tensor(g), -1, -2)

    def linear(self, g: Elements) -> Array:
        return self.as_tensor(g)

    def generators(self) -> dict[str, Any]:
        return rotation_generators(self.dimension, self.dimension)

    def rotation_near(self, m: Array) -> Elements:
        """The rotation R of the group with the largest tr(R^T m), for each m.

        Args:
            m: matrices `(n, d, d)`. For m = sum_k q_k p_k^T it is the R that
                brings points p_k closest to q_k ("orthogonal Procrustes").

        Returns:
            Elements `(n, d, d)` of determinant 1.
        """
        raise NotImplementedError


class RotationGroup(OrthogonalGroup):
    """Rotations, optionally with an angle between two bounds."""

    @checked()
    def __init__(
        self, min_angle: float = 0.0, max_angle: float = 180.0
    ) -> None:
        if not 0 <= min_angle <= max_angle <= 180 or max_angle == 0:
            raise ValueError(
                "Arguments `min_angle` and `max_angle` must be degrees with "
                "0 <= min_angle <= max_angle <= 180 and max_angle > 0. "
                f"Received: min_angle={min_angle}, max_angle={max_angle}"
            )
        self.min_angle, self.max_angle = float(min_angle), float(max_angle)
        self._low, self._high = np.radians([min_angle, max_angle]).tolist()

    @property
    def _all_angles(self):
        return (self.min_angle, self.max_angle) == (0.0, 180.0)

    def get_config(self) -> Config:
        return {"min_angle": self.min_angle, "max_angle": self.max_angle}

    def __repr__(self):
        # The bounds are named where there are some.
        text = super().__repr__()
        if self._all_angles:
            text = re.sub(r"(, )?min_angle=0.0, max_angle=180.0", "", text)
        return text


def unit_vector(axis):
    """The unit vector along "x", "y", "z" or three numbers, of NumPy."""
    a = np.array(_AXES[axis] if isinstance(axis, str) else axis)
    return a / np.linalg.norm(a)


@keras.saving.register_keras_serializable(package="keras_remul")
class SO2(RotationGroup):
    """Rotations about one axis of space, or of the plane.

    R(t) = a a^T + cos t (1 - a a^T) + sin t [a]_x for the unit axis a.
    `sample` draws from the Haar measure: t uniform on the circle.

    Args:
        axis: `"x"`, `"y"`, `"z"`, three numbers (made a unit vector), or None
            for the rotations of the plane (d = 2). Defaults to `"z"`.
        min_angle, max_angle: in degrees, from 0 to 180. `sample` draws from
            the Haar measure conditioned on min_angle <= |t| <= max_angle.
            Default to 0 and 180: all rotations.

    Example:

    >>> g = SO2(axis="y").sample(8, seed=0)    # (8, 3, 3)
    """

    num_normals = 2

    @checked()
    def __init__(
        self,
        axis: str | Sequence[float] | None = "z",
        min_angle: float = 0.0,
        max_angle: float = 180.0,
    ) -> None:
        if isinstance(axis, str):
            if axis not in _AXES:
                raise ValueError(
                    "Argument `axis` must be 'x', 'y', 'z', three numbers or "
                    f"None. Received: axis={axis!r}"
                )
        elif axis is not None:
            numbers = check("axis", axis, "Sequence[float]")
            axis = [float(number) for number in numbers]
            if len(axis) != 3 or not np.linalg.norm(axis) > 0:
                raise ValueError(
                    "Argument `axis` must have three components that are not "
                    f"all zero. Received: axis={axis!r}"
                )
        self.axis = axis
        self.dimension = 2 if axis is None else 3
        super().__init__(min_angle, max_angle)

    def direction(self) -> np.ndarray | None:
        """The unit vector a along the axis, of NumPy; None in the plane."""
        return None if self.axis is None else unit_vector(self.axis)

    def _parts(self):
        """a a^T, 1 - a a^T and [a]_x."""
        a = self.direction()
        if a is None:
            return np.zeros((2, 2)), np.eye(2), np.array([[0.0, -1], [1, 0]])
        fixed = np.outer(a, a)
        return fixed, np.eye(3) - fixed, np.cross(np.eye(3), a)

    def generators(self) -> dict[str, Any]:
        return {"rotation": self._parts()[2]}

    def rotation_near(self, m: Array) -> Elements:
        _, cosine, sine = (ops.cast(part, m.dtype) for part in self._parts())
        # Any unit will do, and squares of some units underflow.
        size = ops.max(ops.abs(m), axis=(1, 2), keepdims=True)
        m = m / ops.stop_gradient(ops.where(size > 0, size, 1.0))
        unit = [ops.sum(m * part, axis=(1, 2)) for part in (cosine, sine)]
        # Of no length where no rotation is nearer than another: t = 0.
        nowhere = (unit[0] == 0) & (unit[1] == 0)
        first = ops.where(nowhere, ops.ones_like(unit[0]), unit[0])
        return self._rotation(_unit(ops.stack([first, unit[1]], axis=-1)))

    def even_elements(self, count: int) -> Elements | None:
        """Turns by multiples of 360 / count degrees, for any count.

        Args:
            count: their number.
        """
        if not self._all_angles:
            return None
        t = 2 * np.pi * np.arange(count) / count
        unit = np.stack([np.cos(t), np.sin(t)], axis=-1)
        return self._rotation(
            ops.convert_to_tensor(unit, keras.config.floatx())
        )

    def _rotation(self, unit):
        """The rotations with these (cos t, sin t), `(n, 2)`."""
        unit = unit[:, :, None, None]
        fixed, cosine, sine = (
            ops.convert_to_tensor(part, unit.dtype) for part in self._parts()
        )
        return fixed + unit[:, 0] * cosine + unit[:, 1] * sine

    def from_normal(self, z: Array) -> Elements:
        # (cos t, sin t): the direction of a normal vector of the plane.
        unit = _unit(z)
        if not self._all_angles:
            t = ops.arctan2(unit[:, 1], unit[:, 0])  # uniform in [-pi, pi]
            low, high = self._low, self._high
            t = t * ((high - low) / math.pi) + low * _sign(t)
            unit = ops.stack([ops.cos(t), ops.sin(t)], axis=-1)
            unit = _unit(ops.cast(unit, z.dtype))
        return self._rotation(unit)

    def get_config(self) -> Config:
        return {"axis": self.axis, **super().get_config()}


@keras.saving.register_keras_serializable(package="keras_remul")
class O2(OrthogonalGroup):
    """Rotations and reflections of the plane, or of space around an axis.

    `sample` draws from the Haar measure: a Haar rotation, times one reflection
    with probability one half. The reflection is diag(1, -1) in the plane, and
    in space that at a plane which contains the axis. With an upright axis this
    is the symmetry of bodies with a left and a right side that walk under
    gravity, see `MirrorPermutation`.

    Args:
        axis: None for the plane (d = 2), or as for `SO2`. Defaults to None.

    Example:

    >>> g = O2().sample(8, seed=0)    # (8, 2, 2), det +1 or -1
    >>> g = O2(axis="y").sample(8, seed=0)    # (8, 3, 3)
    """

    proper = False
    num_normals = 3

    def __init__(self, axis: str | Sequence[float] | None = None) -> None:
        self._rotations = SO2(axis)
        self.axis = self._rotations.axis
        self.dimension = self._rotations.dimension

    def generators(self) -> dict[str, Any]:
        return self._rotations.generators()

    def direction(self) -> np.ndarray | None:
        """The unit vector along the axis, of NumPy; None in the plane."""
        return self._rotations.direction()

    def rotation_near(self, m: Array) -> Elements:
        return self._rotations.rotation_near(m)

    def even_elements(self, count: int) -> Elements | None:
        """Turns by equal steps, and their products with a reflection.

        Args:
            count: their number, even.
        """
        half, odd = divmod(count, 2)
        turns = None if odd else self._rotations.even_elements(half)
        if turns is None:
            return None
        mirror = ops.convert_to_tensor(self.reflection(), turns.dtype)
        return ops.concatenate([turns, backend.matmul(turns, mirror)])

    def reflection(self) -> np.ndarray:
        """An element of determinant -1, as a NumPy matrix."""
        if self.axis is None:
            return np.diag([1.0, -1.0])
        fixed = self._rotations._parts()[0]
        # Any normal to the axis will do: take the coordinate farthest from it.
        normal = np.eye(3)[np.argmin(np.diag(fixed))]
        normal = normal - fixed @ normal
        normal = normal / np.linalg.norm(normal)
        return np.eye(3) - 2 * np.outer(normal, normal)

    def from_normal(self, z: Array) -> Elements:
        rotation = self._rotations.from_normal(z[:, :2])
        mirror = ops.convert_to_tensor(self.reflection(), z.dtype)
        mirrored = backend.matmul(rotation, mirror)
        return ops.where(z[:, 2:, None] < 0, mirrored, rotation)

    def get_config(self) -> Config:
        return {"axis": self.axis}

    def __repr__(self):
        return "O2()" if self.axis is None else super().__repr__()


@keras.saving.register_keras_serializable(package="keras_remul")
class SO3(RotationGroup):
    """Rotations of space.

    `sample` draws from the Haar measure: the unit quaternion of each rotation
    is uniform on the 3-sphere (K. Shoemake, "Uniform random rotations",
    Graphics Gems III, 1992).

    With bounds on the angle t it draws from the Haar measure conditioned on
    these: t has the density (1 - cos t) between them, and the axis is uniform
    on the sphere. The inverse of such a rotation is another one, the product
    of two need not be.

    Args:
        min_angle, max_angle: in degrees, from 0 to 180. Default to 0 and 180:
            all rotations.

    Example:

    >>> g = SO3().sample(8, seed=0)    # (8, 3, 3)
    >>> small = SO3(max_angle=10.0)
    >>> large = SO3(min_angle=90.0, max_angle=180.0)
    """

    num_normals = 4

    def from_normal(self, z: Array) -> Elements:
        if self._all_angles:
            q = _unit(z)
        else:
            half = 0.5 * self._angle(uniform(z[:, :1]))
            axis = ops.sin(half) * _unit(z[:, 1:])
            q = ops.concatenate([ops.cos(half), axis], axis=-1)
            q = _unit(ops.cast(q, z.dtype))
        outer = ops.reshape(q[:, :, None] * q[:, None, :], (-1, 16))
        table = ops.convert_to_tensor(_QUATERNION_TO_ROTATION, z.dtype)
        return ops.reshape(backend.matmul(outer, table), (-1, 3, 3))

    def rotation_near(self, m: Array) -> Elements:
        return linalg.nearest_rotation(m)

    def even_elements(self, count: int) -> Elements | None:
        """12, 24 or 60 rotations: those of a tetrahedron, cube, icosahedron.

        Args:
            count: their number.
        """
        if count not in _EVEN or not self._all_angles:
            return None
        matrices = polyhedra.rotations(count).as_matrix()
        return ops.convert_to_tensor(matrices, keras.config.floatx())

    def _angle(self, u):
        """The angle below which a share u of the sampled rotations lies.

        Solves t - sin t = y with y = (1 - u) y(min_angle) + u y(max_angle).
        """
        low, high = self._low, self._high
        y_low, y_high = low - math.sin(low), high - math.sin(high)
        y = y_low + u * (y_high - y_low)
        s = ops.power(6 * y, 1 / 3)  # t = s for small t
        ratio = ops.zeros_like(s)
        for coefficient in reversed(_ANGLE):
            ratio = ratio * ops.square(s) + coefficient
        return ops.clip(s * ratio, low, high)


@keras.saving.register_keras_serializable(package="keras_remul")
class O3(OrthogonalGroup):
    """Rotations and reflections of space, O(3) = SO(3) x {1, -1}.

    `sample` draws from the Haar measure: a Haar rotation times 1 or -1 with
    probability one half each.

    Example:

    >>> g = O3().sample(8, seed=0)    # (8, 3, 3), det +1 or -1
    """

    proper = False
    num_normals = 5

    def from_normal(self, z: Array) -> Elements:
        return SO3().from_normal(z[:, :4]) * _sign(z[:, 4:])[:, :, None]

    def rotation_near(self, m: Array) -> Elements:
        return SO3().rotation_near(m)

    def even_elements(self, count: int) -> Elements | None:
        """24, 48 or 120: rotations of a polyhedron, and these times -1.

        Args:
            count: their number.
        """
        rotations = None if count % 2 else SO3().even_elements(count // 2)
        if rotations is None:
            return None
        return ops.concatenate([rotations, -rotations])

    def reflection(self) -> np.ndarray:
        """An element of determinant -1, as a NumPy matrix."""
        return -np.eye(3)
