"""Spherical harmonics and Clebsch-Gordan coefficients, against SciPy."""

import numpy as np
import pytest
from keras import ops
from scipy import special
from scipy.spatial.transform import Rotation

from keras_remul.layers.spherical import (
    clebsch_gordan,
    kernel_basis,
    spherical_harmonics,
)
from keras_remul.representations.irreps import wigner_d


def harmonics(degree, v):
    """Real spherical harmonics with the polar axis y, for m = -l .. l."""
    x, y, z = np.asarray(v, "float64").T
    theta, phi = np.arccos(y), np.arctan2(x, z)
    rows = []
    for m in range(-degree, degree + 1):
        wave = special.sph_harm_y(degree, abs(m), theta, phi)
        sign = (-1) ** m * (np.sqrt(2) if m else 1)  # Condon-Shortley phase
        rows.append(sign * (wave.imag if m < 0 else wave.real))
    return np.stack(rows, axis=-1)


def unit_vectors(rng, count=50):
    v = rng.normal(size=(count, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def test_harmonics_are_those_of_scipy(rng):
    v = unit_vectors(rng)
    y = spherical_harmonics(6, ops.convert_to_tensor(v.astype("float32")))
    y = ops.convert_to_numpy(y)
    for degree in range(7):
        np.testing.assert_allclose(
            y[:, degree**2 : (degree + 1) ** 2],
            np.sqrt(4 * np.pi) * harmonics(degree, v),
            atol=1e-5,
        )


@pytest.mark.parametrize(
    "l, k, j", [(1, 1, 1), (2, 1, 2), (3, 2, 4), (3, 3, 6)]
)
def test_coefficients_are_invariant(l, k, j):  # noqa: E741
    rotation = Rotation.random(3, rng=1).as_matrix().astype("float32")
    rotation = ops.convert_to_tensor(rotation)
    d_l, d_k, d_j = (
        ops.convert_to_numpy(wigner_d(degree, rotation)) for degree in (l, k, j)
    )
    q = clebsch_gordan(l, k, j)
    assert abs((q**2).sum() - (2 * l + 1)) < 1e-10
    for a, b, c in zip(d_l, d_k, d_j, strict=True):
        turned = np.einsum("ai,bj,ck,ijk->abc", a, b, c, q)
        np.testing.assert_allclose(turned, q, atol=1e-5)
        # Another degree in the place of one does not fit.
        wrong = np.einsum("bj,ck,ajk->abc", b, c, q)
        assert np.abs(wrong - q).max() > 1e-2


def test_coefficients_are_integrals_of_three_harmonics(rng):
    # Where l + k + j is even: of degree ten, exact with these nodes.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    angle = 2 * np.pi * np.arange(16) / 16
    y, t = (a.ravel() for a in np.meshgrid(nodes, angle, indexing="ij"))
    r = np.sqrt(1 - y**2)
    v = np.stack([r * np.sin(t), y, r * np.cos(t)], axis=-1)
    w = np.repeat(weights, 16)
    for degrees in [(1, 1, 2), (2, 2, 2), (3, 2, 3), (3, 3, 4)]:
        integral = np.einsum(
            "n,na,nb,nc->abc", w, *(harmonics(degree, v) for degree in degrees)
        )
        q = clebsch_gordan(*degrees)
        integral *= np.linalg.norm(q) / np.linalg.norm(integral)
        sign = np.sign((integral * q).sum())
        np.testing.assert_allclose(sign * integral, q, atol=1e-8)


def test_cross_product_is_the_antisymmetric_one():
    q = clebsch_gordan(1, 1, 1)
    np.testing.assert_allclose(q, -np.swapaxes(q, 0, 1), atol=1e-12)
    x, y = np.float64([1, 0, 0]), np.float64([0, 1, 0])
    z = np.einsum("abc,b,c->a", q, x, y)
    np.testing.assert_allclose(np.abs(z), [0, 0, np.abs(q).max()], atol=1e-12)


def test_coefficients_are_those_of_e3nn():
    o3 = pytest.importorskip("e3nn.o3", reason="needs e3nn")
    for l, k, j in [(1, 1, 2), (2, 1, 2), (3, 2, 4)]:  # noqa: E741
        expected = np.sqrt(2 * l + 1) * o3.wigner_3j(l, k, j).numpy()
        q = clebsch_gordan(l, k, j)
        sign = np.sign((q * expected).sum())
        np.testing.assert_allclose(sign * q, expected, atol=1e-5)


def test_errors_and_shapes():
    assert kernel_basis(2, 1).shape == (9, 1 + 3 * 3, 3)
    with pytest.raises(ValueError, match="l=1, k=1, j=3"):
        clebsch_gordan(1, 1, 3)
