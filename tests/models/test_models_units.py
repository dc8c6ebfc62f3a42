"""`length_unit` and `time_unit`: the same model for data in other units."""

import keras
import numpy as np
import pytest
from compiled import outputs

from keras_remul import models

SMALL = {
    "Transformer": dict(num_layers=1, hidden_dim=8, num_heads=2),
    "MessagePassingNetwork": dict(num_layers=2, hidden_dim=8),
    "EGNN": dict(num_layers=2, hidden_dim=8),
    "VectorTransformer": dict(num_layers=1, hidden_dim=8, num_heads=2),
    "SE3Transformer": dict(num_layers=1),
    "GATr": dict(num_layers=1),
}
LENGTH, TIME = 8.0, 32.0  # powers of two: products with them are exact


def make(name, **kwargs):
    keras.utils.set_random_seed(0)
    return getattr(models, name)(**SMALL[name], **kwargs)


@pytest.mark.parametrize("name", SMALL)
def test_units(name, bodies):
    x, _ = bodies
    other = {
        **x,
        "positions": LENGTH * x["positions"],
        "velocities": LENGTH / TIME * x["velocities"],
    }
    expected = LENGTH * np.asarray(outputs(make(name), x), "float64")
    model = make(name, length_unit=LENGTH, time_unit=TIME)
    found = outputs(model, other)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(found - LENGTH * (x["positions"])).max() > 1
    again = type(model).from_config(model.get_config())
    assert again.length_unit == LENGTH and again.time_unit == TIME


def test_units_of_a_periodic_box(bodies):
    x, _ = bodies
    x["box"] = np.full((12, 3), 4.0, "float32")
    other = {**x, "box": LENGTH * x["box"]}
    other["positions"] = LENGTH * x["positions"]
    other["velocities"] = LENGTH * x["velocities"]
    expected = outputs(make("MessagePassingNetwork"), x)
    found = outputs(make("MessagePassingNetwork", length_unit=LENGTH), other)
    np.testing.assert_allclose(found / LENGTH, expected, atol=1e-4)


def test_units_must_be_positive():
    with pytest.raises(ValueError, match="`time_unit` must be.*above 0.*0"):
        models.Transformer(time_unit=0)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="no array of JAX can be changed"
)
@pytest.mark.parametrize("name", SMALL)
def test_the_input_stays_as_it_is(name, bodies):
    x, _ = bodies
    x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    before = keras.ops.convert_to_numpy(x["velocities"]).copy()
    make(name, time_unit=TIME)(x)
    after = keras.ops.convert_to_numpy(x["velocities"])
    np.testing.assert_array_equal(after, before)
