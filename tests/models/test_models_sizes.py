"""Every model of nodes: sizes, single nodes, empty samples, dtypes, configs."""

import inspect

import keras
import numpy as np
import pytest
from compiled import outputs
from test_groups_contract import registered

from keras_remul import models
from keras_remul.utils.kept_variables import KeepsVariables

# Each argument at another value than its default.
MODELS = {
    "Transformer": dict(
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        mlp_ratio=2,
        dropout=0.1,
        stochastic_depth=0.1,
        pair_bias=True,
        edge_products=["charges"],
        num_registers=2,
        num_times=2,
    ),
    "MessagePassingNetwork": dict(
        num_layers=1, hidden_dim=8, edge_products=["charges"], num_times=2
    ),
    "EGNN": dict(
        num_layers=1,
        hidden_dim=8,
        edge_products=["charges"],
        cutoff=3.0,
        num_basis=4,
    ),
    "PointEdgeTransformer": dict(
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        num_blocks=2,
        mlp_ratio=3,
        cutoff=3.0,
        num_basis=4,
        num_angles=2,
    ),
    "VectorTransformer": dict(
        num_layers=1,
        hidden_dim=8,
        vector_dim=4,
        num_heads=2,
        mlp_ratio=3,
        cutoff=3.0,
        num_basis=4,
    ),
    "GATr": dict(
        num_layers=1,
        hidden_dim=8,
        multivector_dim=8,
        num_heads=2,
        mlp_ratio=3,
    ),
    "SE3Transformer": dict(
        num_layers=1,
        num_degrees=2,
        hidden_dim=4,
        num_heads=2,
        radial_dim=8,
    ),
}
READOUTS = [
    name
    for name in MODELS
    if "readout" in (inspect.signature(getattr(models, name)).parameters)
]


def make(name, **kwargs):
    keras.utils.set_random_seed(0)
    return getattr(models, name)(**{**MODELS[name], **kwargs})


def inputs(batch=2, nodes=4):
    rng = np.random.default_rng(0)
    widths = {"positions": 3, "velocities": 3, "charges": 1}
    return {
        key: rng.normal(size=(batch, nodes, width)).astype("float32")
        for key, width in widths.items()
    }


@pytest.mark.parametrize("name", MODELS)
def test_another_size_on_each_call(name):
    x, model = inputs(3, 5), make(name)
    y = model.predict(x, verbose=0)
    few = {key: a[:2, :3] for key, a in x.items()}
    mask = {**few, "mask": np.ones((2, 3), bool)}
    # Padded to the size before: the same.
    padded = {key: a[:2] for key, a in x.items()}
    padded["mask"] = np.tile(np.arange(5) < 3, (2, 1))
    expected = model.predict(padded, verbose=0)[:, :3]
    for smaller in (few, mask):
        found = model.predict(smaller, verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-6)
    one = outputs(model, {key: a[:1, :1] for key, a in x.items()})
    assert one.shape[:2] == (1, 1) and np.isfinite(one).all()


def test_a_call_that_fails():
    """On JAX, Keras takes the weights out of a model while it runs."""
    x, model = inputs(), make("Transformer")
    y = model.predict(x, verbose=0)
    wrong = {**x, "wrong": x["charges"]}
    del wrong["charges"]
    model.compile("sgd", "mse")
    for call in (
        lambda: model.predict(wrong, verbose=0),
        lambda: model.evaluate(wrong, y, verbose=0),
        lambda: model.fit(wrong, y, verbose=0),
    ):
        with pytest.raises(ValueError, match="Expected the keys"):
            call()
        np.testing.assert_array_equal(model.predict(x, verbose=0), y)


def test_each_registered_model_keeps_its_variables():
    found = registered(keras.Model)
    assert len(found) > 10
    assert all(issubclass(cls, KeepsVariables) for cls in found)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_single_nodes_and_empty_samples(name):
    # Valid nodes: none, one, two at one place and at rest, all.
    x, model = inputs(4), make(name)
    x["positions"][2, 0] = x["positions"][2, 1]
    x["velocities"][:] = 0.0
    x["mask"] = np.arange(4) < np.array([[0], [1], [2], [4]])
    for key in set(x) - {"mask"}:
        x[key][~x["mask"]] = np.nan
    y = np.zeros(outputs(model, x).shape, "float32")
    y[~x["mask"]] = 1e3
    model.compile("sgd", "mse", metrics=["mse"])
    logs = model.train_on_batch(x, y, return_dict=True)
    # On JAX, Keras forgets masks between the loss and the metrics.
    assert logs["mse"] == pytest.approx(logs["loss"], rel=1e-5)
    assert logs["loss"] < 1e3
    assert all(np.isfinite(w).all() for w in model.get_weights())
    one = {key: a[:, :1] for key, a in x.items() if key != "mask"}
    one["positions"] = np.zeros((4, 1, 3), "float32")
    one["velocities"], one["charges"] = one["positions"], x["charges"][3:, :1]
    one["charges"] = np.tile(one["charges"], (4, 1, 1))
    model.train_on_batch(one, y[:, :1])
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("name", MODELS)
def test_integers_and_short_floats(name):
    x = inputs()
    x = {key: np.round(3 * a) for key, a in x.items()}
    model = make(name)
    expected = outputs(
        model, {key: a.astype("float32") for key, a in x.items()}
    )
    for dtype in ("int32", "int64", "float64", "float16"):
        found = outputs(model, {key: a.astype(dtype) for key, a in x.items()})
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found.dtype == expected.dtype
    mask = np.array([[1, 1, 1, 0]] * 2)
    found = [
        outputs(model, {**x, "mask": mask.astype(dtype)})[:, :3]
        for dtype in ("bool", "int32", "int64", "float32")
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize(
    "dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float16"]
)
@pytest.mark.parametrize("name", MODELS)
def test_positions_keep_their_digits(name, dtype):
    # 4096.25 needs 15 bits: float16 has 11, bfloat16 8.
    x = inputs()
    x["positions"] = x["positions"] + 4096.25
    model = make(name, dtype=dtype)
    y = outputs(model, x)
    assert y.dtype == "float32"
    start = x["positions"][:, :, None] if y.ndim == 4 else x["positions"]
    v = x["velocities"][:, :, None] if y.ndim == 4 else x["velocities"]
    near = {**x, "positions": x["positions"] - 4096.25}
    np.testing.assert_allclose(y - 4096.25, outputs(model, near), atol=0.05)
    assert np.abs(y - start - v).max() < 5
    policy = model.dtype_policy.name
    again = type(model).from_config(model.get_config())
    assert again.dtype_policy.name == policy == dtype
    for layer in again._flatten_layers():
        if layer.name != "attach_mask":
            assert layer.dtype_policy.name == dtype, layer.path


@pytest.mark.parametrize("name", MODELS)
def test_config_keeps_every_argument(name):
    others = dict(
        length_unit=2.0, time_unit=3.0, node_identity=True, name="other"
    )
    cls, kwargs = getattr(models, name), {**MODELS[name], **others}
    checked = [kwargs]
    if name in READOUTS:
        kwargs = {key: a for key, a in kwargs.items() if key != "num_times"}
        checked.append({**kwargs, "readout": "graph", "units": 3})
    seen = set()
    for kwargs in checked:
        parameters = {
            **inspect.signature(models.base.NodeModel.__init__).parameters,
            **inspect.signature(cls.__init__).parameters,
        }
        for key, value in kwargs.items():
            default = getattr(parameters.get(key), "default", None)
            assert key == "num_layers" or value != default
        seen |= set(kwargs)
        model = cls(**kwargs)
        again = cls.from_config(model.get_config())
        config = again.get_config()
        assert config == model.get_config()
        assert {key: config[key] for key in kwargs} == kwargs
        assert all(getattr(again, key) == kwargs[key] for key in kwargs)
    wanted = set(inspect.signature(cls.__init__).parameters)
    assert wanted - {"self", "kwargs"} <= seen
