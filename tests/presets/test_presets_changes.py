"""Presets in other dtypes, with other arguments, without their weights."""

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_remul as kr
from keras_remul import from_preset, models, save_to_preset
from keras_remul.backend import keras_internals
from keras_remul.presets.methods import MODELS
from keras_remul.presets.resolve import bundled

STORED = pathlib.Path(__file__).parents[1] / "stored"
TRAINED = STORED / "tiny_transformer"


def one_of_each():
    """`{class: folder}`: a preset of each registered model."""
    found = {}
    for root in (bundled(), STORED):
        for file in sorted(root.glob("*/config.json")):
            name = json.loads(file.read_text())["registered_name"]
            found[keras.saving.get_registered_object(name)] = file.parent
    return found


PRESETS = one_of_each()
# What is kept in float32 whatever the model is in.
PRECISE = (kr.layers.ReferenceEnergies, kr.weighting.LossWeighting)
each = pytest.mark.parametrize("cls", PRESETS, ids=lambda cls: cls.__name__)


def numpy(variable):
    return ops.convert_to_numpy(variable).astype("float32")


@pytest.mark.backend_independent
def test_each_registered_model_has_the_methods():
    registered = {
        cls
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith("keras_remul>") and issubclass(cls, keras.Model)
    }
    assert registered == {*PRESETS}
    assert all(issubclass(cls, MODELS) for cls in registered)


@each
def test_each_layer_gets_the_dtype(cls):
    model = cls.from_preset(PRESETS[cls], dtype="bfloat16")
    plain = from_preset(PRESETS[cls])
    for layer in keras_internals.with_sublayers(model):
        if layer.weights and not isinstance(layer, PRECISE):
            assert layer.dtype_policy.name == "bfloat16", layer.path
    for cast, weight in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_allclose(numpy(cast), numpy(weight), rtol=2**-8)
    narrow = [w for w in model.weights if w.dtype == "bfloat16"]
    assert len(narrow) > 0.5 * len(plain.weights)


@each
@pytest.mark.backend_independent
def test_each_without_its_weights(cls):
    fresh = cls.from_preset(PRESETS[cls], load_weights=False, name="mine")
    loaded = from_preset(PRESETS[cls])
    assert fresh.name == "mine" and loaded.name != "mine"
    assert [w.shape for w in fresh.weights] == [w.shape for w in loaded.weights]
    old, new = (
        np.concatenate([numpy(w).ravel() for w in model.weights])
        for model in (loaded, fresh)
    )
    # The stored linear fit is at zero, where it begins.
    assert np.abs(old - new).max() > 1e-3 or cls is models.LinearNodes
    with pytest.raises(ValueError, match="no argument 'nothing'. There are:"):
        cls.from_preset(PRESETS[cls], nothing=1)


def test_outputs_in_other_dtypes(bodies):
    y = from_preset(TRAINED).predict(bodies[0], verbose=0)
    move = np.abs(y - bodies[0]["positions"]).max()
    for dtype, near in (
        ("mixed_bfloat16", 0.05),
        (keras.DTypePolicy("float16"), 0.02),
        ("float32", 1e-6),
    ):
        found = from_preset(TRAINED, dtype=dtype).predict(bodies[0], verbose=0)
        assert np.abs(found.astype("float32") - y).max() < near * move


@pytest.mark.backend_independent
def test_other_arguments(bodies, tmp_path):
    model = from_preset(TRAINED, dropout=0.25, trainable=False)
    assert (model.dropout, model.trainable) == (0.25, False)
    new = models.Transformer.from_preset(
        TRAINED, load_weights=False, hidden_dim=512, readout="graph", units=2
    )
    assert new.count_params() > 50 * model.count_params()
    net = kr.models.MessagePassingNetwork(num_layers=2, hidden_dim=4)
    net(bodies[0])
    save_to_preset(net, tmp_path / "p")
    # Keras alone would load the layers that there are.
    for dtype in (None, "bfloat16"):
        with pytest.raises(ValueError, match=r"\['num_layers'\].*load_weights"):
            from_preset(tmp_path / "p", num_layers=1, dtype=dtype)
    with pytest.raises(ValueError, match=r"\['hidden_dim'\] .load_weights"):
        from_preset(tmp_path / "p", hidden_dim=8)
    remul = STORED / "remulmodel"
    again = kr.RemulModel.from_preset(
        remul, False, weighting=kr.weighting.Constant(beta=3.0)
    )
    assert again.weighting.beta == 3.0


@pytest.mark.backend_independent
def test_graphs_of_layers(tmp_path):
    words = keras.Input((3,), dtype="int32")
    h = keras.layers.Embedding(5, 2)(words)
    model = keras.Model(words, keras.layers.Dense(2)(ops.sqrt(h * h)))
    save_to_preset(model, tmp_path / "p")
    found = from_preset(tmp_path / "p", dtype="bfloat16", name="mine")
    assert found.name == "mine" and found.inputs[0].dtype == "int32"
    assert {w.dtype for w in found.weights} == {"bfloat16"}
    with pytest.raises(ValueError, match="no argument 'layers'.*'name'"):
        from_preset(tmp_path / "p", layers=[])
    model.layers[1].embeddings.assign(np.full((5, 2), 1e6))
    save_to_preset(model, tmp_path / "p")
    with pytest.raises(ValueError, match="embeddings is not finite in float16"):
        from_preset(tmp_path / "p", dtype="float16")


@pytest.mark.backend_independent
@pytest.mark.parametrize("dtype", ["int8", "nope", 3, "int8_from_float32"])
def test_dtypes_that_are_none(dtype):
    with pytest.raises(ValueError, match="`dtype` must be a dtype or policy"):
        from_preset(TRAINED, dtype=dtype)


@pytest.mark.backend_independent
def test_published_presets_of_a_class():
    name = "nbody_charged_transformer_remul"
    assert models.Transformer.presets[name].startswith("Transformer with")
    assert name not in models.EGNN.presets
    assert "nbody_charged_egnn" in models.EGNN.presets
    assert models.GATr.presets == {}
