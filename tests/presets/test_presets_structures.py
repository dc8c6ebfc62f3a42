"""Presets of all kinds of Keras models, inputs and outputs."""

import json
import os

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers

import keras_remul as kr
from keras_remul import from_preset, models, save_to_preset, verify_preset
from keras_remul.presets import configuration, files, golden
from keras_remul.utils import atomic

pytestmark = pytest.mark.usefixtures("untraced")


@keras.saving.register_keras_serializable(package="tests")
class Nested(keras.Model):
    """Positions scaled by a charge, and their norms; in a nested dict."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def build(self, input_shape):
        self.dense.build((None, 3))

    def call(self, inputs):
        atoms, (charge, mask) = inputs["atoms"], inputs["more"]
        y = self.dense(atoms["positions"]) * charge
        kept = keras.ops.logical_and(mask, charge > 0)
        return {"y": y, "parts": (y[:, :1], [kept])}


def array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def sequential():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    return model, array(4, 3)


def functional():
    x = keras.Input((3,))
    return keras.Model(x, layers.Dense(2)(x)), array(4, 3)


def dict_inputs():
    # Not in alphabetical order.
    x = {name: keras.Input((3,), name=name) for name in ("q", "p")}
    y = layers.Dense(2)(layers.Concatenate()([x["q"], x["p"]]))
    return keras.Model(x, y), {"q": array(4, 3), "p": array(4, 3, seed=1)}


def list_inputs():
    x = [keras.Input((3,)), keras.Input((3,))]
    y = layers.Dense(2)(layers.Concatenate()(x))
    return keras.Model(x, y), [array(4, 3), array(4, 3, seed=1)]


def tuple_of_dicts():
    x = ({"a": keras.Input((3,))}, {"a": keras.Input((3,))})
    y = layers.Dense(2)(layers.Concatenate()([x[0]["a"], x[1]["a"]]))
    return keras.Model(x, (y, {"b": [x[0]["a"]]})), (
        {"a": array(4, 3)},
        {"a": array(4, 3, seed=1)},
    )


def integers():
    x = keras.Input((5,), dtype="int32")
    y = layers.Dense(2)(layers.Embedding(7, 3, mask_zero=True)(x))
    return keras.Model(x, y), np.arange(20).reshape(4, 5) % 7


def shared_layer():
    x = [keras.Input((3,)), keras.Input((3,))]
    dense = layers.Dense(2)
    y = layers.Subtract()([dense(x[0]), dense(x[1])])
    return keras.Model(x, y), [array(4, 3), array(4, 3, seed=1)]


def models_in_models():
    x = keras.Input((3,))
    first, _ = functional()
    first.compile("adam", "mse")
    return keras.Model(x, layers.Dense(2)(first(x))), array(4, 3)


def dropout():
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(2)(layers.Dropout(0.5)(x)))
    model(array(4, 3), training=True)  # the generator goes on
    return model, array(4, 3)


def ensemble():
    first, x = dict_inputs()
    first.compile("adam", "mse")
    model = models.Ensemble([first, dict_inputs()[0]], [0.3, 0.7])
    model(x)
    return model, x


def remul():
    inner, x = dict_inputs()
    symmetry = kr.Symmetry(
        kr.groups.SO3(), {"q": "vector", "p": "vector"}, "scalar"
    )
    model = kr.RemulModel(inner, symmetry, seed=0)
    model.compile("adam", "mse")
    model.fit(x, array(4, 2), verbose=0)
    return model, x


def subclass():
    x = {
        "atoms": {"positions": array(4, 3)},
        "more": (array(4, 1), np.array([[True], [False], [True], [True]])),
    }
    model = Nested()
    model(x)
    return model, x


def low_precision():
    x = keras.Input((3,))
    y = layers.Dense(2, dtype="bfloat16")(x)
    return keras.Model(x, y), array(4, 3)


MODELS = [
    sequential,
    functional,
    dict_inputs,
    list_inputs,
    tuple_of_dicts,
    integers,
    shared_layer,
    models_in_models,
    dropout,
    ensemble,
    remul,
    subclass,
    low_precision,
]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_each_kind_of_model_comes_back(make, tmp_path):
    model, x = make()
    path = tmp_path / "p"
    save_to_preset(model, path, x=x)
    again = from_preset(path, packages=["tests"])
    for old, new in zip(model.weights, again.weights, strict=True):
        old, new = map(keras.ops.convert_to_numpy, (old, new))
        np.testing.assert_array_equal(old, new)
    assert verify_preset(path, packages=["tests"]) < 1e-6
    assert "optimizer" not in (path / "config.json").read_text()
    np.load(path / "golden.npz", allow_pickle=False)
    stored = golden.restore("input", golden.read(path / "golden.npz"))
    assert_same(stored, x)


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for first, second in zip(a, b, strict=True):
            assert_same(first, second)
    else:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_any_structure_is_stored_as_plain_arrays(tmp_path):
    a = np.arange(3)
    data = {
        "a/b[0](1)": a,
        "ä:é": {"": a + 1},
        "0": [a + 2, (a + 3,), {"1": a + 4, "10": a + 5}],
        "bools": a > 1,
        "half": (a / 7).astype(ml_dtypes.bfloat16),
        "many": [a + i for i in range(12)],
    }
    file = tmp_path / "golden.npz"
    golden.write(file, golden.flatten("input", data))
    with np.load(file, allow_pickle=False) as arrays:
        assert len(arrays.files) == 20
        assert {arrays[key].dtype.kind for key in arrays.files} <= set("bif")
    assert_same(golden.restore("input", golden.read(file)), data)
    assert golden.restore("output", golden.read(file)) is None


def test_files_of_earlier_versions_are_read():
    a = np.arange(3)
    old = {"input/0": a, "input/1": a + 1, "output/x": a}
    assert_same(golden.restore("input", old), [a, a + 1])
    assert_same(golden.restore("output", old), {"x": a})


@pytest.mark.parametrize(
    "bad",
    [
        {"x": None},
        [],
        {1: np.ones(3)},
        {"x": np.array([{}])},
        {"x": np.array(["text"])},
        [np.array([1.0, None])],
    ],
    ids=str,
)
def test_what_is_no_array_is_refused(bad, tmp_path):
    with pytest.raises(ValueError, match="`input"):
        golden.write(tmp_path / "golden.npz", golden.flatten("input", bad))
    assert not (tmp_path / "golden.npz").exists()


@pytest.mark.parametrize(
    "paths",
    [
        ["x", "x/a"],
        ["x/a", "x[0]"],
        ["x[0]", "x(1)"],
        ["x[1]"],
        ["x[0]", "x[00]"],
        ["x/a", "x/%61"],
        ["x" + "[0]" * 1000],
        ["x[a]"],
    ],
)
def test_paths_that_contradict_each_other(paths):
    with pytest.raises(ValueError, match="x"):
        golden.restore("x", {path: np.ones(1) for path in paths})


OTHER = {
    "missing": lambda y: y.pop("b"),
    "unknown": lambda y: y.update(c=y["b"]),
    "shape": lambda y: y.update(a=y["a"][:2]),
    "broadcast": lambda y: y.update(a=y["a"][:1]),
    "dtype": lambda y: y.update(a=y["a"].astype("float64")),
    "boolean": lambda y: y.update(c=y.pop("b") > 0),
    "nan": lambda y: y.update(a=np.where([1, 0, 0], np.nan, y["a"])),
    "all nan": lambda y: y.update(a=np.full_like(y["a"], np.nan)),
    "infinity": lambda y: y.update(a=np.where([1, 0, 0], np.inf, y["a"])),
    "minus": lambda y: y.update(b=-y["b"]),
    "number": lambda y: y.update(a=y["a"] + np.float32(1e-4)),
    "one integer": lambda y: y.update(n=y["n"] + 1),
}


@pytest.mark.parametrize("change", OTHER)
@pytest.mark.parametrize("in_found", [True, False])
def test_what_differs_is_found(change, in_found):
    def arrays():
        return {
            "a": np.array([1, 2, 3], "float32"),
            "b": np.array([np.inf, -1.0, 0.0], "float32"),
            "n": np.array([250, 3], "uint8"),
        }

    found, expected = arrays(), arrays()
    assert golden.check(found, expected, 1e-5, "?") == 0.0
    OTHER[change](found if in_found else expected)
    with pytest.raises(ValueError, match="^The model: "):
        golden.check(found, expected, 1e-5, "The model")


def resign(path, **arrays):
    """Other golden arrays, with their hash."""
    stored = dict(np.load(path / "golden.npz"))
    stored |= arrays
    stored = {key: value for key, value in stored.items() if value is not None}
    np.savez(path / "golden.npz", **stored)
    facts = json.loads((path / "metadata.json").read_text())
    (path / "metadata.json").unlink()
    facts["files"] = files.describe(path)
    atomic.write_json(path / "metadata.json", facts)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"output": np.full((4, 2), np.nan, "float32")}, "NaN"),
        ({"output": array(4, 1)}, "shape"),
        ({"output": array(4, 2).astype("float64")}, "dtype"),
        ({"output": None}, "must hold"),
        ({"moved_output": array(4, 2)}, "must hold"),
        ({"element": np.stack([np.eye(3)] * 4)}, "must hold"),
        ({"junk": array(4, 2)}, "must hold"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_verify_finds_other_stored_outputs(arrays, message, tmp_path):
    model, x = sequential()
    save_to_preset(model, tmp_path / "p", x=x)
    resign(tmp_path / "p", **arrays)
    with pytest.raises(ValueError, match=message):
        verify_preset(tmp_path / "p")


def test_verify_finds_outputs_that_have_become_nan(tmp_path, monkeypatch):
    model, x = functional()
    save_to_preset(model, tmp_path / "p", x=x)
    nan = np.full((4, 2), np.nan, "float32")
    monkeypatch.setattr(keras.Model, "predict", lambda *a, **k: nan)
    with pytest.raises(ValueError, match="`output` holds NaN"):
        verify_preset(tmp_path / "p")


def test_nan_is_not_saved(tmp_path):
    model, x = functional()
    save_to_preset(model, tmp_path / "p", x=x)
    before = files.describe(tmp_path / "p")
    with pytest.raises(ValueError, match="`input` holds NaN"):
        save_to_preset(model, tmp_path / "p", x=np.where(x < 0, np.nan, x))
    kernel = model.layers[-1].kernel
    kernel.assign(np.where(np.eye(3, 2), np.nan, 1.0))
    for more in ({}, {"x": x}):
        with pytest.raises(ValueError, match=f"{kernel.path}.*holds NaN"):
            save_to_preset(model, tmp_path / "p", **more)
    kernel.assign(np.full((3, 2), np.inf))
    x = np.zeros((1, 3), "float32")  # 0 times infinity
    with pytest.raises(ValueError, match="`output` holds NaN"):
        save_to_preset(model, tmp_path / "p", x=x)
    assert files.describe(tmp_path / "p") == before
    assert os.listdir(tmp_path) == ["p"]


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(keras.Model):
    """Does not write down its `scale`."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.dense = layers.Dense(2)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.scale * self.dense(x)

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="tests")
class Stubborn(layers.Dense):
    """Gives its weights back changed."""

    def save_own_variables(self, store):
        store["0"] = 1.0 + keras.ops.convert_to_numpy(self.kernel)
        store["1"] = keras.ops.convert_to_numpy(self.bias)


def test_what_does_not_come_back_does_not_replace(tmp_path):
    model, x = functional()
    save_to_preset(model, tmp_path / "p", x=x)
    before = files.describe(tmp_path / "p")
    forgetful = Forgetful(scale=2.0)
    forgetful(x)
    with pytest.raises(ValueError, match="other outputs"):
        save_to_preset(forgetful, tmp_path / "p", x=x)
    stubborn = keras.Sequential([keras.Input((3,)), Stubborn(2)])
    with pytest.raises(ValueError, match="changed when"):
        save_to_preset(stubborn, tmp_path / "p")
    assert files.describe(tmp_path / "p") == before
    assert os.listdir(tmp_path) == ["p"]


def test_a_rename_that_fails_puts_the_old_preset_back(tmp_path, monkeypatch):
    model, x = functional()
    save_to_preset(model, tmp_path / "p", x=x)
    before = files.describe(tmp_path / "p")
    replace, calls = os.replace, []

    def second_fails(source, target):
        calls.append((source, target))
        if len(calls) == 2:
            raise OSError("Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="Input/output"):
        save_to_preset(model, tmp_path / "p")
    assert len(calls) == 3
    assert files.describe(tmp_path / "p") == before
    assert os.listdir(tmp_path) == ["p"]


def test_facts_that_are_written_anyway_are_not_given(tmp_path):
    model, _ = functional()
    for key in ("files", "format", "class"):
        with pytest.raises(ValueError, match=f"`metadata`.*{key}"):
            save_to_preset(model, tmp_path / "p", metadata={key: 1})
    assert not (tmp_path / "p").exists()


def test_a_configuration_is_not_changed_by_loading(tmp_path):
    model, _ = functional()
    before = json.dumps(keras.saving.serialize_keras_object(model))
    config = json.loads(before)
    configuration.make(config, "config.json")
    assert json.dumps(config) == before
