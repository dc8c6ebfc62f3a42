"""The Lorentz group, of space and time, and boosts along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group, rotation_generators, uniform
from keras_remul.groups.orthogonal import O2, SO2, SO3, unit_vector
from keras_remul.utils.arguments import POSITIVE, checked
from keras_remul.utils.typing import Array, Config, Elements

_METRIC = np.array([1.0, -1.0, -1.0, -1.0])


class _OfSpacetime(Group):
    """Matrices L that keep the metric, L^T G L = G: L^-1 = G L^T G."""

    dimension = 4
    orthogonal = False

    def inverse(self, g: Elements) -> Elements:
        g = self.as_tensor(g)
        metric = ops.convert_to_tensor(_METRIC, g.dtype)
        return metric[:, None] * ops.swapaxes(g, -1, -2) * metric

    def linear(self, g: Elements) -> Array:
        return self.as_tensor(g)


@keras.saving.register_keras_serializable(package="keras_remul")
class Lorentz(_OfSpacetime):
    """Rotations and boosts of four-vectors (E, px, py, pz).

    Each element L keeps the metric G = diag(1, -1, -1, -1), L^T G L = G, the
    direction of time and the handedness of space (the restricted group). It
    acts on R^4: `Vector()` has four components here, as `FourVector()` has.

    The group is not compact, so a uniform distribution does not exist.
    `sample` draws L = B R: a Haar rotation R, and a boost B along a uniform
    direction u with the rapidity w uniform between 0 and `max_rapidity`,

        B = [[cosh w, sinh w u^T], [sinh w u, 1 + (cosh w - 1) u u^T]].

    The velocity of a boost is tanh w; float32 errors grow as exp(2 w).

    Args:
        max_rapidity: largest rapidity of a boost. Defaults to 1.0.

    Example:

    >>> g = Lorentz(max_rapidity=0.5).sample(8, seed=0)    # (8, 4, 4)
    """

    num_normals = SO3.num_normals + 4

    @checked(max_rapidity=POSITIVE)
    def __init__(self, max_rapidity: float = 1.0) -> None:
        self.max_rapidity = float(max_rapidity)

    def from_normal(self, z: Array) -> Elements:
        rotation = SO3().from_normal(z[:, :4])
        w = self.max_rapidity * uniform(z[:, 4:5])  # (n, 1)
        u = z[:, 5:]
        u = u / ops.sqrt(ops.sum(ops.square(u), axis=-1, keepdims=True))
        # v = sinh w u, and the rest from it: L keeps the metric exactly, and
        # nothing cancels.
        v = ops.cast(ops.sinh(w), z.dtype) * u  # (n, 3)
        cosh = ops.sqrt(1 + ops.sum(ops.square(v), axis=-1, keepdims=True))
        space = v[:, :, None] * v[:, None, :] / (1 + cosh)[:, :, None]
        space = space + ops.eye(3, dtype=z.dtype)
        first = ops.concatenate([cosh, v], axis=-1)  # (n, 4)
        rest = ops.concatenate([v[:, :, None], space], axis=-1)
        boost = ops.concatenate([first[:, None], rest], axis=1)  # (n, 4, 4)
        turned = backend.matmul(boost[:, :, 1:], rotation)
        return ops.concatenate([boost[:, :, :1], turned], axis=-1)

    def generators(self) -> dict[str, Any]:
        result = {}
        for name, rotation in rotation_generators(3, 3).items():
            result[name] = np.zeros((4, 4))
            result[name][1:, 1:] = rotation
        for i, axis in enumerate("xyz"):
            boost = result[f"boost_{axis}"] = np.zeros((4, 4))
            boost[0, 1 + i] = boost[1 + i, 0] = 1.0
        return result

    def get_config(self) -> Config:
        return {"max_rapidity": self.max_rapidity}


@keras.saving.register_keras_serializable(package="keras_remul")
class Boosts(_OfSpacetime):
    """Boosts of four-vectors (E, px, py, pz) along one axis.

    For the unit axis a and the rapidity w,

        B(w) = [[cosh w, sinh w a^T], [sinh w a, 1 + (cosh w - 1) a a^T]],

    and B(v) B(w) = B(v + w). Boosts along the beam and rotations about it are
    the symmetry of a collider whose partons have any momentum along the beam.
    The two commute, so that their `Product` acts on four-vectors:

        {"boost": Boosts("z"), "turn": SO2("z")}

    The group is not compact. `sample` draws w uniform between `-max_rapidity`
    and `max_rapidity`: the Haar measure dw conditioned on these.

    Args:
        axis: `"x"`, `"y"`, `"z"` or three numbers (made a unit vector).
            Defaults to `"z"`.
        max_rapidity: largest rapidity of a boost. Defaults to 1.0.

    Example:

    >>> g = Boosts("z", max_rapidity=0.5).sample(8, seed=0)    # (8, 4, 4)
    """

    num_normals = 1

    @checked(max_rapidity=POSITIVE)
    def __init__(
        self, axis: str | Sequence[float] = "z", max_rapidity: float = 1.0
    ) -> None:
        if axis is None:
            raise ValueError(
                "Argument `axis` must be 'x', 'y', 'z' or three numbers. "
                "Received: axis=None"
            )
        self.axis = SO2(axis).axis
        self.max_rapidity = float(max_rapidity)

    def direction(self) -> np.ndarray:
        """The unit vector along the axis, of NumPy."""
        return unit_vector(self.axis)

    def commutes_with(self, other: Group) -> bool:
        axis = other.direction() if isinstance(other, (SO2, O2)) else None
        if axis is not None:
            cross = np.cross(self.direction(), axis)
            return bool(np.abs(cross).max() < 1e-9)
        return super().commutes_with(other)

    def from_normal(self, z: Array) -> Elements:
        w = self.max_rapidity * (2 * uniform(z) - 1)
        # cosh from sinh: B keeps the metric exactly.
        sinh = ops.cast(ops.sinh(w), z.dtype)[:, :, None]
        cosh = ops.sqrt(1 + ops.square(sinh))
        boost = self.generators()["boost"]
        still = np.eye(4) - boost @ boost  # across the axis
        across, along, mixed = (
            ops.convert_to_tensor(part, z.dtype)
            for part in (still, boost @ boost, boost)
        )
        return across + cosh * along + sinh * mixed

    def generators(self) -> dict[str, Any]:
        boost = np.zeros((4, 4))
        boost[0, 1:] = boost[1:, 0] = self.direction()
        return {"boost": boost}

    def get_config(self) -> Config:
        return {"axis": self.axis, "max_rapidity": self.max_rapidity}
