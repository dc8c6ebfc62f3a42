"""Message passing and EGNN: reference, symmetry, padding, lists, training."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import RemulModel, Symmetry, evaluate_equivariance, groups
from keras_remul.graphs import knn_graph, radius_graph
from keras_remul.models import EGNN, MessagePassingNetwork, Transformer

pytestmark = pytest.mark.usefixtures("untraced")

BATCH, NODES, VALID = 4, 6, 4
GRAPHS = [MessagePassingNetwork, EGNN]
ALL = [*GRAPHS, Transformer]


def small(cls, **kwargs):
    keras.utils.set_random_seed(0)
    return cls(**{"num_layers": 1, "hidden_dim": 8, **kwargs})


def inputs(seed=0, **widths):
    rng = np.random.default_rng(seed)
    widths = {"positions": 3, "velocities": 3, "charges": 1, **widths}
    return {
        key: rng.normal(size=(BATCH, NODES, width)).astype("float32")
        for key, width in widths.items()
    }


def everything(seed=0):
    """Inputs with features of pairs, and a mask."""
    x = inputs(seed)
    rng = np.random.default_rng(seed + 1)
    x["edges"] = rng.normal(size=(BATCH, NODES, NODES, 2)).astype("float32")
    x["mask"] = np.arange(NODES) < np.full((BATCH, 1), VALID)
    return x


def call(model, x):
    """f(x), compiled in one piece."""
    return model.predict(x, batch_size=BATCH, verbose=0)


def symmetry(group=None, **others):
    return Symmetry(
        group or groups.E3(),
        inputs={
            "positions": "point",
            "velocities": "vector",
            "charges": "scalar",
            **others,
        },
        outputs="point",
    )


def relative_equivariance_error(model, x=None):
    x = x or inputs()
    return evaluate_equivariance(model, x, symmetry(), num_samples=4)[
        "relative_equivariance_error"
    ]


def amplify(model):
    """Weights for which each branch matters, unlike at the start."""
    rng = np.random.default_rng(0)

    def draw(w):
        fan_in = w.shape[0] if w.ndim == 2 else 1
        return rng.normal(size=w.shape) / np.sqrt(fan_in)

    model.set_weights([draw(w) for w in model.get_weights()])


# --- Against NumPy ---


def silu(x):
    return x / (1 + np.exp(-x))


def reference_egnn(w, x, v, q, num_layers):
    """One sample, node by node, after the equations of the paper.

    Args:
        w: dictionary of weights by path without the model's name.
        x, v, q: `(N, 3)`, `(N, 3)`, `(N, 1)`.
    """

    def dense(name, a):
        bias = w.get(f"{name}/bias", 0.0)
        return a @ w[f"{name}/kernel"] + bias

    n = len(x)
    start = x
    speed = np.linalg.norm(v, axis=-1, keepdims=True)
    h = dense("embedding", np.concatenate([speed, q], axis=-1))
    for k in range(num_layers):
        p = f"layer_{k}"
        message = f"{p}/messages"
        kernel = np.concatenate(
            [
                w[f"{message}/{part}/kernel"]
                for part in ("receiver", "sender", "pair")
            ]
        )
        bias = w[f"{message}/receiver/bias"]
        new_x, new_h = np.zeros_like(x), np.zeros_like(h)
        for i in range(n):
            total, shift = 0.0, 0.0
            for j in range(n):
                if i == j:
                    continue
                pair = [
                    np.sum((x[i] - x[j]) ** 2),
                    np.sum((start[i] - start[j]) ** 2),
                    q[i, 0] * q[j, 0],
                ]
                m = np.concatenate([h[i], h[j], pair]) @ kernel + bias
                m = silu(dense(f"{message}/message", silu(m)))
                phi = dense(f"{p}/shift_out", silu(dense(f"{p}/shift_in", m)))
                shift = shift + (x[i] - x[j]) * phi / (n - 1)
                total = total + m
            phi = dense(f"{p}/speed_out", silu(dense(f"{p}/speed_in", h[i])))
            new_x[i] = x[i] + shift + phi * v[i]
            if k < num_layers - 1:
                update = np.concatenate([h[i], total])
                update = silu(dense(f"{message}/update_in", update))
                new_h[i] = h[i] + dense(f"{message}/update_out", update)
        x, h = new_x, new_h
    return x


def test_egnn_is_that_of_the_paper():
    x, model = inputs(), small(EGNN, num_layers=2, edge_products=["charges"])
    model.build({key: a.shape for key, a in x.items()})
    amplify(model)
    w = {
        v.path.split("/", 1)[1]: np.asarray(
            ops.convert_to_numpy(v), dtype="float64"
        )
        for v in model.weights
    }
    expected = np.stack(
        [
            reference_egnn(w, *sample, num_layers=2)
            for sample in zip(*(x[k].astype("float64") for k in x), strict=True)
        ]
    )
    assert np.abs(expected - x["positions"]).max() > 0.1
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        call(model, x) / scale, expected / scale, 0, 1e-5
    )


# --- Symmetry ---


@pytest.mark.parametrize("cls", ALL)
def test_only_egnn_is_equivariant(cls):
    x, model = inputs(), small(cls)
    model.build({key: a.shape for key, a in x.items()})
    amplify(model)
    error = relative_equivariance_error(model)
    assert error < 1e-5 if cls is EGNN else error > 1e-2


@pytest.mark.traced
def test_egnn_after_training():
    x, model = inputs(), small(EGNN)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    start = call(model, x)
    steps = {key: np.tile(a, (100, 1, 1)) for key, a in x.items()}
    y = steps["positions"] + 0.7 * steps["velocities"] + 1.0
    model.fit(steps, y, batch_size=BATCH, verbose=0)
    assert np.abs(call(model, x) - start).max() > 0.1
    assert relative_equivariance_error(model) < 1e-5


def test_egnn_with_a_cutoff_in_any_unit():
    """A list gives what all pairs give, and what is beyond does not count."""
    x = inputs()
    del x["velocities"]
    cutoff, found = 2.0, []
    for unit in (1.0, 3.0):
        model = small(EGNN, num_layers=2, cutoff=cutoff, length_unit=unit)
        model.build({key: a.shape for key, a in x.items()})
        amplify(model)
        for radius in (cutoff, 2.0 * cutoff):
            near = radius_graph(x["positions"], radius, NODES)
            found.append(call(model, {**x, "neighbors": near}))
        found.append(call(model, x))
    scale = np.abs(found[0] - x["positions"]).max()
    assert scale > 0.1
    for y in found[1:]:
        np.testing.assert_allclose(y, found[0], rtol=0, atol=1e-5 * scale)
    # An atom that crosses the cut-off changes nothing at once.
    pair = {"positions": np.zeros((BATCH, 2, 3), "float32")}
    pair["positions"][:, 1, 0] = cutoff + np.array([-0.9, -1e-3, 1e-3, 0.9])
    model = small(EGNN, cutoff=cutoff, readout="graph")
    inside, at, beyond, far = call(model, pair)[:, 0]
    assert abs(at - beyond) < 1e-6 < abs(inside - beyond)
    assert far == beyond


def test_egnn_in_float64(float64):
    rng = np.random.default_rng(0)
    x = {k: rng.normal(size=(4, 5, 3)) for k in ("positions", "velocities")}
    roles = {"positions": "point", "velocities": "vector"}
    sym = Symmetry(groups.E3(), roles, "point")
    model = EGNN(num_layers=1, hidden_dim=4)
    result = evaluate_equivariance(model, x, sym, num_samples=2)
    assert 0 < result["relative_equivariance_error"] < 1e-10


def test_egnn_with_vectors_among_the_scalars_is_caught():
    x = inputs()
    x["charges"] = x["velocities"]  # three "scalars" that do turn
    model = small(EGNN)
    model.build({key: a.shape for key, a in x.items()})
    amplify(model)
    sym = symmetry(charges="vector")
    error = evaluate_equivariance(model, x, sym, num_samples=4)[
        "relative_equivariance_error"
    ]
    assert error > 1e-2


@pytest.mark.parametrize("cls", GRAPHS)
def test_permutation(cls):
    x, model = inputs(), small(cls)
    order = np.random.default_rng(0).permutation(NODES)
    y = call(model, x)
    permuted = call(model, {key: a[:, order] for key, a in x.items()})
    scale = np.abs(y).max()
    np.testing.assert_allclose(permuted / scale, y[:, order] / scale, 0, 1e-6)
    assert np.abs(y - y[:, order]).max() > 0.1


# --- Padding and lists ---


@pytest.mark.parametrize(
    "cls, readout",
    [
        (MessagePassingNetwork, "positions"),
        (EGNN, "positions"),
        (EGNN, "graph"),
    ],
)
def test_padding_changes_nothing(cls, readout):
    x, model = everything(), small(cls, readout=readout)
    cut = {k: a[:, :VALID] for k, a in x.items() if k != "mask"}
    cut["edges"] = cut["edges"][:, :, :VALID]
    expected = call(model, cut)
    x["positions"][~x["mask"]] = np.nan
    x["velocities"][~x["mask"]] = 1e6
    x["charges"][~x["mask"]] = np.inf
    x["edges"][~x["mask"]] = np.nan
    x["edges"][:, :, VALID:] = 1e6
    y = call(model, x)
    assert np.isfinite(y).all()
    if readout == "positions":
        y = y[:, :VALID]
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("cls", GRAPHS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_list_of_all_others_is_the_dense_form(cls, masked):
    products = {"edge_products": ["charges"]} if cls is EGNN else {}
    x, model = everything(), small(cls, **products)
    if not masked:
        del x["mask"]
    expected = call(model, x)
    neighbors = ops.convert_to_numpy(
        knn_graph(x["positions"], NODES, x.get("mask"))
    )
    assert neighbors.min() == -1
    edges = np.take_along_axis(
        x["edges"], np.maximum(neighbors, 0)[..., None], axis=2
    )
    listed = {**x, "neighbors": neighbors, "edges": edges}
    y = call(model, listed)
    valid = x.get("mask", np.ones((BATCH, NODES), bool))
    np.testing.assert_allclose(y[valid], expected[valid], atol=1e-5)
    listed["neighbors"] = np.where(neighbors == 0, -1, neighbors)
    gap = call(model, listed) - expected  # node 0 is heard by nobody
    assert np.abs(gap[valid]).max() > 1e-5


def test_wide_box_is_free_space():
    x, model = inputs(), small(EGNN)
    box = np.full((BATCH, 3), 50.0, "float32")
    expected = call(model, x)
    np.testing.assert_allclose(call(model, {**x, "box": box}), expected, 1e-5)


def test_energy_in_a_periodic_box():
    model = small(EGNN, readout="graph")
    x = {
        "positions": inputs()["positions"],
        "box": np.full((BATCH, 3), 4.0, "float32"),
    }
    y = call(model, x)
    moved = {**x, "positions": x["positions"].copy()}
    moved["positions"][:, 0] += [4.0, 0.0, -8.0]
    np.testing.assert_allclose(call(model, moved), y, atol=1e-4)
    del moved["box"]
    assert np.abs(call(model, moved) - y).max() > 1e-2


# --- Training, saving, precision ---


@pytest.mark.parametrize("cls", GRAPHS)
def test_save_and_load(cls, tmp_path):
    x, model = everything(), small(cls)
    y = call(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [v.path for v in loaded.weights] == [v.path for v in model.weights]
    np.testing.assert_allclose(call(loaded, x), y, atol=1e-6)


@pytest.mark.traced
@pytest.mark.parametrize(
    "cls, dtype",
    [(MessagePassingNetwork, "mixed_float16"), (EGNN, "mixed_bfloat16")],
)
def test_fit_in_mixed_precision(cls, dtype):
    x, model = everything(), small(cls, dtype=dtype)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    y = x["positions"] + 0.5 * x["velocities"]
    kwargs = {"batch_size": BATCH, "verbose": 0}
    history = model.fit(x, y, epochs=4, **kwargs).history["loss"]
    assert history[-1] < history[0]
    assert all(v.dtype == "float32" for v in model.weights)


@pytest.mark.traced
@pytest.mark.parametrize("cls", GRAPHS)
def test_remul_model_trains_it(cls):
    x = everything()
    x["neighbors"] = np.tile(np.arange(NODES, dtype="int32"), (BATCH, NODES, 1))
    sym = symmetry(groups.SO3(), edges="scalar", neighbors="scalar")
    remul = RemulModel(small(cls), sym, seed=0)
    remul.compile(keras.optimizers.Adam(1e-3), "mse")
    y = x["positions"] + 0.5 * x["velocities"]
    logs = remul.fit(x, y, batch_size=BATCH, verbose=0).history
    assert np.isfinite(logs["loss"][0])
    error = logs["equivariance_error"][0]
    assert error < 1e-4 if cls is EGNN else error > 1e-3


@pytest.mark.parametrize("cls", GRAPHS)
def test_every_weight_learns_and_every_layer_is_built(cls):
    x, model = everything(), small(cls)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(x, x["positions"] + 1.0)
    assert all(layer.built for layer in model._flatten_layers())
    before = model.get_weights()
    model.train_on_batch(x, x["positions"] + 1.0)
    for v, old in zip(model.weights, before, strict=True):
        assert np.abs(ops.convert_to_numpy(v) - old).max() > 0, v.path


@pytest.mark.traced
@pytest.mark.parametrize("cls", GRAPHS)
def test_list_made_inside_a_model(cls):
    model = small(cls)
    positions = keras.Input((NODES, 3))
    neighbors = knn_graph(positions, 3)
    y = model({"positions": positions, "neighbors": neighbors})
    whole = keras.Model(positions, y)
    x = inputs()["positions"]
    lists = ops.convert_to_numpy(knn_graph(x, 3))
    expected = call(model, {"positions": x, "neighbors": lists})
    np.testing.assert_allclose(
        whole.predict(x, batch_size=BATCH, verbose=0), expected, atol=1e-5
    )
    # Sizes may change from call to call.
    fewer = {"positions": x[:, :4], "neighbors": lists[:, :4] % 4}
    assert call(model, fewer).shape == (BATCH, 4, 3)


# --- Readouts ---


@pytest.mark.parametrize("cls", ALL)
def test_readouts(cls):
    x = inputs()
    mask = np.arange(NODES) < np.full((BATCH, 1), VALID)
    x["mask"] = mask
    nodes = small(cls, readout="nodes", units=2)
    graph = small(cls, readout="graph", units=2)
    y = call(nodes, x)
    assert y.shape == (BATCH, NODES, 2)
    assert np.abs(y).max() > 1e-3
    graph.build({key: a.shape for key, a in x.items()})
    graph.set_weights(nodes.get_weights())
    total = y[:, :VALID].sum(axis=1)
    np.testing.assert_allclose(call(graph, x), total, rtol=1e-4)
    with pytest.raises(ValueError, match="readout.*energy"):
        small(cls, readout="energy")


def test_clear_errors():
    x = everything()
    with pytest.raises(ValueError, match="'edges'.*about pairs"):
        small(Transformer)(x)
    with pytest.raises(ValueError, match="invariant.*charges.*velocities"):
        small(EGNN, edge_products=["velocities"])(x)
    with pytest.raises(ValueError, match="'edges'.*4, 6, 6.*4, 6, 5, 2"):
        small(EGNN)({**x, "edges": x["edges"][:, :, 1:]})
    model = small(EGNN)
    model.build({key: a.shape for key, a in x.items()})
    with pytest.raises(ValueError, match="built with 2 features"):
        model({key: x[key] for key in x if key != "edges"})


def test_egnn_starts_without_overflow():
    """Wide systems: positions must not grow from layer to layer."""
    x = inputs()
    x["positions"] = 5 * x["positions"]
    y = call(small(EGNN, num_layers=4, hidden_dim=64), x)
    assert np.abs(y - x["positions"]).max() < 20


# --- Several times at once ---


@pytest.mark.traced
@pytest.mark.parametrize("cls", [MessagePassingNetwork, Transformer])
def test_positions_at_several_times(cls):
    x = {key: a for key, a in everything().items() if key != "edges"}
    model = small(cls, num_times=3)
    y = call(model, x)
    assert y.shape == (BATCH, NODES, 3, 3)
    assert model.compute_output_spec(
        {"positions": keras.KerasTensor((2, 5, 3))}
    ).shape == (2, 5, 3, 3)
    # Nodes may be permuted, padding may hold anything.
    order = np.array([2, 0, 3, 1, 4, 5])
    moved = {k: a[:, order] for k, a in x.items() if k != "mask"}
    moved["positions"][:, VALID:] = 1e6
    again = call(model, {**moved, "mask": x["mask"]})
    np.testing.assert_allclose(
        again[:, :VALID], y[:, order][:, :VALID], atol=1e-5
    )
    # Each time has a velocity scale and a step of its own.
    assert model.velocity_scale.shape == (3, 1)
    model.velocity_scale.assign([[1.0], [2.0], [3.0]])
    change = (call(model, x) - y)[:, :VALID]
    for t in range(3):
        v = x["velocities"][:, :VALID]
        np.testing.assert_allclose(change[:, :, t], t * v, atol=1e-5)
    if cls is not Transformer:
        return
    # A masked loss under REMUL.
    target = np.repeat(x["positions"][:, :, None], 3, axis=2)
    target[:, VALID:] = np.inf
    target = np.where(np.isinf(target), 1e3, target).astype("float32")
    remul = RemulModel(model, symmetry(), seed=0)
    remul.compile("adam", loss="mse")
    logs = remul.fit(x, target, batch_size=BATCH, verbose=0).history
    assert logs["objective_loss"][0] < 100
    assert logs["equivariance_error"][0] > 0
    assert cls.from_config(model.get_config()).num_times == 3
    with pytest.raises(ValueError, match="`num_times` needs"):
        call(small(cls, num_times=3, readout="nodes"), x)


@pytest.mark.traced
@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="XLA counts the operations"
)
def test_lists_make_the_work_linear_in_the_number_of_nodes():
    import jax

    model = small(MessagePassingNetwork)
    call(model, inputs())
    state = [
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
        )
    ]

    def work(nodes, lists):
        x = {
            key: np.zeros((1, nodes, width), "float32")
            for key, width in model.node_shapes.items()
        }
        if lists:
            x["neighbors"] = np.zeros((1, nodes, 4), "int32")
        f = jax.jit(lambda x: model.stateless_call(*state, x)[0])
        return f.lower(x).compile().cost_analysis()["flops"]

    assert 1.9 < work(64, True) / work(32, True) < 2.1
    assert work(64, False) / work(32, False) > 3
