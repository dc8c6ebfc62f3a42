"""Callbacks leave the training alone."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import RemulModel, Symmetry, callbacks, groups

VECTORS = Symmetry(groups.SO3(), "vector", "vector")


@keras.saving.register_keras_serializable("tests")
class Noisy(keras.layers.Layer):
    """Draws at inference too, and counts its calls."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(0)

    def build(self, shape):
        self.calls = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="calls"
        )

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return x + 0.1 * keras.random.normal(ops.shape(x), seed=self.seeds)


def network(last=None):
    keras.utils.set_random_seed(3)
    parts = [keras.layers.Dense(4), keras.layers.BatchNormalization()]
    parts += [keras.layers.Dropout(0.3), Noisy(), last or keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((3,)), *parts])


@pytest.mark.parametrize("wrapped", [False, True])
def test_training_is_the_same_with_and_without(rng, wrapped):
    x = rng.normal(size=(12, 3)).astype("float32")
    results = []
    for watched in (False, True):
        model = network()
        if wrapped:
            model = RemulModel(model, VECTORS, seed=1)
        model.compile("adam", loss="mse", metrics=["mae"])
        seen = [callbacks.EquivarianceError(x, VECTORS, num_samples=2)]
        history = model.fit(
            x,
            x,
            epochs=3,
            batch_size=4,
            verbose=0,
            validation_data=(x, x),
            callbacks=seen * watched,
        ).history
        draws = np.random.uniform(), keras.random.normal((2,))
        draws = draws[0], ops.convert_to_numpy(draws[1])
        results.append((model.get_weights(), history, draws))
    (plain, logs, draws), (same, more, same_draws) = results
    assert set(more) - set(logs) == {
        "val_equivariance_error",
        "val_relative_equivariance_error",
        "val_orbit_variance",
    } - set(logs)
    for a, b in zip(plain, same, strict=True):
        np.testing.assert_array_equal(a, b)
    for name in set(logs) - {"val_equivariance_error"}:
        assert logs[name] == more[name], name
    assert draws[0] == same_draws[0]
    np.testing.assert_array_equal(draws[1], same_draws[1])


def test_a_model_that_diverges_is_named_and_goes_on(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    model = network(keras.layers.Lambda(lambda x: x * float("nan")))
    model = keras.Sequential([model, keras.layers.Dense(3)])
    model.compile("sgd", loss="mse")
    watch = callbacks.EquivarianceError(x, VECTORS, num_samples=2, prefix="")
    with pytest.warns(UserWarning, match=r"Epoch 1: `f\(x\)` holds NaN"):
        logs = model.fit(x, x, verbose=0, callbacks=[watch]).history
    assert np.isnan(logs["equivariance_error"]).all()
    assert np.isnan(logs["orbit_variance"]).all()


def test_arguments_are_checked_before_the_training(rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    pairs = Symmetry(groups.SO3(), ["vector", "vector"], "vector")
    with pytest.raises(ValueError, match="list or tuple of 2 entries"):
        callbacks.EquivarianceError(x, pairs)
    with pytest.raises(ValueError, match="same number of samples"):
        callbacks.EquivarianceError([x, x[:3]], pairs)
    with pytest.raises(ValueError, match="`num_samples` must be an integer"):
        callbacks.EquivarianceError(x, VECTORS, num_samples=1)
