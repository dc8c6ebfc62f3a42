"""The algebra, and its layers under random elements of Pin(3, 0, 1)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul.layers import (
    GATrBlock,
    MultivectorDense,
    MultivectorNormalization,
)
from keras_remul.layers.geometric_algebra import geometric_product, join
from keras_remul.models.gatr import embed

METRIC = {0: 0, 1: 1, 2: 1, 3: 1}
# e1, e2, e3 by bits 0, 1, 2, and e0 by bit 3, written first.
BLADES = [tuple(g for g in range(4) if m >> (g - 1) % 4 & 1) for m in range(16)]


def blade_product(a, b):
    """Sign and blade of e_a e_b, sorting one neighbor after the other."""
    word, sign = list(a + b), 1
    swapped = True
    while swapped:
        swapped = False
        for i in range(len(word) - 1):
            if word[i] > word[i + 1]:
                word[i], word[i + 1] = word[i + 1], word[i]
                sign, swapped = -sign, True
    i = 0
    while i < len(word) - 1:
        if word[i] == word[i + 1]:
            sign *= METRIC[word[i]]
            del word[i : i + 2]
        else:
            i += 1
    return sign, tuple(word)


def product_table():
    """T `(16, 16, 16)` with e_i e_j = sum_k T_ijk e_k."""
    table = np.zeros((16, 16, 16))
    for i, a in enumerate(BLADES):
        for j, b in enumerate(BLADES):
            sign, blade = blade_product(a, b)
            table[i, j, BLADES.index(blade)] = sign
    return table


TABLE = product_table()


def product(x, y):
    return np.einsum("i...,j...,ijk->k...", x, y, TABLE)


def array(x):
    """From `(16, P, B, N, C)` to `(8, P, B, N, 2 C)`."""
    return np.concatenate([x[:8], x[8:]], axis=-1).astype("float32")


def components(x):
    """Back again."""
    return np.concatenate(np.split(ops.convert_to_numpy(x), 2, axis=-1))


def random(rng, parities=2, channels=2):
    return rng.normal(size=(16, parities, 3, 4, channels))


def versor(rng, reflections, move=1.0):
    """A product of unit planes, with its inverse."""
    u, inverse = np.eye(16)[0], np.eye(16)[0]
    for _ in range(reflections):
        plane = np.zeros(16)
        n = rng.normal(size=3)
        plane[[1, 2, 4]] = n / np.linalg.norm(n)
        plane[8] = move * rng.normal()
        u, inverse = product(u, plane), product(plane, inverse)
    return u, inverse


def act(u, x, reflections):
    """u x u^-1 with the signs of grades and parities of `GATrBlock`."""
    u, inverse = u
    odd = reflections % 2
    sign = np.array([(-1) ** (len(a) * odd) for a in BLADES])
    y = np.einsum("i,j...,ijk->k...", u, (sign * x.T).T, TABLE)
    y = np.einsum("i...,j,ijk->k...", y, inverse, TABLE)
    if odd:
        y = y * np.array([1.0, -1.0])[:, None, None, None][-x.shape[1] :]
    return y


def test_geometric_product_is_that_of_the_algebra(rng):
    x, y = random(rng), random(rng)
    result = components(geometric_product(array(x), array(y)))
    np.testing.assert_allclose(result, product(x, y), atol=1e-5)
    assert np.abs(result - product(y, x)).max() > 0.1


def test_geometric_product_is_that_of_clifford(rng):
    clifford = pytest.importorskip("clifford", reason="needs clifford")
    layout, _ = clifford.Cl(3, 0, 1)
    # clifford's generators: the first one squares to zero.
    order = [layout.bladeTupList.index(tuple(i + 1 for i in b)) for b in BLADES]
    x, y = rng.normal(size=(2, 16))
    a, b = np.zeros((2, 16))
    a[order], b[order] = x, y
    expected = (layout.MultiVector(a) * layout.MultiVector(b)).value[order]
    shape = (16, 1, 1, 1, 1)
    result = geometric_product(array(x.reshape(shape)), array(y.reshape(shape)))
    np.testing.assert_allclose(components(result).ravel(), expected, atol=1e-5)


def test_join_of_points_is_their_line(rng):
    # P v Q v X = 0 for each point X on the line through P and Q, and for
    # X elsewhere the plane through the three.
    p, q, other = rng.normal(size=(3, 1, 1, 3)).astype("float32")

    def point(x):
        return embed(x)[:, 1:]

    line = join(point(p), point(q))
    on_line = components(join(line, point(0.3 * p + 0.7 * q))).ravel()
    off_line = components(join(line, point(other))).ravel()
    assert np.abs(on_line).max() < 1e-5 < 0.1 < np.abs(off_line).max()
    # A plane: grade 1, and every one of the points lies on it.
    grades = np.array([len(b) for b in BLADES])
    assert np.abs(off_line[grades != 1]).max() < 1e-5
    for x in (p, q, other):
        distance = off_line[[1, 2, 4]] @ x.ravel() - off_line[8]
        assert abs(distance) < 1e-5


@pytest.mark.parametrize("reflections", [1, 2, 3, 4])
def test_embeddings_move_as_the_points(reflections, rng):
    x, v = rng.normal(size=(2, 3, 4, 3)).astype("float32")
    u = versor(rng, reflections)
    moved = act(u, components(embed(x, v)), reflections)
    # The matrix and the shift that u makes of points, read off three axes.
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])[None]
    corners = corners.astype("float32")
    images = act(u, components(embed(corners)), reflections)
    assert np.allclose(images[7, 1], 1.0)  # e123 keeps its sign
    from keras_remul.layers.geometric_algebra import POINT_ROWS, POINT_SIGNS

    images = [
        sign * images[8 + row, 1, 0, :, 0]
        for row, sign in zip(POINT_ROWS, POINT_SIGNS, strict=True)
    ]
    images = np.stack(images, axis=-1)
    shift, matrix = images[0], (images[1:] - images[0]).T
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
    assert np.sign(np.linalg.det(matrix)) == (-1) ** reflections
    expected = embed(
        (x @ matrix.T + shift).astype("float32"), (v @ matrix.T).astype("f4")
    )
    np.testing.assert_allclose(moved, components(expected), atol=2e-5)


@pytest.mark.parametrize("reflections", [1, 2])
def test_layers_are_equivariant(reflections, rng):
    keras.utils.set_random_seed(0)
    x, u = random(rng, channels=4), versor(rng, reflections)
    s = rng.normal(size=(3, 4, 8)).astype("float32")

    def check(layer, *inputs):
        y = layer(array(x), *inputs)
        moved = layer(array(act(u, x, reflections)), *inputs)
        if isinstance(y, tuple):
            (y, scalars), (moved, moved_scalars) = y, moved
            np.testing.assert_allclose(
                *map(ops.convert_to_numpy, (scalars, moved_scalars)), atol=1e-4
            )
        expected = act(u, components(y), reflections)
        size = np.abs(expected).max()
        gap = np.abs(components(moved) - expected).max()
        assert gap < 2e-5 * size
        # Without the signs of a reflection all of this would be wrong.
        if reflections == 1:
            wrong = act(u, components(y), 0)
            assert np.abs(components(moved) - wrong).max() > 1e-2 * size

    check(MultivectorDense(3))
    check(MultivectorDense(3), s)
    check(MultivectorNormalization())
    block = GATrBlock(8, 8, num_heads=2)
    check(block, s)
    # A step outside the nine maps is seen.
    with pytest.raises(AssertionError):
        check(lambda x: ops.flip(x, axis=-1))
