"""Scalars, vectors, points and tensors, by their Cartesian components."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_remul.groups.base import Group
from keras_remul.representations.base import (
    Representation,
    act,
    check_vectors,
    per_sample,
    times,
)
from keras_remul.utils.arguments import at_least, between, checked
from keras_remul.utils.dtypes import floating, widened
from keras_remul.utils.typing import Array, Config, Elements


class _Spatial(Representation):
    """A feature that has a meaning only where the group acts on vectors."""

    def check(self, group: Group) -> None:
        check_vectors(self, group)


@keras.saving.register_keras_serializable(package="keras_remul")
class Scalar(Representation):
    """Numbers that no transformation changes: charge, mass, energy."""

    def shape(self, group: Group) -> tuple[int, ...]:
        return ()

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        return x


@keras.saving.register_keras_serializable(package="keras_remul")
class Pseudoscalar(_Spatial):
    """Numbers that change sign under reflections: x -> det(R) x."""

    def shape(self, group: Group) -> tuple[int, ...]:
        return ()

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        parity = group.parity(g)
        return x if parity is None else times(parity, x)


@keras.saving.register_keras_serializable(package="keras_remul")
class Vector(_Spatial):
    """Displacements, velocities, forces: x -> R x. Last axis d."""

    def shape(self, group: Group) -> tuple[int, ...]:
        return (group.dimension,)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        return act(group.linear(g), x)


@keras.saving.register_keras_serializable(package="keras_remul")
class Pseudovector(_Spatial):
    """Angular momenta, magnetic fields: x -> det(R) R x. Last axis 3."""

    def check(self, group: Group) -> None:
        if group.dimension == 2:
            raise ValueError(
                "Pseudovector() has a meaning in three dimensions only; in "
                "the plane an angular momentum is a Pseudoscalar(). Received: "
                f"group={group!r}, which acts on 2 dimensions"
            )
        check_vectors(self, group, dimensions=(3,))

    def shape(self, group: Group) -> tuple[int, ...]:
        return (3,)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        x = act(group.linear(g), x)
        parity = group.parity(g)
        return x if parity is None else times(parity, x)


@keras.saving.register_keras_serializable(package="keras_remul")
class Point(_Spatial):
    """Positions: x -> R x + t. Last axis d.

    An affine action, not a linear representation. It differs from `Vector` only
    for groups with translations.
    """

    moves_origin = True

    def shape(self, group: Group) -> tuple[int, ...]:
        return (group.dimension,)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        translation = group.translation(g)
        if translation is None:
            return act(group.linear(g), x)
        rotated = act(group.linear(g), widened(x))
        axes = (-1,) + (1,) * (len(x.shape) - 2) + (group.dimension,)
        translation = ops.reshape(ops.cast(translation, rotated.dtype), axes)
        return ops.cast(rotated + translation, floating(x.dtype))


@keras.saving.register_keras_serializable(package="keras_remul")
class Tensor(_Spatial):
    """Tensors T -> R T R^T and higher: stress, inertia, polarisability.

    T_ij.. -> R_ia R_jb .. T_ab.. on the last `rank` axes, each of size d.

    Args:
        rank: number of indices, 1 to 4. Rank 1 is a `Vector`.
    """

    @checked(rank=between(1, 4))
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def shape(self, group: Group) -> tuple[int, ...]:
        return (group.dimension,) * self.rank

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        d = group.dimension
        linear = widened(group.linear(g))
        # The Kronecker power of R acts on the flattened indices.
        power = linear
        for _ in range(self.rank - 1):
            size = power.shape[-1] * d
            power = power[:, :, None, :, None] * linear[:, None, :, None, :]
            power = ops.reshape(power, (-1, size, size))
        flat = ops.reshape(x, ops.shape(x)[: -self.rank] + (d**self.rank,))
        return ops.reshape(act(power, flat), ops.shape(x))

    def get_config(self) -> Config:
        return {"rank": self.rank}


@keras.saving.register_keras_serializable(package="keras_remul")
class SymmetricMatrix(_Spatial):
    """Symmetric tensors T -> R T R^T by their d (d + 1) / 2 components.

    Last axis, in Voigt's order: xx, yy, zz, yz, xz, xy in space and xx, yy, xy
    in the plane. These are components of T, without the factors 2 of
    engineering strains; so the sum of their squares is not an invariant.
    `Tensor(2)` takes the full matrix.
    """

    @staticmethod
    def _tables(d):
        """Which pair (i, j) each component is, and the component of each."""
        pairs = [(i, i) for i in range(d)]
        pairs += reversed(list(itertools.combinations(range(d), 2)))
        place = {pair: k for k, pair in enumerate(pairs)}
        unpack = [
            place[min(i, j), max(i, j)] for i in range(d) for j in range(d)
        ]
        return [i * d + j for i, j in pairs], unpack

    def shape(self, group: Group) -> tuple[int, ...]:
        return (group.dimension * (group.dimension + 1) // 2,)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        d = group.dimension
        pack, unpack = self._tables(d)
        matrix = ops.take(x, np.array(unpack, "int32"), axis=-1)
        square = ops.reshape(matrix, ops.shape(x)[:-1] + (d, d))
        square = Tensor(2).transform(group, g, square)
        moved = ops.reshape(square, ops.shape(matrix))
        return ops.take(moved, np.array(pack, "int32"), axis=-1)


@keras.saving.register_keras_serializable(package="keras_remul")
class FourVector(_Spatial):
    """Four-vectors (E, px, py, pz) or (t, x, y, z). Last axis 4.

    x -> L x for the elements L of `Lorentz`. Groups that act on space transform
    the last three components and keep the first, so that a Lorentz symmetry can
    be compared with its subgroup of rotations on the same data.
    """

    def check(self, group: Group) -> None:
        check_vectors(self, group, dimensions=(3, 4))

    def shape(self, group: Group) -> tuple[int, ...]:
        return (4,)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        linear = group.linear(g)
        if group.dimension == 4:
            return act(linear, x)
        space = act(linear, x[..., 1:])
        time = ops.cast(x[..., :1], space.dtype)
        return ops.concatenate([time, space], axis=-1)


@keras.saving.register_keras_serializable(package="keras_remul")
class MirrorPermutation(Representation):
    """Channels that are exchanged under reflections, such as left and right.

    x -> x for rotations, x -> P x for reflections, with the permutation P of
    the last axis. An example is a one-hot feature that names the parts of a
    body: under a reflection, a left hand becomes a right hand.

    Args:
        partners: list of integers: for each channel, the channel that it is
            exchanged with, or itself.

    Raises:
        ValueError: the partner of a partner is another channel.

    Example:

    >>> joints = MirrorPermutation([0, 2, 1])    # head, left hand, right hand
    """

    @checked(partners=at_least(0))
    def __init__(self, partners: Sequence[int]) -> None:
        self.partners = [int(i) for i in partners]
        order = range(len(self.partners))
        back = [self.partners[i] if i in order else None for i in self.partners]
        if back != list(order):
            raise ValueError(
                "Argument `partners` must pair the channels: the partner of a "
                "partner must be the channel itself. Received: "
                f"partners={self.partners}"
            )

    def shape(self, group: Group) -> tuple[int, ...]:
        return (len(self.partners),)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        parity = group.parity(g)
        if parity is None:
            return x
        partners = ops.convert_to_tensor(self.partners, "int32")
        swapped = ops.take(x, partners, axis=-1)
        return ops.where(per_sample(parity, x) < 0, swapped, x)

    def get_config(self) -> Config:
        return {"partners": self.partners}
