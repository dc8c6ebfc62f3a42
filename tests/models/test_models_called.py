"""Calls of models without what Keras does around them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul.backend.plain import is_called_directly
from keras_remul.models import EGNN, GATr, Transformer

SMALL = {
    Transformer: dict(num_layers=1, hidden_dim=8, num_heads=2),
    EGNN: dict(num_layers=1, hidden_dim=8),
    GATr: dict(num_layers=1, hidden_dim=8, multivector_dim=2, num_heads=1),
}
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="models are compiled on JAX and TensorFlow",
)


def inputs():
    rng = np.random.default_rng(0)
    x = {
        key: rng.normal(size=(2, 3, width)).astype("float32")
        for key, width in (("positions", 3), ("velocities", 3), ("mass", 1))
    }
    x["mask"] = np.array([[1, 1, 0], [1, 1, 1]], bool)
    return {key: ops.convert_to_tensor(a) for key, a in x.items()}


def built(cls=Transformer, **kwargs):
    model, x = cls(**{**SMALL.get(cls, SMALL[Transformer]), **kwargs}), inputs()
    model(x)
    return model, x


@pytest.mark.parametrize(
    "cls, options",
    [*((cls, {}) for cls in SMALL), (Transformer, {"readout": "graph"})],
)
def test_the_same_as_a_call_of_keras(cls, options):
    model, x = built(cls, **options)
    assert is_called_directly(model, x)
    for given in (x, {key: x[key] for key in x if key != "mask"}):
        found, expected = model(given), keras.Model.__call__(model, given)
        masks = map(keras.src.backend.get_keras_mask, (found, expected))
        found, expected = map(ops.convert_to_numpy, (found, expected))
        np.testing.assert_array_equal(found, expected)
        one, other = (
            m if m is None else ops.convert_to_numpy(m) for m in masks
        )
        np.testing.assert_array_equal(one, other)


class Negative(Transformer):
    def call(self, inputs, training=None):
        return -super().call(inputs, training)


def test_other_calls_are_those_of_keras():
    model, x = built()
    arrays = {key: ops.convert_to_numpy(a) for key, a in x.items()}
    assert not is_called_directly(model, arrays)
    assert not is_called_directly(model, list(x.values()))
    for cls, options in ((Negative, {}), (Transformer, {"dtype": "float16"})):
        other = built(cls, **options)[0]
        assert is_called_directly(other, x) == (cls is Transformer)
    assert not is_called_directly(built(dtype="mixed_bfloat16")[0], x)
    model.add_loss(ops.ones(()))
    assert not is_called_directly(model, x)
    model(x)
    assert not model.losses


def test_dropout_in_training_only():
    model, x = built(dropout=0.9)
    outer = keras.Sequential([model])

    def spread(call, **kwargs):
        y = [ops.convert_to_numpy(call(x, **kwargs)) for _ in range(2)]
        return np.abs(y[0] - y[1]).max()

    for call in (model, outer):
        assert spread(call) == spread(call, training=False) == 0.0
        assert spread(call, training=True) > 0.0


def test_a_wrong_input_is_refused():
    model, x = built()
    with pytest.raises(ValueError, match="keys of `inputs`"):
        model({**x, "charge": x["mass"]})


def test_hooks_are_called():
    model, x = built()
    seen = []
    hook = model.register_forward_hook(lambda *a: seen.append(1))
    model(x)
    hook.remove()
    model(x)
    assert len(seen) == 1
