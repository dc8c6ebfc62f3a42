"""Test-time averaging against the split of the squared error."""

import numpy as np
import pytest
from keras import ops

from keras_remul import (
    RemulModel,
    Symmetry,
    evaluate_equivariance,
    groups,
    models,
    symmetrize,
)


def shifted(x):
    """Not equivariant: adds a fixed vector."""
    return ops.convert_to_numpy(x) + np.array([3.0, 0.0, 0.0])


@pytest.fixture
def vectors():
    return Symmetry(groups.SO3(), "vector", "vector")


def test_mean_and_spread_by_hand(rng, vectors):
    x = rng.normal(size=(50, 3))
    mean, spread = symmetrize(shifted, vectors, samples=400).predict(x)
    # rho(g)^-1 f(phi(g) x) = x + R^-1 a: mean x, variance |a|^2 / 3.
    np.testing.assert_allclose(mean, x, atol=5 * np.sqrt(3 / 400))
    np.testing.assert_allclose(spread, np.sqrt(3.0), rtol=0.15)


def test_averaging_removes_the_orbit_variance(rng, vectors):
    x = rng.normal(size=(200, 3))
    m = 16
    before = evaluate_equivariance(shifted, x, vectors, y=x, samples=50)
    averaged = symmetrize(shifted, vectors, samples=m, seed=1)
    error = np.mean((averaged(x) - x) ** 2)
    expected = before["symmetrized_mse"] + before["orbit_variance"] / m
    assert error == pytest.approx(expected, rel=0.15)
    assert error < 0.1 * before["mse"]


class QuarterTurns(groups.SO2):
    """Turns about y by 0, 90, 180 and 270 degrees."""

    num_elements = 4

    def __init__(self):
        super().__init__(axis="y")

    def elements(self):
        angles = np.arange(4) * np.pi / 2
        return self.from_normal(
            ops.convert_to_tensor(
                np.stack([np.cos(angles), np.sin(angles)], -1), "float32"
            )
        )


def test_finite_group_is_averaged_exactly(rng):
    x = rng.normal(size=(20, 3)).astype("float32")
    turns = Symmetry(QuarterTurns(), "vector", "vector")

    def cubic(x):
        return 0.3 * ops.convert_to_numpy(x) ** 3 + shifted(x)

    averaged = symmetrize(cubic, turns, samples=4)
    mean, spread = averaged.predict(x)
    # The fixed vector cancels, the cube keeps quarter turns.
    np.testing.assert_allclose(mean, 0.3 * x**3 + x, atol=1e-5)
    np.testing.assert_allclose(spread[:, 0], 3 / np.sqrt(2), rtol=1e-4)
    assert evaluate_equivariance(averaged, x, turns)["relative_error"] < 1e-6
    by_measure = evaluate_equivariance(cubic, x, turns, samples=4)
    assert by_measure["orbit_variance"] == pytest.approx(
        (spread**2).mean(), rel=1e-4
    )
    # More elements than samples: drawn at random, no longer exact.
    sampled = symmetrize(cubic, turns, samples=3)
    error = evaluate_equivariance(sampled, x, turns)["relative_error"]
    assert error > 0.1


def test_batches_change_nothing(bodies):
    x, _ = bodies
    symmetry = Symmetry(
        groups.SE3(),
        {"positions": "point", "velocities": "vector", "charges": "scalar"},
        "point",
    )
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    whole = symmetrize(model, symmetry, samples=2)(x)
    parts = symmetrize(model, symmetry, samples=2, batch_size=5)(x)
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_keras_models_masks_and_repr(bodies):
    x, _ = bodies
    x["mask"] = np.array([[1, 1, 1, 1, 0]] * 12, "float32")
    symmetry = Symmetry(
        groups.E3(),
        {"positions": "point", "velocities": "vector", "charges": "scalar"},
        "point",
    )
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    mean, spread = symmetrize(model, symmetry, samples=4).predict(x)
    assert mean.shape == spread.shape == (12, 5, 3)
    same, _ = symmetrize(
        RemulModel(model, symmetry), symmetry, samples=4
    ).predict(x)
    np.testing.assert_array_equal(mean, same)
    assert "samples=4" in repr(symmetrize(model, symmetry, samples=4))


def test_errors(vectors):
    with pytest.raises(ValueError, match="`samples` must be at least 2"):
        symmetrize(shifted, vectors, samples=1)
