"""Spherical harmonics and Clebsch-Gordan coefficients, in the basis of Irrep.

Both follow from the couplings (l - 1) x 1 -> l of `representations.irreps`, so
that everything here transforms by `Irrep(l)`.
"""

import functools

import numpy as np
from keras import ops

from keras_remul.layers.exact import exact_product
from keras_remul.representations.irreps import MAX_DEGREE, _coupling


def spherical_harmonics(max_degree, u):
    """Real spherical harmonics of all degrees up to `max_degree`.

    Y_l = C_l (Y_(l-1) x u), scaled so that |Y_l|^2 = 2 l + 1 for unit vectors.

    Args:
        max_degree: from 0 to 6.
        u: unit vectors `(..., 3)`; of a zero vector, Y_l = 0 for l > 0.

    Returns:
        `(..., (max_degree + 1)^2)`, the degrees one after the other.
    """
    y = ops.ones_like(u[..., :1])
    result = [y]
    for degree in range(1, max_degree + 1):
        outer = y[..., :, None] * u[..., None, :]
        outer = ops.reshape(outer, (*ops.shape(u)[:-1], 3 * (2 * degree - 1)))
        y = exact_product(outer, ops.convert_to_tensor(_step(degree), u.dtype))
        result.append(y)
    return ops.concatenate(result, axis=-1)


@functools.cache
def _step(degree):
    """The matrix of Y_(l-1) x u to Y_l."""
    coupling = _coupling(degree) if degree > 1 else np.eye(3)[:, None, :]
    table = coupling.reshape(2 * degree + 1, -1).T
    y, axis = np.ones(1), np.array([0.6, 0.0, 0.8])
    for l in range(1, degree):  # noqa: E741
        y = np.outer(y, axis).ravel() @ _step(l)
    y = np.outer(y, axis).ravel() @ table
    return table * np.sqrt((2 * degree + 1) / (y**2).sum())


@functools.cache
def _generators(degree):
    """Generators of rotations about x and y, `(2, 2l + 1, 2l + 1)`."""
    if degree == 0:
        return np.zeros((2, 1, 1))
    vector = np.zeros((2, 3, 3))
    vector[0, 2, 1] = vector[1, 0, 2] = 1.0
    vector -= np.swapaxes(vector, 1, 2)
    if degree == 1:
        return vector
    low, c = _generators(degree - 1), _coupling(degree)
    turned = np.einsum("mia,gij->gmja", c, low)
    turned += np.einsum("mia,gab->gmib", c, vector)
    return np.einsum("gmja,nja->gmn", turned, c)


@functools.cache
def clebsch_gordan(l, k, j):  # noqa: E741
    """Q `(2l + 1, 2k + 1, 2j + 1)`, invariant under rotations of all axes.

    Unique up to its sign for |l - k| <= j <= l + k; its norm is sqrt(2 l + 1).
    It is computed as the null vector of the generators.

    Args:
        l, k, j: degrees, from 0 to 6.

    Raises:
        ValueError: j does not occur in k x l.
    """
    if not abs(l - k) <= j <= l + k or max(l, k, j) > MAX_DEGREE:
        raise ValueError(
            f"Expected |l - k| <= j <= l + k, none above {MAX_DEGREE}. "
            f"Received: l={l}, k={k}, j={j}"
        )
    one_l, one_k, one_j = (np.eye(2 * degree + 1) for degree in (l, k, j))
    square = 0.0
    for a, b, c in zip(*map(_generators, (l, k, j)), strict=True):
        total = np.kron(np.kron(a, one_k), one_j)
        total += np.kron(np.kron(one_l, b), one_j)
        total += np.kron(np.kron(one_l, one_k), c)
        square = square + total.T @ total
    _, vectors = np.linalg.eigh(square)
    table = vectors[:, 0]
    table[np.abs(table) < 1e-12] = 0.0
    table = table * np.sign(table[np.abs(table).argmax()])
    return np.sqrt(2 * l + 1) * table.reshape(2 * l + 1, 2 * k + 1, 2 * j + 1)


@functools.cache
def kernel_basis(num_degrees, k):
    """From spherical harmonics to the kernels of degree k to all degrees.

    Args:
        num_degrees: L; degrees l < L, harmonics of degree j <= 2 (L - 1).
        k: degree that the kernels act on.

    Returns:
        Table `((2 L - 1)^2, R, 2k + 1)` whose rows R are those of each path
        (l, j), 2l + 1 of them, in the order of `paths`.
    """
    rows = []
    for l in range(num_degrees):  # noqa: E741
        for j in range(abs(l - k), l + k + 1):
            block = np.zeros(((2 * num_degrees - 1) ** 2, 2 * l + 1, 2 * k + 1))
            block[j**2 : (j + 1) ** 2] = clebsch_gordan(l, k, j).transpose(
                2, 0, 1
            )
            rows.append(block)
    return np.concatenate(rows, axis=1)


def paths(num_degrees, k):
    """Number of paths (l, j) from degree k to each degree l < num_degrees."""
    return [2 * min(degree, k) + 1 for degree in range(num_degrees)]
