"""Irreducible representations of SO(3) and O(3)."""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import ops

from keras_remul import backend
from keras_remul.groups.base import Group
from keras_remul.representations.base import (
    Representation,
    act,
    check_vectors,
    times,
)
from keras_remul.utils.arguments import between, checked, one_of
from keras_remul.utils.dtypes import widened
from keras_remul.utils.typing import Array, Config, Elements

MAX_DEGREE = 6


def _real_harmonics(degree, points):
    """Real spherical harmonics `(2l + 1, K)` of K unit vectors `(K, 3)`.

    Up to normalisation Re or Im of (z + i x)^m times the m-th derivative of
    the Legendre polynomial P_l(y), for m = -l .. l (Im where m < 0): the polar
    axis is y, which makes degree 1 the vector (x, y, z) itself.
    """
    x, y, z = np.asarray(points).T
    legendre = np.polynomial.legendre.Legendre.basis(degree)
    rows = []
    for m in range(-degree, degree + 1):
        wave = (z + 1j * x) ** abs(m)
        wave = wave.imag if m < 0 else wave.real
        polynomial = legendre.deriv(abs(m)) if m else legendre
        rows.append(wave * polynomial(y))
    return np.array(rows)


@functools.cache
def _coupling(degree):
    """Isometry C `(2l + 1, 2l - 1, 3)` from (l - 1) x 1 to l.

    C_mia is proportional to the integral of Y_lm Y_l-1,i x_a over the sphere,
    and by Schur's lemma unique up to its sign. The quadrature is exact for
    polynomials of the degree 2l at hand.
    """
    nodes, weights = np.polynomial.legendre.leggauss(MAX_DEGREE + 1)
    count = 2 * MAX_DEGREE + 2
    angle = 2 * np.pi * np.arange(count) / count
    y, t = (a.ravel() for a in np.meshgrid(nodes, angle, indexing="ij"))
    r = np.sqrt(1 - y**2)
    points = np.stack([r * np.sin(t), y, r * np.cos(t)], axis=-1)
    w = np.repeat(weights, count)

    def orthonormal(rows):
        return rows / np.sqrt((w * rows**2).sum(axis=1, keepdims=True))

    high = orthonormal(_real_harmonics(degree, points))
    low = orthonormal(_real_harmonics(degree - 1, points))
    table = np.einsum("k,mk,ik,ka->mia", w, high, low, points)
    table[np.abs(table) < 1e-12] = 0.0
    return table * np.sqrt((2 * degree + 1) / (table**2).sum())


def wigner_d(degree, rotation):
    """The matrices D^l(R) `(n, 2l + 1, 2l + 1)` of rotations R `(n, 3, 3)`.

    D^l = C (D^(l-1) x R) C^T, from D^1 = R upwards. Real and orthogonal; for
    an improper R = -R' it is (-1)^l D^l(R').

    Args:
        degree: l, from 0 to 6.
        rotation: orthogonal matrices `(n, 3, 3)`.
    """
    if degree == 0:
        return ops.ones_like(rotation[:, :1, :1])
    d = rotation
    for l in range(2, degree + 1):  # noqa: E741
        k, low = 2 * l + 1, 2 * l - 1
        c = ops.convert_to_tensor(_coupling(l), rotation.dtype)
        # From the left, C_mia D_ij R_ab, one factor at a time.
        left = ops.reshape(ops.transpose(c, (0, 2, 1)), (1, k * 3, low))
        half = backend.matmul(left, d)  # (n, k * 3, low): m a, j
        half = ops.reshape(half, (-1, k, 3, low))
        half = ops.reshape(ops.swapaxes(half, 2, 3), (-1, k * low, 3))
        full = ops.reshape(backend.matmul(half, rotation), (-1, k, low * 3))
        right = ops.transpose(ops.reshape(c, (1, k, low * 3)), (0, 2, 1))
        d = backend.matmul(full, right)
    return d


@keras.saving.register_keras_serializable(package="keras_remul")
class Irrep(Representation):
    """Irreducible representation of O(3): degree l and parity p.

    x -> D^l(R) x for rotations R, and x -> p x for the inversion. Last axis
    2l + 1: the real spherical harmonics for m = -l .. l with y as the polar
    axis, as in e3nn (arXiv 2207.09453). So `Irrep(1)` is `Vector()` with the
    components (x, y, z), `Irrep(1, parity=1)` is `Pseudovector()`, and
    `Irrep(2)` are the coefficients of

        xz, xy, y^2 - (x^2 + z^2) / 2, yz, (z^2 - x^2) / 2

    each divided by its norm. D^l(R) is orthogonal.

    Args:
        degree: l, from 0 to 6.
        parity: p, 1 or -1. Defaults to (-1)^l, the parity of the spherical
            harmonics.

    Example:

    >>> Irrep(2)                # or "2e"
    >>> Irrep(3, parity=1)      # or "3e"
    """

    @checked(degree=between(0, MAX_DEGREE), parity=one_of(1, -1))
    def __init__(self, degree: int, parity: int | None = None) -> None:
        self.degree = degree
        self.parity = (-1) ** degree if parity is None else parity

    def check(self, group: Group) -> None:
        check_vectors(self, group, dimensions=(3,))
        if not group.orthogonal:
            raise ValueError(
                f"{self!r} needs a group of rotations and reflections. "
                f"Received: group={group!r}"
            )

    def shape(self, group: Group) -> tuple[int, ...]:
        return (2 * self.degree + 1,)

    def transform(self, group: Group, g: Elements, x: Array) -> Array:
        x = act(wigner_d(self.degree, widened(group.linear(g))), x)
        parity = group.parity(g)
        if parity is None or self.parity == (-1) ** self.degree:
            return x
        return times(parity, x)

    def get_config(self) -> Config:
        return {"degree": self.degree, "parity": self.parity}
