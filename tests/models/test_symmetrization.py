"""Averaging over the group against the split of the squared error."""

import keras
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


@keras.saving.register_keras_serializable(package="test_symmetrization")
class Shifted(keras.Model):
    """Not equivariant: adds a fixed vector, and a cube."""

    def __init__(self, cube=0.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.cube = cube

    def call(self, inputs):
        shift = ops.convert_to_tensor([3.0] + [0.0] * (inputs.shape[-1] - 1))
        return inputs + self.cube * inputs**3 + ops.cast(shift, inputs.dtype)

    def get_config(self):
        return {"cube": self.cube}


@pytest.fixture
def vectors():
    return Symmetry(groups.SO3(), "vector", "vector")


def test_mean_and_spread_by_hand(rng, vectors):
    x = rng.normal(size=(50, 3)).astype("float32")
    model = symmetrize(Shifted(), vectors, num_samples=50)
    mean, spread = model.predict_with_spread(x)
    # rho(g)^-1 f(phi(g) x) = x + R^-1 a: mean x, variance |a|^2 / 3.
    np.testing.assert_allclose(mean, x, atol=3 * np.sqrt(3 / 50))
    np.testing.assert_allclose(spread, np.sqrt(3.0), rtol=0.25)
    np.testing.assert_allclose(model.predict(x, verbose=0), mean, atol=1e-5)
    # A function of each input alone, whatever is beside it.
    alone = ops.convert_to_numpy(model(x[7:8]))
    np.testing.assert_allclose(alone, mean[7:8], atol=1e-5)


def test_averaging_removes_the_orbit_variance(rng, vectors):
    x = rng.normal(size=(20, 3)).astype("float32")
    m, model = 4, Shifted()
    before = evaluate_equivariance(model, x, vectors, y=x, num_samples=50)
    errors = [
        np.mean(
            (ops.convert_to_numpy(symmetrize(model, vectors, m, k)(x)) - x) ** 2
        )
        for k in range(200)
    ]
    expected = before["symmetrized_mse"] + before["orbit_variance"] / m
    assert np.mean(errors) == pytest.approx(expected, rel=0.15)
    assert np.mean(errors) < 0.3 * before["mse"]


@pytest.mark.parametrize(
    "group", [groups.Cyclic(4), groups.Dihedral(4)], ids=repr
)
def test_finite_group_is_averaged_exactly(group, rng):
    x = rng.normal(size=(20, 2)).astype("float32")
    turns = Symmetry(group, "vector", "vector")
    cubic, count = Shifted(cube=0.3), group.num_elements
    averaged = symmetrize(cubic, turns, num_samples=count)
    mean, spread = averaged.predict_with_spread(x)
    # The fixed vector cancels, the cube keeps quarter turns.
    np.testing.assert_allclose(mean, 0.3 * x**3 + x, atol=1e-5)
    np.testing.assert_allclose(averaged.predict(x, verbose=0), mean, atol=1e-5)
    np.testing.assert_allclose(spread, 3 / np.sqrt(2), rtol=1e-4)
    assert (
        evaluate_equivariance(averaged, x, turns)["relative_equivariance_error"]
        < 1e-6
    )
    # More elements than samples: drawn at random, no longer exact.
    sampled = symmetrize(cubic, turns, num_samples=count - 1)
    error = evaluate_equivariance(sampled, x, turns)[
        "relative_equivariance_error"
    ]
    assert error > 0.1


def test_trains_like_any_model(bodies, tmp_path):
    x, y = bodies
    symmetry = Symmetry(
        groups.SE3(),
        {"positions": "point", "velocities": "vector", "charges": "scalar"},
        "point",
    )
    x["mask"] = np.array([[1, 1, 1, 1, 0]] * 12, "float32")
    y = np.where(x["mask"][..., None], y, 1e6)
    network = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model = symmetrize(network, symmetry, num_samples=2)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0] < 100  # padding is no part of it
    mean, spread = model.predict_with_spread(x, batch_size=5)
    assert mean.shape == spread.shape == (12, 5, 3)
    np.testing.assert_allclose(model.predict(x, verbose=0), mean, atol=1e-5)
    same = symmetrize(RemulModel(network, symmetry), symmetry, num_samples=2)
    np.testing.assert_allclose(same.predict(x, verbose=0), mean, atol=1e-5)


def test_elements_are_those_of_any_backend(vectors):
    found = symmetrize(Shifted(), vectors, num_samples=2, seed=3).elements()
    first = ops.convert_to_numpy(found)[0, 0]
    np.testing.assert_allclose(first, [0.91117, 0.01613, 0.41171], atol=1e-4)


def test_errors(vectors):
    with pytest.raises(ValueError, match="`num_samples` must be an integer"):
        symmetrize(Shifted(), vectors, num_samples=1)
    with pytest.raises(ValueError, match="`model` must be a keras.Model"):
        symmetrize(np.sin, vectors)


def test_even_elements_average_exactly_what_is_of_low_degree(rng):
    x = rng.normal(size=(20, 3)).astype("float32")
    turns = Symmetry(groups.O3(), "vector", "vector")
    # R^-1 a is of the first degree in R; the cube is of the fourth.
    model = symmetrize(Shifted(), turns, seed=1)
    assert model.num_samples == 24
    np.testing.assert_allclose(model.predict(x, verbose=0), x, atol=1e-5)
    random = symmetrize(Shifted(), turns, num_samples=23, seed=1)
    assert np.abs(random.predict(x, verbose=0) - x).max() > 0.1
    signs = {"space": groups.O3(), "charge": groups.Negation()}
    both = Symmetry(signs, "vector", "vector")
    model = symmetrize(Shifted(), both, seed=1)
    np.testing.assert_allclose(model.predict(x, verbose=0), x, atol=1e-5)
