"""LinearNodes, Ensemble, and the mean of a network and ridge regression."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import blend_with_ridge, from_preset, models, save_to_preset
from keras_remul.datasets.baselines import Ridge, fit_time


def predict(model, x):
    return model.predict(x, verbose=0)


@pytest.fixture
def linear_data(rng):
    """Bodies whose motion is linear in all coordinates, with a constant."""
    w = rng.normal(size=(30, 15)) / 10

    def make(samples):
        x = {
            "positions": rng.normal(size=(samples, 5, 3)).astype("float32"),
            "velocities": rng.normal(size=(samples, 5, 3)).astype("float32"),
        }
        centred = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
        z = np.concatenate([centred, 2 * x["velocities"]], axis=1)
        y = x["positions"] + (z.reshape(samples, 30) @ w).reshape(samples, 5, 3)
        return x, (y + 0.7).astype("float32")

    return make(200), make(50), make(50)


def test_ridge_with_intercept(linear_data):
    train, validation, (x, y) = linear_data
    time = fit_time(*train)
    errors = [
        np.mean(
            (Ridge(time, 2.0, intercept=i).fit(train, validation)(x) - y) ** 2
        )
        for i in (True, False)
    ]
    assert errors[0] < 1e-6 < 0.1 < errors[1]


def test_blend(linear_data):
    train, validation, (x, y) = linear_data
    network = models.Transformer(
        num_layers=1, hidden_dim=8, num_heads=2, length_unit=3.0, time_unit=2.0
    )
    predict(network, x)
    blend = blend_with_ridge(network, train, validation)
    # An untrained network has no share, and the rest is the regression.
    assert blend.shares == [0.0, 1.0]
    np.testing.assert_allclose(predict(blend, x), y, atol=1e-4)


def test_linear_nodes(bodies):
    x, _ = bodies
    model = models.LinearNodes(length_unit=2.0, time_unit=3.0)
    drift = x["positions"] + 3.0 * x["velocities"]
    np.testing.assert_allclose(predict(model, x), drift, atol=1e-6)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(30, 15)).astype("float32")
    model.linear.kernel.assign(kernel)
    centred = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
    z = np.concatenate([centred, 3.0 * x["velocities"]], axis=1)
    step = (z.reshape(12, 30) @ kernel).reshape(12, 5, 3)
    np.testing.assert_allclose(predict(model, x), drift + step, atol=1e-4)
    few = {key: value[:, :4] for key, value in x.items()}
    with pytest.raises(ValueError):
        model(few)
    with pytest.raises(ValueError, match='the key "velocities"'):
        models.LinearNodes()({"positions": x["positions"]})


def test_ensemble(bodies, tmp_path):
    x, y = bodies
    parts = [
        models.EGNN(num_layers=1, hidden_dim=4),
        models.LinearNodes(),
    ]
    model = models.Ensemble(parts, weights=[0.25, 0.75])
    expected = 0.25 * predict(parts[0], x) + 0.75 * predict(parts[1], x)
    np.testing.assert_allclose(predict(model, x), expected, atol=1e-5)
    save_to_preset(model, tmp_path / "preset", x=x)
    again = from_preset(tmp_path / "preset")
    assert isinstance(again, models.Ensemble)
    np.testing.assert_allclose(predict(again, x), expected, atol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(predict(again, x), expected, atol=1e-5)
    assert models.Ensemble(parts).shares == [0.5, 0.5]
    for wrong in ([], parts):
        with pytest.raises(ValueError, match="as many `weights`"):
            models.Ensemble(wrong, weights=[1.0])


def test_ensemble_trains_and_leaves_padding_out(bodies):
    x, y = bodies
    mask = np.ones((12, 5), bool)
    mask[:, 3:] = False
    y = np.where(mask[..., None], y, 1e6).astype("float32")
    model = models.Ensemble([models.EGNN(num_layers=1, hidden_dim=4)] * 1)
    model.compile("adam", loss="mse")
    history = model.fit({**x, "mask": mask}, y, epochs=2, verbose=0)
    assert max(history.history["loss"]) < 100


def test_ensemble_of_structures(rng):
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(2)(inputs) for name in "ab"}
    parts = [keras.Model(inputs, outputs) for _ in range(2)]
    x = rng.normal(size=(4, 3)).astype("float32")
    y = models.Ensemble(parts)(x)
    np.testing.assert_allclose(
        ops.convert_to_numpy(y["b"]), predict(parts[0], x)["b"], atol=1e-6
    )
