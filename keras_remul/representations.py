"""Representations: how one feature changes under a group.

A representation acts on the trailing axes of an array `(B, ..., *shape)`, the
same element on all that one sample holds. "Linear" ones obey
rho(gh) = rho(g) rho(h); `Point` is an affine action.
"""

import difflib

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.configurable import Configurable


class Representation(Configurable):
    """How a feature changes under a group.

    To add one, give `shape` and `transform`, and `check` where not every
    group will do.
    """

    def shape(self, group):
        """Trailing axes of the feature that the group acts on."""
        raise NotImplementedError

    def transform(self, group, g, x):
        """Acts with g `(B, m, m)` on x `(B, ..., *shape)`."""
        raise NotImplementedError

    def check(self, group):
        """Raises ValueError where the representation has no meaning."""

    def rho(self, group, g):
        """The matrix rho(g) `(B, k, k)` on the flattened feature.

        The columns are the images of the unit vectors.
        """
        shape = self.shape(group)
        k = int(np.prod(shape))
        units = ops.reshape(ops.eye(k, dtype=g.dtype), (1, k, *shape))
        units = ops.tile(units, (ops.shape(g)[0],) + (1,) * (len(shape) + 1))
        images = ops.reshape(self.transform(group, g, units), (-1, k, k))
        return ops.swapaxes(images, -1, -2)


def _act(matrix, x):
    """matrix `(B, k, k)` on the last axis of x `(B, ..., k)`."""
    transposed = ops.cast(ops.swapaxes(matrix, -1, -2), x.dtype)
    if len(x.shape) == 3:
        return backend.matmul(x, transposed)
    rows = ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1]))
    return ops.reshape(backend.matmul(rows, transposed), ops.shape(x))


def _per_sample(values, x):
    """values `(B,)` with axes added so that they multiply x `(B, ...)`."""
    values = ops.cast(values, x.dtype)
    return ops.reshape(values, (-1,) + (1,) * (len(x.shape) - 1))


@keras.saving.register_keras_serializable(package="keras_remul")
class Scalar(Representation):
    """Numbers that no transformation changes: charge, mass, energy."""

    def shape(self, group):
        return ()

    def transform(self, group, g, x):
        return x


@keras.saving.register_keras_serializable(package="keras_remul")
class Pseudoscalar(Representation):
    """Numbers that change sign under reflections: x -> det(R) x."""

    def shape(self, group):
        return ()

    def transform(self, group, g, x):
        parity = group.parity(g)
        return x if parity is None else x * _per_sample(parity, x)


@keras.saving.register_keras_serializable(package="keras_remul")
class Vector(Representation):
    """Displacements, velocities, forces: x -> R x. Last axis d."""

    def shape(self, group):
        return (group.dimension,)

    def transform(self, group, g, x):
        return _act(group.linear(g), x)


@keras.saving.register_keras_serializable(package="keras_remul")
class Pseudovector(Representation):
    """Angular momenta, magnetic fields: x -> det(R) R x. Last axis 3."""

    def check(self, group):
        if group.dimension != 3:
            raise ValueError(
                "Pseudovector() has a meaning in three dimensions only; in "
                "the plane an angular momentum is a Pseudoscalar(). Received: "
                f"group={group!r}, which acts on {group.dimension} dimensions"
            )

    def shape(self, group):
        return (3,)

    def transform(self, group, g, x):
        x = _act(group.linear(g), x)
        parity = group.parity(g)
        return x if parity is None else x * _per_sample(parity, x)


@keras.saving.register_keras_serializable(package="keras_remul")
class Point(Representation):
    """Positions: x -> R x + t. Last axis d.

    An affine action, not a linear representation: only a group with
    translations tells it from `Vector`.
    """

    def shape(self, group):
        return (group.dimension,)

    def transform(self, group, g, x):
        translation = group.translation(g)
        x_rotated = _act(group.linear(g), x)
        if translation is None:
            return x_rotated
        axes = (-1,) + (1,) * (len(x.shape) - 2) + (group.dimension,)
        return x_rotated + ops.reshape(ops.cast(translation, x.dtype), axes)

    def rho(self, group, g):
        raise ValueError(
            "Point() is an affine action x -> R x + t and has no matrix rho. "
            "Use Vector() for its linear part."
        )


@keras.saving.register_keras_serializable(package="keras_remul")
class Tensor(Representation):
    """Tensors T -> R T R^T and higher: stress, inertia, polarisability.

    T_ij.. -> R_ia R_jb .. T_ab.. on the last `rank` axes, each of size d.

    Args:
        rank: number of indices, 1 to 4. Rank 1 is a `Vector`.
    """

    def __init__(self, rank):
        if not isinstance(rank, int) or not 1 <= rank <= 4:
            raise ValueError(
                "Argument `rank` must be an integer from 1 to 4. Received: "
                f"rank={rank!r}"
            )
        self.rank = rank

    def shape(self, group):
        return (group.dimension,) * self.rank

    def transform(self, group, g, x):
        d = group.dimension
        linear = group.linear(g)
        # The Kronecker power of R acts on the flattened indices.
        power = linear
        for _ in range(self.rank - 1):
            size = power.shape[-1] * d
            power = power[:, :, None, :, None] * linear[:, None, :, None, :]
            power = ops.reshape(power, (-1, size, size))
        flat = ops.reshape(x, ops.shape(x)[: -self.rank] + (d**self.rank,))
        return ops.reshape(_act(power, flat), ops.shape(x))

    def get_config(self):
        return {"rank": self.rank}


_NAMES = {
    "scalar": Scalar,
    "pseudoscalar": Pseudoscalar,
    "vector": Vector,
    "pseudovector": Pseudovector,
    "point": Point,
}


def get(identifier):
    """A `Representation` from an instance or one of the names.

    Args:
        identifier: a `Representation`, or `"scalar"`, `"pseudoscalar"`,
            `"vector"`, `"pseudovector"`, `"point"`.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if isinstance(identifier, Representation):
        return identifier
    if isinstance(identifier, str) and identifier.lower() in _NAMES:
        return _NAMES[identifier.lower()]()
    near = difflib.get_close_matches(str(identifier).lower(), _NAMES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"Unknown representation {identifier!r}.{hint} Expected one of "
        f"{sorted(_NAMES)} or an instance of "
        "keras_remul.representations.Representation, such as Tensor(rank=2)."
    )
