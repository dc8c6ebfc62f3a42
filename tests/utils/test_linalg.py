"""Axes and rotations, against finite differences; never NaN."""

import keras
import numpy as np
import pytest
from compiled import once
from keras import ops
from scipy.spatial.transform import Rotation

from keras_remul import backend, groups
from keras_remul.utils import linalg


def symmetric(values, rng):
    turn = Rotation.random(random_state=rng).as_matrix()
    d = len(values)
    turn = turn if d == 3 else np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (turn * np.asarray(values)) @ turn.T


def second_derivative(fn, x, along):
    """d/dt of the gradient of fn, which sums, at x + t along."""

    def slope(x):
        _, gradient = backend.value_and_gradient(fn, x, [])
        return ops.sum(gradient * along)[None]

    _, result = backend.value_and_gradient(slope, x, [])
    return result


def axes(x):
    return linalg.eigh(0.5 * (x + ops.swapaxes(x, 1, 2)))[1] ** 3


def values(x):
    return linalg.eigh(0.5 * (x + ops.swapaxes(x, 1, 2)))[0] ** 2


FUNCTIONS = {
    "eigenvectors": axes,
    "eigenvalues": values,
    "nearest_rotation": linalg.nearest_rotation,
    "about_an_axis": groups.SO2(axis="y").rotation_near,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_where_all_is_determined(name, rng):
    m = symmetric([1.0, 2.0, 4.0], rng)
    if name not in ("eigenvectors", "eigenvalues"):
        m = Rotation.random(random_state=rng).as_matrix() @ m
        m = m * [1.0, 1.0, -1.0]  # the best orthogonal matrix is no rotation
    weights = rng.normal(size=(1, 3, 3))[:, : 3 if name != "eigenvalues" else 1]
    weights, m, along = (
        ops.convert_to_tensor(a, "float32")
        for a in (weights, m[None], rng.normal(size=(1, 3, 3)))
    )

    def fn(x):
        return ops.sum(weights * FUNCTIONS[name](x), axis=(1, 2))[:, None]

    def number(a):
        return ops.convert_to_numpy(a).astype("float64")

    @once
    def value_and_gradient(x):
        return backend.value_and_gradient(fn, x, [])

    @once
    def second_derivative_of(x, along):
        return second_derivative(fn, x, along)

    h = 1e-2
    up, of_up = map(number, value_and_gradient(m + h * along))
    down, of_down = map(number, value_and_gradient(m - h * along))
    slope = (up - down).item() / (2 * h)
    assert abs(slope) > 1e-2
    found = (number(value_and_gradient(m)[1]) * number(along)).sum()
    np.testing.assert_allclose(found, slope, rtol=1e-2)
    forward = backend.jvp(fn)(m, along)
    np.testing.assert_allclose(number(forward).item(), slope, rtol=1e-2)
    change = (of_up - of_down) / (2 * h)
    second = number(second_derivative_of(m, along))
    size = np.abs(change).max()
    np.testing.assert_allclose(second, change, atol=2e-2 * size)


DEGENERATE = {
    "zero": np.zeros((3, 3)),
    "one": np.eye(3),
    "two_equal": np.diag([1.0, 1.0, 3.0]),
    "line": np.diag([0.0, 0.0, 2.0]),
    "plane": np.diag([0.0, 1.0, 2.0]),
    "mirrored": np.diag([1.0, 1.0, -1.0]),
    "tiny": 1e-12 * np.diag([1.0, 1.0, 2.0]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_where_little_is_determined(name):
    x = ops.convert_to_tensor(np.stack(list(DEGENERATE.values())), "float32")
    fn = FUNCTIONS[name]

    @once
    def derivatives(x):
        y, gradient = backend.value_and_gradient(fn, x, [])
        return y, gradient, second_derivative(fn, x, ops.ones_like(x))

    y, gradient, second = derivatives(x)
    for found in (y, gradient, second):
        assert np.isfinite(ops.convert_to_numpy(found)).all()
    if name in ("nearest_rotation", "about_an_axis"):
        y = ops.convert_to_numpy(y)
        np.testing.assert_allclose(np.linalg.det(y), 1.0, atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_numbers(d, rng):
    x = np.stack([symmetric(rng.normal(size=d), rng) for _ in range(20)])
    found = once(linalg.eigh)(x.astype("float32"))
    w, v = (ops.convert_to_numpy(a) for a in found)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(x), atol=1e-5)
    np.testing.assert_allclose(
        (v * w[:, None]) @ v.swapaxes(1, 2), x, atol=1e-5
    )
    eye = np.broadcast_to(np.eye(d), x.shape)
    np.testing.assert_allclose(v.swapaxes(1, 2) @ v, eye, atol=5e-6)
    m = rng.normal(size=(20, d, d))
    found = once(linalg.nearest_rotation)(m.astype("float32"))
    found = ops.convert_to_numpy(found)
    np.testing.assert_allclose(np.linalg.det(found), 1.0, atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(linalg.determinant(ops.convert_to_tensor(m))),
        np.linalg.det(m),
        rtol=1e-4,
    )
    trace = np.trace(found.swapaxes(1, 2) @ m, axis1=1, axis2=2)
    angles = Rotation.random(500, random_state=0).as_matrix()
    if d == 2:
        t = np.linspace(0, 2 * np.pi, 500)
        angles = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
        angles = angles.transpose(2, 0, 1)
    others = np.einsum("rij,bij->br", angles, m)
    assert (trace[:, None] > others - 1e-4).all()


def test_products_are_exact_in_any_backend(monkeypatch):
    """No product but `backend.matmul`, which no GPU rounds."""

    def refuse(*args, **kwargs):
        raise AssertionError("a product at the backend's default precision")

    for name in ("matmul", "einsum", "dot", "tensordot", "det"):
        monkeypatch.setattr(ops, name, refuse)
    x = keras.random.normal((2, 3, 3), seed=0)
    linalg.eigh(x + ops.swapaxes(x, 1, 2))
    linalg.nearest_rotation(x)
    linalg.determinant(x)
