"""Irreps of O(3) against the spherical harmonics and rotations of SciPy."""

import numpy as np
import pytest
from keras import ops
from scipy import special
from scipy.spatial.transform import Rotation

from keras_remul import groups
from keras_remul.representations import Irrep, Pseudovector, Vector
from keras_remul.representations.irreps import wigner_d

DEGREES = range(7)


def numpy(x):
    return ops.convert_to_numpy(x)


def harmonics(degree, v):
    """Real spherical harmonics with the polar axis y, for m = -l .. l."""
    x, y, z = np.asarray(v, "float64").T
    theta, phi = np.arccos(y / np.linalg.norm(v, axis=1)), np.arctan2(x, z)
    rows = []
    for m in range(-degree, degree + 1):
        wave = special.sph_harm_y(degree, abs(m), theta, phi)
        sign = (-1) ** m * (np.sqrt(2) if m else 1)  # Condon-Shortley phase
        rows.append(sign * (wave.imag if m < 0 else wave.real))
    return np.stack(rows, axis=-1)


@pytest.mark.parametrize("degree", DEGREES)
def test_against_scipy(degree, rng):
    rotation = Rotation.random(8, rng=rng).as_matrix().astype("float32")
    v = rng.normal(size=(50, 3))
    d = numpy(wigner_d(degree, ops.convert_to_tensor(rotation)))
    before = harmonics(degree, v)  # (50, 2l + 1)
    for i in range(8):
        after = harmonics(degree, v @ rotation[i].T.astype("float64"))
        np.testing.assert_allclose(before @ d[i].T, after, atol=2e-6)


@pytest.mark.parametrize("degree", DEGREES)
def test_traces_are_the_characters(degree):
    # chi(t) = sin((2 l + 1) t / 2) / sin(t / 2) for any axis.
    angle = 0.7
    axes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0, 0.8]])
    rotation = Rotation.from_rotvec(angle * axes).as_matrix().astype("float32")
    d = numpy(wigner_d(degree, ops.convert_to_tensor(rotation)))
    expected = np.sin((2 * degree + 1) * angle / 2) / np.sin(angle / 2)
    np.testing.assert_allclose(
        np.trace(d, axis1=1, axis2=2), expected, atol=5e-6
    )


@pytest.mark.parametrize("parity", [1, -1])
@pytest.mark.parametrize("degree", DEGREES)
def test_homomorphism_orthogonality_and_parity(degree, parity):
    group, irrep = groups.O3(), Irrep(degree, parity)
    a, b = group.sample(8, seed=0), group.sample(8, seed=1)
    rho_a, rho_b = (numpy(irrep.rho(group, g)) for g in (a, b))
    product = numpy(irrep.rho(group, group.compose(a, b)))
    np.testing.assert_allclose(product, rho_a @ rho_b, atol=3e-6)
    eye = np.broadcast_to(np.eye(2 * degree + 1), product.shape)
    np.testing.assert_allclose(rho_a @ np.swapaxes(rho_a, 1, 2), eye, atol=3e-6)
    inversion = -group.identity(8)
    np.testing.assert_allclose(
        numpy(irrep.rho(group, inversion)), parity * eye, atol=1e-6
    )


def test_degree_one_is_the_vector(rng):
    group = groups.O3()
    g = group.sample(8, seed=0)
    x = ops.convert_to_tensor(rng.normal(size=(8, 5, 3)).astype("float32"))
    for irrep, cartesian in (
        (Irrep(1), Vector()),
        (Irrep(1, parity=1), Pseudovector()),
    ):
        np.testing.assert_allclose(
            numpy(irrep.transform(group, g, x)),
            numpy(cartesian.transform(group, g, x)),
            atol=1e-6,
        )


def test_degree_two_is_the_traceless_symmetric_matrix(rng):
    group = groups.SO3()
    g = numpy(group.sample(8, seed=0))

    def components(v):
        x, y, z = v.T
        return np.stack(
            [
                np.sqrt(3) * x * z,
                np.sqrt(3) * x * y,
                y**2 - (x**2 + z**2) / 2,
                np.sqrt(3) * y * z,
                np.sqrt(3) / 2 * (z**2 - x**2),
            ],
            axis=-1,
        ).astype("float32")

    v = rng.normal(size=(8, 3))
    moved = Irrep(2).transform(
        group, ops.convert_to_tensor(g), ops.convert_to_tensor(components(v))
    )
    expected = components(np.einsum("bij,bj->bi", g, v))
    np.testing.assert_allclose(numpy(moved), expected, atol=2e-5)


def test_errors():
    with pytest.raises(ValueError, match="`degree`.*7"):
        Irrep(7)
    with pytest.raises(ValueError, match="`parity`.*0"):
        Irrep(1, parity=0)
    for group in (groups.Lorentz(), groups.O2(), groups.Permutations(3)):
        with pytest.raises(ValueError, match=r"Irrep\(degree=2"):
            Irrep(2).check(group)
    with pytest.raises(ValueError, match="rotations and reflections"):
        Irrep(2).check(groups.Scalings())
