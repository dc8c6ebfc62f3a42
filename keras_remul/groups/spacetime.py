"""The Lorentz group, of space and time."""

import math

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group, rotation_generators, uniform
from keras_remul.groups.orthogonal import SO3

_METRIC = np.array([1.0, -1.0, -1.0, -1.0])


@keras.saving.register_keras_serializable(package="keras_remul")
class Lorentz(Group):
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

    dimension = 4
    orthogonal = False
    num_normals = SO3.num_normals + 4

    def __init__(self, max_rapidity=1.0):
        if not 0 < max_rapidity < math.inf:
            raise ValueError(
                "Argument `max_rapidity` must be positive and finite. "
                f"Received: max_rapidity={max_rapidity}"
            )
        self.max_rapidity = float(max_rapidity)

    def from_normal(self, z):
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

    def inverse(self, g):
        g = self.as_tensor(g)
        metric = ops.convert_to_tensor(_METRIC, g.dtype)
        return metric[:, None] * ops.swapaxes(g, -1, -2) * metric

    def linear(self, g):
        return self.as_tensor(g)

    def generators(self):
        result = {}
        for name, rotation in rotation_generators(3, 3).items():
            result[name] = np.zeros((4, 4))
            result[name][1:, 1:] = rotation
        for i, axis in enumerate("xyz"):
            boost = result[f"boost_{axis}"] = np.zeros((4, 4))
            boost[0, 1 + i] = boost[1 + i, 0] = 1.0
        return result

    def get_config(self):
        return {"max_rapidity": self.max_rapidity}
