"""Exported files: they compute what the model does, or are not written."""

import importlib.util

import keras
import numpy as np
import pytest

from keras_remul import backend, export
from keras_remul.presets import exporting
from keras_remul.presets.exporting import PACKAGES

BACKEND = keras.backend.backend()
FORMATS = [name for name in PACKAGES if BACKEND in PACKAGES[name]]
FORMAT = FORMATS[-1]  # which needs the least
SUFFIX = {"onnx": "model.onnx", "tf_saved_model": "model", "torch": "m.pt2"}


def need(format):
    for package in PACKAGES[format][BACKEND]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{format} on {BACKEND} needs {package}")


def files(folder):
    return sorted(file.name for file in folder.iterdir())


A, B = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
STRUCTURES = {
    "list": [A, B],
    "tuple": (A, B),
    "list of one": [A],
    "nested dict": {"z": {"b": A, "a": B}, "c": B},  # keys not sorted
    "lists in dicts": {"z": [A, B], "a": (B,)},
    "names": {"a-b": A, "a.b": B, "0": A},
    "integers": {"a": A, "n": np.arange(4, dtype="int32")[:, None]},
    "booleans": {"a": A, "m": A > 0},
}


def functional(x):
    """Every input takes part, with a weight of its own."""
    inputs = keras.tree.pack_sequence_as(
        x,
        [
            keras.Input(
                a.shape[1:], dtype=str(a.dtype), name="_".join(map(str, path))
            )
            if isinstance(path[0], str)
            else keras.Input(a.shape[1:], dtype=str(a.dtype))
            for path, a in keras.tree.flatten_with_path(x)
        ],
    )
    leaves = [
        keras.layers.Rescaling(i + 1.0)(keras.ops.cast(leaf, "float32"))
        for i, leaf in enumerate(keras.tree.flatten(inputs))
    ]
    h = keras.layers.Concatenate()([*leaves, leaves[0]])
    return keras.Model(inputs, keras.layers.Dense(2)(h))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", STRUCTURES)
def test_any_structure_of_inputs(name, format, tmp_path):
    need(format)
    x = STRUCTURES[name]
    path = tmp_path / SUFFIX[format]
    assert export(functional(x), path, x, format).difference < 1e-5
    assert files(tmp_path) == [path.name]


OUTPUTS = {
    "list": lambda a, b: [a, b],
    "dict": lambda a, b: {"z": a, "b": b},  # not in the order of its keys
    "nested": lambda a, b: {"z": a, "b": [b, (a, {"c": b})]},
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", OUTPUTS)
def test_any_structure_of_outputs(name, format, tmp_path):
    need(format)
    x = keras.Input((3,))
    # Of equal shape, so that only numbers tell them apart.
    a, b = keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)
    model = keras.Model(x, OUTPUTS[name](a, b))
    path = tmp_path / SUFFIX[format]
    assert export(model, path, A, format).difference < 1e-5


@pytest.mark.parametrize(
    "x, message",
    [
        ([A, B[:1]], "two samples"),
        ([A, np.float32(1.0)], "two samples"),
        ({"a": A, "b": None}, "sample/b. is None"),
        ({"a": A, "b": np.array(["text"] * 4)}, "numbers"),
        ([], "is empty"),
    ],
)
def test_samples_that_are_refused(dense, x, message, tmp_path):
    need(FORMAT)
    with pytest.raises(ValueError, match=message):
        export(dense, tmp_path / SUFFIX[FORMAT], x, FORMAT)
    assert files(tmp_path) == []


def test_nan_is_not_accepted(dense, tmp_path, monkeypatch):
    """Neither in the file's outputs nor in the model's."""
    need(FORMAT)
    path = tmp_path / SUFFIX[FORMAT]
    with pytest.raises(ValueError, match="other outputs.*NaN"):
        export(dense, path, np.where(A < 0, np.nan, A), FORMAT)
    load = exporting.load
    for wrong in (
        lambda y: np.full_like(y, np.nan),
        lambda y: y[:, :1],
        lambda y: [y, y],
        lambda y: y.astype("float64"),
    ):
        monkeypatch.setattr(
            exporting,
            "load",
            lambda *a, wrong=wrong: (
                lambda x: wrong(keras.tree.flatten(load(*a)(x))[0])
            ),
        )
        with pytest.raises(ValueError, match="other outputs"):
            export(dense, path, A, FORMAT)
    assert files(tmp_path) == []


@pytest.fixture
def dense():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def test_a_file_with_other_outputs_is_not_written(dense, tmp_path, monkeypatch):
    need(FORMAT)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    path = tmp_path / SUFFIX[FORMAT]
    write = backend.write_exported

    def wrong(model, *args):
        weights = model.get_weights()
        model.set_weights([1.001 * w for w in weights])
        write(model, *args)
        model.set_weights(weights)

    monkeypatch.setattr(backend, "write_exported", wrong)
    with pytest.raises(ValueError, match="difference.*0.001.*1e-05"):
        export(dense, path, x, FORMAT, tolerance=1e-5)
    assert files(tmp_path) == []
    monkeypatch.undo()
    export(dense, path, x, FORMAT)
    export(dense, path, x, FORMAT)  # replaces it
    assert files(tmp_path) == [path.name]


def test_clear_errors(dense, tmp_path, monkeypatch):
    x = np.zeros((4, 3), "float32")
    with pytest.raises(ValueError, match="`format`.*'tflite'"):
        export(dense, tmp_path / "model", x, "tflite")
    other = "tf_saved_model" if BACKEND == "torch" else "torch"
    with pytest.raises(ValueError, match=f"{BACKEND}.*`format`"):
        export(dense, tmp_path / "model", x, other)
    with pytest.raises(ValueError, match="must end with '.onnx'"):
        export(dense, tmp_path / "model", x, "onnx")
    with pytest.raises(ValueError, match="two samples"):
        need(FORMAT)
        export(dense, tmp_path / SUFFIX[FORMAT], x[:1], FORMAT)
    monkeypatch.setitem(PACKAGES["onnx"], BACKEND, ["no_such_package"])
    with pytest.raises(ImportError, match="pip install no_such_package"):
        export(dense, tmp_path / "model.onnx", x)
    assert files(tmp_path) == []
