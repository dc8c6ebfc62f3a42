"""Transformer: padding, the symmetries it has and has not, saving, errors."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul.models import Transformer

pytestmark = pytest.mark.usefixtures("untraced")

BATCH, NODES, VALID = 4, 6, 4


def small(num_layers=2, **kwargs):
    keras.utils.set_random_seed(0)
    return Transformer(num_layers, hidden_dim=16, num_heads=2, **kwargs)


def inputs(dim=3, seed=0):
    rng = np.random.default_rng(seed)
    widths = {"positions": dim, "velocities": dim, "mass": 1, "charges": 2}
    return {
        key: rng.normal(size=(BATCH, NODES, width)).astype("float32")
        for key, width in widths.items()
    }


def padded(x):
    mask = np.ones((BATCH, NODES), bool)
    mask[:, VALID:] = False
    return {**x, "mask": mask}


def cut(x):
    return {key: a[:, :VALID] for key, a in x.items() if key != "mask"}


def call(model, x):
    return ops.convert_to_numpy(ops.cast(model(x), "float32"))


def test_shape_and_start_near_uniform_motion():
    x = inputs()
    y = call(small(), x)
    step = np.abs(y - x["positions"] - x["velocities"]).max()
    assert y.shape == (BATCH, NODES, 3)
    assert 1e-3 < step < 1.0


def test_two_dimensions_and_positions_alone():
    model = small()
    assert model({"positions": inputs(2)["positions"]}).shape == (4, 6, 2)
    assert "velocity_scale" not in [v.name for v in model.weights]


@pytest.mark.parametrize("garbage", [1e6, np.nan])
@pytest.mark.parametrize("mask_dtype", ["bool", "float32"])
def test_padding_changes_nothing(garbage, mask_dtype):
    x, model = padded(inputs()), small()
    for key in set(x) - {"mask"}:
        x[key][~x["mask"]] = garbage
    expected = call(model, cut(x))
    y = call(model, {**x, "mask": x["mask"].astype(mask_dtype)})
    np.testing.assert_allclose(y[:, :VALID], expected, atol=1e-6)
    assert np.isfinite(y).all()


def test_permutation_and_translation_but_not_rotation():
    x, model = inputs(), small()
    y = call(model, x)
    order = np.random.default_rng(0).permutation(NODES)
    permuted = call(model, {key: a[:, order] for key, a in x.items()})
    np.testing.assert_allclose(permuted, y[:, order], atol=1e-5)

    t = np.array([3.0, -2.0, 1.0], "float32")
    moved = call(model, {**x, "positions": x["positions"] + t})
    np.testing.assert_allclose(moved, y + t, atol=1e-5)

    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], "float32")
    rotated = {key: x[key] @ turn.T for key in ("positions", "velocities")}
    gap = call(model, {**x, **rotated}) - y @ turn.T
    assert np.abs(gap).max() > 1e-2


@pytest.mark.traced
def test_loss_under_fit_leaves_padding_out():
    x, model = padded(inputs()), small(num_layers=1)
    y = inputs(seed=1)["positions"]
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    kwargs = {"batch_size": BATCH, "verbose": 0}
    expected = model.evaluate(cut(x), y[:, :VALID], **kwargs)
    np.testing.assert_allclose(model.evaluate(x, y, **kwargs), expected, 1e-5)

    start = model.get_weights()
    model.fit(x, y, **kwargs)
    with_padding = model.get_weights()
    model.set_weights(start)
    model.fit(cut(x), y[:, :VALID], **kwargs)
    assert not np.allclose(start[0], with_padding[0], atol=1e-5)
    for a, b in zip(with_padding, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_sample_without_nodes_gives_finite_gradients():
    x, model = padded(inputs()), small(num_layers=1, dropout=0.1)
    x["mask"][0] = False
    model.compile("sgd", "mse")
    model.fit(x, x["positions"], verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert np.isfinite(call(model, x)).all()


def test_config_lists_every_argument_and_rebuilds_without_data():
    model = small(mlp_ratio=2, dropout=0.1, name="model")
    y = call(model, padded(inputs()))
    names = set(inspect.signature(Transformer).parameters) - {"kwargs"}
    assert names <= set(model.get_config())
    copy = Transformer.from_config(model.get_config())
    copy.build_from_config(model.get_build_config())
    copy.set_weights(model.get_weights())
    assert [v.path for v in copy.weights] == [v.path for v in model.weights]
    np.testing.assert_array_equal(call(copy, padded(inputs())), y)


def test_save_and_load(tmp_path):
    model, x = small(), inputs()
    y = call(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(loaded, x), y, atol=1e-6)
    model.save_weights(tmp_path / "model.weights.h5")
    other = Transformer.from_config(model.get_config())
    other.build({key: a.shape for key, a in x.items()})
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(call(other, x), y, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize(
    "dtype", ["mixed_float16", "mixed_bfloat16", "float64"]
)
def test_dtypes(dtype):
    x, reference, model = inputs(), small(), small(dtype=dtype)
    expected = call(reference, x)
    if keras.backend.backend() != "jax":  # x64 is a switch of JAX
        y_dtype = keras.backend.standardize_dtype(model(x).dtype)
        assert y_dtype == model.variable_dtype
    model(x)
    model.set_weights(reference.get_weights())
    np.testing.assert_allclose(call(model, x), expected, atol=0.05)
    # Far from the origin no digit is lost, as float16 would lose it: the
    # positions are centered, and the output added, in the variables' dtype.
    far = {**x, "positions": x["positions"] + 1000.0}
    np.testing.assert_allclose(call(model, far) - 1e3, expected, atol=0.05)


def test_every_sublayer_is_built():
    # Or train_on_batch and predict_on_batch trace the model at each call.
    model = small(dropout=0.1)
    model.build({key: a.shape for key, a in inputs().items()})
    assert all(layer.built for layer in model._flatten_layers())


def test_functional_model():
    x = {k: keras.Input(a.shape[1:], name=k) for k, a in inputs().items()}
    model = keras.Model(x, small()(x))
    assert model.output_shape == (None, NODES, 3)
    assert model.predict(inputs(), verbose=0).shape == (BATCH, NODES, 3)


def test_clear_errors():
    x, model = inputs(), small()
    with pytest.raises(ValueError, match='key "positions".*charges'):
        model({"charges": x["charges"]})
    with pytest.raises(ValueError, match="'positions'.*2 or 3.*6, 4"):
        model({"positions": np.zeros((4, 6, 4))})
    with pytest.raises(ValueError, match="'velocities'.*6, 3.*6, 2"):
        model({**x, "velocities": inputs(2)["velocities"]})
    with pytest.raises(ValueError, match="'mask'.*4, 6.*4, 5"):
        model({**x, "mask": np.ones((4, 5))})
    with pytest.raises(ValueError, match="'charges'.*4, 6.*4, 6\\)"):
        model({**x, "charges": np.ones((4, 6))})
    model(x)
    with pytest.raises(ValueError, match="(?s)Expected.*mass.*Received"):
        model({key: x[key] for key in x if key != "mass"})
    with pytest.raises(ValueError, match="(?s)Expected.*Received.*spin"):
        model({**x, "spin": x["mass"]})


# Pair bias, registers, stochastic depth.


def grown(**kwargs):
    return Transformer(
        num_layers=2,
        hidden_dim=16,
        num_heads=2,
        pair_bias=True,
        edge_products=["charges"],
        num_registers=2,
        **kwargs,
    )


def strong(model, x):
    """With a head and biases large enough to be seen."""
    model(x)
    model.head.kernel.assign(model.head.kernel * 100)
    output = model.bias.output_dense
    output.kernel.assign(output.kernel * 5)
    return model


def test_grown_padding_order_and_translations(tmp_path):
    x = inputs()
    x["edges"] = np.random.default_rng(1).normal(size=(BATCH, NODES, NODES, 1))
    x = {key: value.astype("float32") for key, value in x.items()}
    model = strong(grown(), x)
    y = call(model, x)
    masked = {key: value.copy() for key, value in padded(x).items()}
    masked["velocities"][:, VALID:] = np.nan
    masked["edges"][:, VALID:] = masked["edges"][:, :, VALID:] = np.nan
    few = {**cut(x), "edges": x["edges"][:, :VALID, :VALID]}
    np.testing.assert_allclose(
        call(model, masked)[:, :VALID], call(model, few), rtol=1e-5, atol=1e-4
    )
    order = np.random.default_rng(2).permutation(NODES)
    moved = {key: value[:, order] for key, value in x.items()}
    moved["edges"] = moved["edges"][:, :, order]
    np.testing.assert_allclose(
        call(model, moved), y[:, order], rtol=1e-5, atol=1e-4
    )
    moved = {**x, "positions": x["positions"] + 3.0}
    np.testing.assert_allclose(
        call(model, moved), y + 3.0, rtol=1e-5, atol=1e-4
    )
    # Each of its parts matters.
    for key in ("edges", "charges"):
        other = {**x, key: -x[key]}
        assert np.abs(call(model, other) - y).max() > 1e-3
    model.registers.assign(-model.registers)
    assert np.abs(call(model, x) - y).max() > 1e-3
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(again, x), call(model, x), atol=1e-6)


def test_pair_bias_alone_sees_distances():
    x = inputs()
    x["positions"] = np.zeros_like(x["positions"])
    x["box"] = np.full((BATCH, 3), 100.0, "float32")
    model = strong(Transformer(1, 16, 2, pair_bias=True), x)
    # In a box nothing but the bias sees the positions.
    near = call(model, x) - x["positions"]
    x["positions"][:, 0] = 3.0
    far = call(model, x) - x["positions"]
    assert np.abs(far - near).max() > 1e-3
    x["positions"][:, 0] = 103.0  # the same place in the periodic box
    again = call(model, x) - x["positions"]
    np.testing.assert_allclose(again, far, atol=1e-4)


@pytest.mark.traced
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_stochastic_depth_and_training(policy):
    x = inputs()
    keras.config.set_dtype_policy(policy)
    model = grown(stochastic_depth=0.5)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    y = x["positions"] + 0.5 * x["velocities"]
    history = model.fit(x, y, epochs=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    a, b = (model(x, training=True) for _ in range(2))
    assert np.abs(ops.convert_to_numpy(a - b)).max() > 1e-5
    a, b = (model(x, training=False) for _ in range(2))
    assert np.abs(ops.convert_to_numpy(a - b)).max() == 0.0


def test_errors_of_pairs():
    x = inputs()
    with pytest.raises(ValueError, match="needs `pair_bias=True`"):
        Transformer(edge_products=["charges"])
    with pytest.raises(ValueError, match=r"inputs\['edges'\].*about pairs"):
        small()({**x, "edges": np.zeros((BATCH, NODES, NODES, 1))})
    with pytest.raises(ValueError, match="attends to all nodes"):
        lists = np.zeros((BATCH, NODES, 2), "int32")
        grown()({**x, "neighbors": lists})
    with pytest.raises(ValueError, match="to name invariant features.*mass"):
        Transformer(pair_bias=True, edge_products=["spin"])(x)
