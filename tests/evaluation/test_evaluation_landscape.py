"""The loss landscape against a loss that is known on the plane."""

import keras
import numpy as np
import pytest

from keras_remul import RemulModel, Symmetry, groups, loss_landscape, models

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture
def linear(rng):
    """A linear model that is exact on its data, and the data."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = rng.normal(size=(50, 3)).astype("float32")
    return model, x, model.predict(x, verbose=0)


def test_quadratic_for_a_linear_model(linear):
    model, x, y = linear
    surface = loss_landscape(model, x, y, points=5, span=0.5, batch_size=20)
    assert surface.shape == (5, 5)
    assert surface[2, 2] == pytest.approx(0.0, abs=1e-10)
    # L(a, b) is a quadratic form: even, and four times at twice the distance.
    np.testing.assert_allclose(surface, surface[::-1, ::-1], rtol=1e-4)
    np.testing.assert_allclose(
        surface[::4, ::4], 4 * surface[1:4:2, 1:4:2], rtol=1e-4
    )
    assert surface[0, 2] > 0 and surface[2, 0] > 0


def test_directions_are_as_long_as_the_filters(linear):
    # With orthonormal inputs, the loss is |d|^2 over the number of outputs.
    model, _, _ = linear
    x = np.eye(3, dtype="float32")
    surface = loss_landscape(
        model, x, model.predict(x, verbose=0), points=3, span=1.0
    )
    norm = np.sum(model.layers[0].get_weights()[0] ** 2)
    for one in (surface[0, 1], surface[1, 0], surface[1, 2]):
        assert one == pytest.approx(norm / 6, rel=1e-4)


def test_seeds(linear):
    first, again, other = (
        loss_landscape(*linear, points=2, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_weights_come_back(bodies):
    x, y = bodies
    model = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    with pytest.raises(ValueError, match="call it on x first"):
        loss_landscape(model, x, y)
    before = model.predict(x, verbose=0)

    def fails(y, y_pred):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loss_landscape(model, x, y, loss=fails)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    surface = loss_landscape(model, x, y, points=3)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    assert surface[1, 1] == pytest.approx(np.mean((before - y) ** 2), rel=1e-4)
    remul = RemulModel(
        model,
        Symmetry(
            groups.SO3(),
            inputs={
                "positions": "point",
                "velocities": "vector",
                "charges": "scalar",
            },
            outputs="point",
        ),
    )
    np.testing.assert_allclose(
        loss_landscape(remul, x, y, points=3), surface, rtol=1e-5
    )
    with pytest.raises(ValueError, match="at least 2"):
        loss_landscape(model, x, y, points=1)


def test_labels_are_not_broadcast(rng):
    x = rng.normal(size=(3, 2)).astype("float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    y = rng.normal(size=(3, 1)).astype("float32")
    a, b = (loss_landscape(model, x, t, points=2) for t in (y, y[:, 0]))
    np.testing.assert_array_equal(a, b)
    for wrong in (y.T, np.tile(y, 3), y[:1]):
        with pytest.raises(ValueError, match="`y` must have the shape"):
            loss_landscape(model, x, wrong, points=2)
    with pytest.raises(ValueError, match="structure"):
        loss_landscape(model, x, [y, y], points=2)
    logits = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    classes = np.array([0, 1, 2])
    loss = "sparse_categorical_crossentropy"
    assert loss_landscape(logits, x, classes, loss, points=2).shape == (2, 2)
    with pytest.raises(ValueError, match="class labels have no meaning"):
        loss_landscape(logits, x, classes, points=2)
