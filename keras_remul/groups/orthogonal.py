"""Rotations and reflections: SO(2), SO(3), O(3)."""

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group

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

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def _unit(z):
    return z / ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True))


class OrthogonalGroup(Group):
    """A subgroup of O(d): R^T R = 1, so the inverse is the transpose."""

    def inverse(self, g):
        return ops.swapaxes(g, -1, -2)

    def linear(self, g):
        return g


@keras.saving.register_keras_serializable(package="keras_remul")
class SO2(OrthogonalGroup):
    """Rotations about one axis of space, or of the plane.

    R(t) = a a^T + cos t (1 - a a^T) + sin t [a]_x for the unit axis a.
    `sample` draws from the Haar measure: t uniform on the circle.

    Args:
        axis: `"x"`, `"y"`, `"z"`, three numbers (made a unit vector), or None
            for the rotations of the plane (d = 2). Defaults to `"z"`.

    Example:

    >>> g = SO2(axis="y").sample(8, seed=0)    # (8, 3, 3)
    """

    num_normals = 2

    def __init__(self, axis="z"):
        if isinstance(axis, str):
            if axis not in _AXES:
                raise ValueError(
                    "Argument `axis` must be 'x', 'y', 'z', three numbers or "
                    f"None. Received: axis={axis!r}"
                )
        elif axis is not None:
            axis = [float(value) for value in axis]
            if len(axis) != 3 or not np.linalg.norm(axis) > 0:
                raise ValueError(
                    "Argument `axis` must have three components that are not "
                    f"all zero. Received: axis={axis!r}"
                )
        self.axis = axis
        self.dimension = 2 if axis is None else 3

    def from_normal(self, z):
        if self.axis is None:
            fixed, cosine = np.zeros((2, 2)), np.eye(2)
            sine = np.array([[0.0, -1.0], [1.0, 0.0]])
        else:
            named = isinstance(self.axis, str)
            a = np.array(_AXES[self.axis] if named else self.axis)
            a = a / np.linalg.norm(a)
            fixed = np.outer(a, a)
            cosine = np.eye(3) - fixed
            sine = np.cross(np.eye(3), a)  # [a]_x
        # (cos t, sin t): the direction of a normal vector of the plane.
        unit = _unit(z)[:, :, None, None]
        dtype = z.dtype
        return (
            ops.convert_to_tensor(fixed, dtype)
            + unit[:, 0] * ops.convert_to_tensor(cosine, dtype)
            + unit[:, 1] * ops.convert_to_tensor(sine, dtype)
        )

    def get_config(self):
        return {"axis": self.axis}


@keras.saving.register_keras_serializable(package="keras_remul")
class SO3(OrthogonalGroup):
    """Rotations of space.

    `sample` draws from the Haar measure: the unit quaternion of each rotation
    is uniform on the 3-sphere (K. Shoemake, "Uniform random rotations",
    Graphics Gems III, 1992).

    Example:

    >>> g = SO3().sample(8, seed=0)    # (8, 3, 3)
    """

    num_normals = 4

    def from_normal(self, z):
        q = _unit(z)
        outer = ops.reshape(q[:, :, None] * q[:, None, :], (-1, 16))
        table = ops.convert_to_tensor(_QUATERNION_TO_ROTATION, z.dtype)
        return ops.reshape(backend.matmul(outer, table), (-1, 3, 3))


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

    def from_normal(self, z):
        one = ops.ones_like(z[:, 4:])
        sign = ops.where(z[:, 4:] < 0, -one, one)  # (n, 1)
        return SO3().from_normal(z[:, :4]) * sign[:, :, None]
