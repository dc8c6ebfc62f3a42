"""Frames make a model equivariant that was not; nothing else changes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import (
    Canonicalization,
    FrameAveraging,
    RemulModel,
    Symmetry,
    evaluate_equivariance,
    groups,
)
from keras_remul.models import MessagePassingNetwork, Transformer

BATCH, NODES = 6, 5
WRAPPERS = [FrameAveraging, Canonicalization]


def small(**kwargs):
    keras.utils.set_random_seed(0)
    model = MessagePassingNetwork(num_layers=1, hidden_dim=8, **kwargs)
    return model


def bodies(dim=3):
    rng = np.random.default_rng(0)
    stretch = np.arange(1, dim + 1)  # well apart principal moments
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    x = rng.normal(size=(BATCH, NODES, dim)) * stretch
    v = rng.normal(size=(BATCH, NODES, dim))
    return {
        "positions": (x @ turn).astype("float32"),
        "velocities": v.astype("float32"),
    }


def symmetry(group, outputs="point"):
    return Symmetry(
        group, {"positions": "point", "velocities": "vector"}, outputs
    )


def error(model, sym, x):
    result = evaluate_equivariance(model, x, sym, samples=4)
    return result["relative_error"]


def call(model, x):
    return model.predict(x, batch_size=BATCH, verbose=0)


def random_weights(model, x):
    model.build({key: a.shape for key, a in x.items()})
    rng = np.random.default_rng(0)
    model.set_weights(
        [0.5 * rng.normal(size=w.shape) for w in model.get_weights()]
    )
    return model


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(
    "group, dim",
    [
        (groups.SO3(), 3),
        (groups.O3(), 3),
        (groups.E3(), 3),
        (groups.SE2(), 2),
    ],
    ids=["SO3", "O3", "E3", "SE2"],
)
def test_equivariant_where_the_model_is_not(wrapper, group, dim):
    x, sym = bodies(dim), symmetry(group)
    plain = random_weights(small(), x)
    assert error(plain, sym, x) > 1e-2
    assert error(wrapper(plain, sym), sym, x) < 1e-5


def test_rotations_alone_leave_handedness():
    x = bodies()
    plain = random_weights(small(), x)
    model = FrameAveraging(plain, symmetry(groups.SO3()))
    assert error(model, symmetry(groups.O3()), x) > 1e-3
    frames = model.frames(x)[0]
    assert len(frames) == 4
    numbers = np.stack([ops.convert_to_numpy(g) for g in frames])
    np.testing.assert_allclose(np.linalg.det(numbers), 1.0, atol=1e-5)
    eye = np.broadcast_to(np.eye(3), numbers.shape)
    square = numbers @ np.swapaxes(numbers, -1, -2)
    np.testing.assert_allclose(square, eye, atol=1e-5)
    assert len(FrameAveraging(plain, symmetry(groups.E3())).frames(x)[0]) == 8


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_invariant_output_and_padding(wrapper):
    x = bodies()
    sym = symmetry(groups.SE3(), "scalar")
    model = wrapper(random_weights(small(readout="graph"), x), sym)
    y = call(model, x)
    assert y.shape == (BATCH, 1)
    assert np.std(y) > 1e-3
    assert error(model, sym, x) < 1e-5
    extra = {
        key: np.concatenate([a, np.full_like(a[:, :2], 1e3)], axis=1)
        for key, a in x.items()
    }
    extra["mask"] = np.arange(NODES + 2) < np.full((BATCH, 1), NODES)
    np.testing.assert_allclose(call(model, extra), y, rtol=1e-4)


def test_positions_that_are_the_only_input():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((NODES, 3))
    plain = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    sym = Symmetry(groups.E3(), "point", "point")
    x = bodies()["positions"]
    assert error(plain, sym, x) > 1e-2
    assert error(FrameAveraging(plain, sym, points=None), sym, x) < 1e-5


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_fit_save_and_load(wrapper, tmp_path):
    x, sym = bodies(), symmetry(groups.E3())
    x["mask"] = np.arange(NODES) < np.array([[5], [5], [4], [4], [5], [5]])
    inner = Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model = wrapper(inner, sym)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    y = x["positions"] + 0.3 * x["velocities"]
    kwargs = {"batch_size": BATCH, "verbose": 0}
    losses = model.fit(x, y, epochs=4, **kwargs).history["loss"]
    assert losses[-1] < losses[0]
    moved = np.where(x["mask"][..., None], y, y + 100.0)
    np.testing.assert_allclose(
        model.evaluate(x, moved, **kwargs), model.evaluate(x, y, **kwargs)
    )  # padding is no part of the loss
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(loaded, x), call(model, x), atol=1e-6)


def test_remul_finds_nothing_to_do():
    x, sym = bodies(), symmetry(groups.SO3())
    remul = RemulModel(FrameAveraging(small(), sym), sym, seed=0)
    remul.compile(keras.optimizers.Adam(1e-3), "mse")
    history = remul.fit(x, x["positions"], verbose=0).history
    assert history["equivariance_error"][0] < 1e-4


def test_clear_errors():
    with pytest.raises(ValueError, match="keras.Model.*None"):
        FrameAveraging(None, symmetry(groups.E3()))
    with pytest.raises(ValueError, match="all rotations.*SO2"):
        FrameAveraging(small(), symmetry(groups.SO2(axis="y")))
