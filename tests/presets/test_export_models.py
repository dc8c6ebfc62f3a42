"""Every registered model in every format, at other numbers of nodes too."""

import pathlib
import re

import keras
import numpy as np
import pytest
from test_export import BACKEND, FORMAT, FORMATS, SUFFIX, files, need
from test_registry import JETS, MADE, is_model

from keras_remul import backend, export, models
from keras_remul.models.shapes import axes_of_nodes
from keras_remul.presets import exporting, free_axes
from keras_remul.presets.exporting import PACKAGES

pytestmark = pytest.mark.usefixtures("untraced")

# Of nodes with positions.
MODELS = [name for name in MADE if is_model(name) and name not in JETS]
CHARGED = ("Transformer", "MessagePassingNetwork", "EGNN")

# Which models know their nodes, and what they say of another number.
FIXED = {
    "LinearNodes": "LinearNodes needs the number of nodes",
    "Alignment": "The reference has 5 nodes",
}
# What cannot be written, and the cause that the error has to name.
EIGH, SVD = "Canonicalization FrameAveraging".split(), ["Alignment"]
GRADIENTS = ["ConservativeForces", "Potential"]
UNABLE = {
    ("torch", "onnx"): {
        **dict.fromkeys(EIGH, "_linalg_eigh"),
        **dict.fromkeys(SVD, "_linalg_svd"),
    },
    ("tensorflow", "onnx"): {
        **dict.fromkeys(EIGH, "SelfAdjointEigV2"),
        **dict.fromkeys(SVD, "Svd"),
        **dict.fromkeys(GRADIENTS, "ShapeN"),
    },
    ("jax", "onnx"): {  # jax2onnx, with a free number of samples
        **dict.fromkeys(EIGH, "Cannot divide evenly"),
        **dict.fromkeys(SVD, "svd"),
        **dict.fromkeys(GRADIENTS, "same number of dimensions"),
        "LinearNodes": "arange",
        "PointEdgeTransformer": "arange",
        "Symmetrized": "Cannot divide evenly",
        "VectorTransformer": "reshape with symbolic dimensions",
        "GATr": "reshape with symbolic dimensions",
        "SE3Transformer": "reshape with symbolic dimensions",
    },
    ("jax", "tf_saved_model"): {
        **dict.fromkeys(EIGH, "lapack_ssyevd"),
        **dict.fromkeys(SVD, "lapack_sgesdd"),
    },
}


def inputs(name, batch=3, nodes=5, mask=True):
    rng = np.random.default_rng(batch + 10 * nodes)
    widths = {"positions": 3, "velocities": 3}
    if name in CHARGED:
        widths["charges"] = 1
    x = {
        key: rng.normal(size=(batch, nodes, width)).astype("float32")
        for key, width in widths.items()
    }
    if name == "LinearNodes":
        x["one_hot"] = np.tile(np.eye(nodes, dtype="float32"), (batch, 1, 1))
    if mask:
        valid = np.maximum(nodes - np.arange(batch), 1)
        x["mask"] = np.arange(nodes) < valid[:, None]
    return {key: x[key] for key in sorted(x)}


def assert_same(model, run, x):
    expected = keras.tree.flatten(model.predict(x, verbose=0))
    for a, b in zip(keras.tree.flatten(run(x)), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


# The ONNX file is made of the program that the own format of the backend holds:
# where it is right, so is the other. Not on JAX, which has two ways.
CASES = [
    (name, format)
    for format in FORMATS
    for name in MODELS
    if BACKEND == "jax"
    or format == "onnx"
    or name in {"Transformer", *UNABLE[BACKEND, "onnx"]}
]


@pytest.mark.parametrize("name, format", CASES)
def test_the_file_computes_what_the_model_does(name, format, tmp_path):
    need(format)
    model, x = MADE[name](), inputs(name)
    before = keras.tree.flatten(model.predict(x, verbose=0))
    path = tmp_path / SUFFIX[format]
    unable = UNABLE.get((BACKEND, format), {})
    if name in unable:
        with pytest.raises(RuntimeError, match=unable[name]):
            export(model, path, x, format)
        assert files(tmp_path) == []
        return
    done = export(model, path, x, format)
    assert done.difference < 1e-5
    assert files(tmp_path) == [path.name]
    if name in FIXED or (BACKEND, format) == ("jax", "onnx"):
        assert re.search(f"{FIXED.get(name)}|jax2onnx", done.fixed)
        assert done.shapes["positions"] == ("batch", 5, 3)
    else:
        assert done.fixed is None
        assert done.shapes["positions"] == ("batch", "nodes", 3)
        assert done.shapes["mask"] == ("batch", "nodes")
    run = exporting.load(path, format, sorted(x))
    batch, nodes = (7, 5) if done.fixed else (1, 8)
    assert_same(model, run, inputs(name, batch, nodes))
    # The model is unharmed.
    after = keras.tree.flatten(model.predict(x, verbose=0))
    for a, b in zip(after, before, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_without_a_mask(format, tmp_path):
    need(format)
    model, x = MADE["Transformer"](), inputs("Transformer", mask=False)
    path = tmp_path / SUFFIX[format]
    fixed = export(model, path, x, format).fixed
    assert (fixed is None) == ((BACKEND, format) != ("jax", "onnx"))
    run = exporting.load(path, format, sorted(x))
    for batch, nodes in ((7, 5),) if fixed else ((2, 60), (1, 1)):
        assert_same(model, run, inputs("Transformer", batch, nodes, False))


def test_the_table_in_the_docs_is_what_works():
    page = pathlib.Path(__file__).parents[2] / "docs" / "export.md"
    for format, backends in PACKAGES.items():
        row = [f"`{format}`"]
        for name in ("tensorflow", "jax", "torch"):
            unable = ", ".join(UNABLE.get((name, format), ()))
            works = f"all but {unable}" if unable else "all models"
            row.append(works if name in backends else "no")
        assert f"| {' | '.join(row)} |" in page.read_text()


def with_list(x, width=2):
    """x with a list of neighbors, and features of these pairs."""
    batch, nodes, _ = x["positions"].shape
    rng = np.random.default_rng(0)
    ahead = np.arange(nodes)[:, None] + 1 + np.arange(width)
    list_ = np.tile(ahead % nodes, (batch, 1, 1)).astype("int32")
    edges = rng.normal(size=(*list_.shape, 2)).astype("float32")
    return {**x, "edges": edges, "neighbors": list_}


@pytest.mark.parametrize("format", FORMATS)
def test_lists_of_neighbors(format, tmp_path):
    need(format)
    model = models.MessagePassingNetwork(num_layers=1, hidden_dim=8)
    x = with_list(inputs("MessagePassingNetwork"))
    path = tmp_path / SUFFIX[format]
    if (BACKEND, format) == ("jax", "onnx"):
        with pytest.raises(RuntimeError, match="arange"):
            export(model, path, x, format)
        return
    done = export(model, path, x, format)
    assert done.shapes["neighbors"] == ("batch", "nodes", 2)
    assert done.shapes["edges"] == ("batch", "nodes", 2, 2)
    run = exporting.load(path, format, sorted(x))
    assert_same(model, run, with_list(inputs("MessagePassingNetwork", 2, 9)))


def test_node_identity_fixes_the_nodes(tmp_path):
    need(FORMAT)
    model = models.MessagePassingNetwork(
        num_layers=1, hidden_dim=8, node_identity=True
    )
    x = inputs("MessagePassingNetwork")
    done = export(model, tmp_path / SUFFIX[FORMAT], x, FORMAT)
    assert done.fixed.startswith("the model takes no other: ")
    assert done.shapes["mask"] == ("batch", 5)
    assert "nodes" not in [n for s in done.shapes.values() for n in s]


@pytest.mark.parametrize("nodes", [None, 5])
def test_functional_models_say_what_is_free(nodes, tmp_path):
    need(FORMAT)
    x, m = keras.Input((nodes, 3), name="a"), keras.Input((nodes,), name="b")
    y = keras.layers.Dense(2)(x) * keras.ops.expand_dims(m, -1)
    model = keras.Model({"a": x, "b": m}, y)
    rng = np.random.default_rng(0)
    sample = {
        "a": rng.normal(size=(4, 5, 3)).astype("float32"),
        "b": rng.normal(size=(4, 5)).astype("float32"),
    }
    path = tmp_path / SUFFIX[FORMAT]
    done = export(model, path, sample, FORMAT)
    if nodes:
        assert "no input is known to count nodes" in done.fixed
        assert done.shapes == {"a": ("batch", 5, 3), "b": ("batch", 5)}
    else:
        assert done.fixed is None
        assert done.shapes == {
            "a": ("batch", "nodes", 3),
            "b": ("batch", "nodes"),
        }


def test_axes_go_by_the_names_of_the_inputs():
    """Which a functional model may declare in any order."""
    x, m = keras.Input((None, 3), name="nodes"), keras.Input((4,), name="all")
    y = keras.layers.Dense(4)(x) * m[:, None]
    model = keras.Model([x, m], y)
    sample = {
        "all": np.ones((2, 4), "float32"),
        "nodes": np.ones((2, 5, 3), "float32"),
    }
    shapes, fixed, _ = free_axes.tried(model, sample)
    assert fixed is None
    assert shapes == [("batch", 4), ("batch", "nodes", 3)]


def test_free_axes_of_several_lengths_stay_fixed():
    a, b = keras.Input((None, 3)), keras.Input((None, 3))
    model = keras.Model([a, b], keras.ops.sum(a, 1) + keras.ops.sum(b, 1))
    sample = [np.ones((2, 5, 3), "float32"), np.ones((2, 4, 3), "float32")]
    shapes, fixed, tried = free_axes.tried(model, sample)
    assert shapes == [("batch", 5, 3), ("batch", 4, 3)] and "[4, 5]" in fixed
    assert [x[0].shape for x, _ in tried] == [(2, 5, 3), (1, 5, 3)]


def test_inputs_of_other_sizes():
    x = with_list(inputs("EGNN", batch=2))
    x["edges_too"] = np.arange(30, dtype="float32").reshape(2, 5, 3)
    x = {key: x[key] for key in sorted(x)}
    shapes = [("batch", "nodes", *a.shape[2:]) for a in x.values()]
    fewer, more = free_axes.others(x, shapes)
    assert fewer["positions"].shape == (1, 4, 3)
    np.testing.assert_array_equal(fewer["edges_too"], x["edges_too"][:1, :4])
    assert fewer["neighbors"].max() == 3  # of the nodes that are left
    assert more["positions"].shape == (2, 6, 3)
    np.testing.assert_array_equal(more["edges_too"][0, 5], x["edges_too"][1, 0])
    dense = {"edges": np.ones((2, 5, 5, 1)), "positions": x["positions"]}
    axes = axes_of_nodes({key: a.shape for key, a in dense.items()})
    assert axes == {"positions": (1,), "edges": (1, 2)}
    shapes = [("batch", "nodes", "nodes", 1), ("batch", "nodes", 3)]
    fewer, more = free_axes.others(dense, shapes)
    assert fewer["edges"].shape == (1, 4, 4, 1)
    assert more["edges"].shape == (2, 6, 6, 1)


def test_a_file_that_is_wrong_at_other_sizes_is_not_written(
    tmp_path, monkeypatch
):
    need(FORMAT)
    load = exporting.load

    def frozen(*args):
        run = load(*args)

        def few(x):
            """As a file that has the nodes of the sample frozen in."""
            nodes = x["positions"].shape[1]
            y = run({key: a[:, :5] for key, a in x.items()})
            return keras.tree.map_structure(
                lambda a: np.resize(a, (len(a), nodes, 3)), y
            )

        return few

    monkeypatch.setattr(exporting, "load", frozen)
    model = models.MessagePassingNetwork(num_layers=1, hidden_dim=8)
    with pytest.raises(ValueError, match="other outputs than the model"):
        export(
            model,
            tmp_path / SUFFIX[FORMAT],
            inputs("MessagePassingNetwork"),
            FORMAT,
        )
    assert files(tmp_path) == []


def test_the_error_names_the_cause(tmp_path, monkeypatch):
    need(FORMAT)

    def fail(*args):
        try:
            raise KeyError("no word for this\nand more")
        except KeyError as error:
            raise RuntimeError("Failed. Common causes: many.") from error

    monkeypatch.setattr(backend, "write_exported", fail)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(RuntimeError, match="KeyError.*no word for this"):
        export(
            model, tmp_path / SUFFIX[FORMAT], np.ones((2, 3), "float32"), FORMAT
        )
    assert files(tmp_path) == []
