"""Assertions on equivariance: what they must not let pass."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import Symmetry, groups
from keras_remul.evaluation.testing import (
    assert_equivariant,
    assert_not_equivariant,
)

VECTOR = Symmetry(groups.SO3(), "vector", "vector")


@pytest.fixture
def x(rng):
    return rng.normal(size=(6, 3)).astype("float32")


def numpy(x):
    return keras.tree.map_structure(ops.convert_to_numpy, x)


@pytest.mark.parametrize("check", [assert_equivariant, assert_not_equivariant])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_not_accepted(x, check, value):
    def broken(x):
        y = numpy(x).copy()
        y[0] = value
        return y

    with pytest.raises(AssertionError, match=r"Vector\(\) holds.*NaN"):
        check(broken, VECTOR, x)


def test_nan_of_padding_is_no_output(rng):
    symmetry = Symmetry(groups.SO3(), {"x": "vector"}, "vector")
    mask = np.array([[1, 1, 0]] * 6)
    x = {"x": rng.normal(size=(6, 3, 3)).astype("float32"), "mask": mask}

    def f(x):
        return np.where(numpy(x)["mask"][..., None] > 0, numpy(x)["x"], 5.0)

    assert_equivariant(f, symmetry, x)


@pytest.mark.parametrize("check", [assert_equivariant, assert_not_equivariant])
def test_shapes_are_compared(x, check):
    # Broadcast against f(x) the difference would be zero.
    calls = []

    def f(x):
        calls.append(x)
        return numpy(x) if len(calls) == 1 else numpy(x)[:1]

    with pytest.raises(AssertionError, match=r"\(6, 3\) at x and \(1, 3\)"):
        check(f, VECTOR, x)
    with pytest.raises(ValueError, match=r"`f\(x\)`.*\(6, 2\)"):
        check(lambda x: numpy(x)[:, :2], VECTOR, x)


def test_outputs_of_integers(x):
    symmetry = Symmetry(groups.SO3(), "vector", "scalar")
    x = 3 * x

    def shell(x):
        return np.linalg.norm(numpy(x), axis=1)[:, None].astype("int64")

    assert_equivariant(shell, symmetry, x)
    octant = lambda x: (numpy(x) > 0).astype("uint8")  # noqa: E731
    assert_not_equivariant(octant, symmetry, x)
    with pytest.raises(AssertionError, match="Not equivariant"):
        assert_equivariant(octant, symmetry, x)
    with pytest.raises(AssertionError, match="Not equivariant"):
        assert_equivariant(lambda x: numpy(x) > 0, symmetry, x)
    rounded = lambda x: numpy(x).round().astype("int32")  # noqa: E731
    with pytest.raises(AssertionError, match="Not equivariant"):
        assert_equivariant(rounded, VECTOR, x)


def test_each_output_is_held_to_the_tolerance(x):
    # A large energy must not hide a force in other units.
    outputs = {"force": "vector", "energy": "scalar", "list": ["vector"]}
    symmetry = Symmetry(groups.SO3(), "vector", outputs)

    def model(bad):
        def f(x):
            x = numpy(x)
            force = x + np.array([1.0, 0.0, 0.0]) * bad
            energy = 1e9 * np.sum(x**2, axis=1, keepdims=True)
            return {"list": [x], "energy": energy, "force": force}

        return f

    assert_equivariant(model(bad=0), symmetry, x)
    assert_not_equivariant(model(bad=1), symmetry, x)
    with pytest.raises(AssertionError, match=r"Vector\(\) has the relative"):
        assert_equivariant(model(bad=1), symmetry, x)
    with pytest.raises(AssertionError, match="Expected a model that is not"):
        assert_not_equivariant(model(bad=0), symmetry, x)

    def constant(x):
        return {**model(bad=0)(x), "force": np.ones((6, 3))}

    with pytest.raises(AssertionError, match=r"Vector\(\) is the same for"):
        assert_equivariant(constant, symmetry, x)
