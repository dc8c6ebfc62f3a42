"""Frames make a model equivariant that was not; nothing else changes."""

import keras
import numpy as np
import pytest
from compiled import outputs
from keras import ops

from keras_remul import (
    Canonicalization,
    FrameAveraging,
    RemulModel,
    Symmetry,
    evaluate_equivariance,
    groups,
)
from keras_remul.models import (
    ConservativeForces,
    MessagePassingNetwork,
    Transformer,
)
from keras_remul.representations import Grid

pytestmark = pytest.mark.usefixtures("untraced")

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
    result = evaluate_equivariance(
        lambda x: outputs(model, x), x, sym, num_samples=2
    )
    return result["relative_equivariance_error"]


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


# --- Where signs or axes are not determined ---

SHAPES = {
    "water": [[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]],
    "plane": [[0, 0, 0], [1, 0.2, 0], [2.3, 0.9, 0], [-0.7, 1.9, 0]],
    "mirrored": [[0, 0, 1], [0, 0, -1], [2, 0.3, 0], [-1, 0.8, 0]],
    "inverted": [[1, 2, 4], [-1, -2, -4], [0.3, 3, -1], [-0.3, -3, 1]],
    "CO2": [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]],
    "H2": [[0, 0, 0], [0.74, 0, 0]],
    "CH4": [[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
    "triangle": [[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [-0.5, -(3**0.5) / 2, 0]],
    "atom": [[0, 0, 0]],
}
DETERMINED = ("water", "plane", "mirrored", "inverted")


def shaped(names):
    """Turned and moved molecules, padded, with velocities in all directions."""
    rng, size = np.random.default_rng(0), max(len(SHAPES[n]) for n in names)
    p = [np.pad(SHAPES[n], ((0, size - len(SHAPES[n])), (0, 0))) for n in names]
    turns = ops.convert_to_numpy(groups.SO3().sample(len(p), seed=1))
    p = np.einsum("sij,snj->sni", turns, p) + rng.normal(size=(len(p), 1, 3))
    v = rng.normal(size=p.shape)
    mask = np.arange(size) < np.array([[len(SHAPES[n])] for n in names])
    x = {"positions": p.astype("float32"), "velocities": v.astype("float32")}
    return {**x, "mask": mask}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(
    "group", [groups.SO3(), groups.O3(), groups.SE3(), groups.E3()], ids=repr
)
def test_exact_in_a_plane_and_where_third_moments_vanish(wrapper, group):
    x, sym = shaped(DETERMINED), symmetry(group)
    plain = random_weights(small(), x)
    assert error(plain, sym, x) > 1e-2
    model = wrapper(plain, sym)
    worst = evaluate_equivariance(
        lambda x: outputs(model, x), x, sym, num_samples=2, per_sample=True
    )["relative_equivariance_error"]
    assert worst.max() < 2e-5
    # Each of them comes out as if it were alone.
    one = {key: a[:1] for key, a in x.items()}
    y = outputs(model, x)[:1]
    np.testing.assert_allclose(outputs(model, one), y, atol=1e-4)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("group", [groups.SE2(), groups.E2()], ids=repr)
def test_exact_on_a_line_of_the_plane(wrapper, group):
    x = {
        "positions": np.array([[[0, 0], [1, 2], [3, 6]]] * 2, "float32"),
        "velocities": np.random.default_rng(0).normal(size=(2, 3, 2)),
    }
    sym = symmetry(group)
    model = wrapper(random_weights(small(), x), sym)
    assert model.determined(x).all()
    assert error(model, sym, x) < 2e-5


def test_canonicalization_of_other_inputs_takes_one_pass():
    x = bodies()
    for group in (groups.SO3(), groups.E3()):
        model = Canonicalization(small(), symmetry(group))
        _, weights = model.frames(x)
        weights = ops.convert_to_numpy(ops.stack(weights))
        np.testing.assert_array_equal(weights[0], 1.0)
        np.testing.assert_array_equal(weights[1:], 0.0)
    _, weights = model.frames(shaped(["water"]))  # mirrored twice
    weights = ops.convert_to_numpy(ops.stack(weights))
    np.testing.assert_allclose(np.sort(weights, axis=0)[-4:], 0.25)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_says_where_axes_are_not_determined(wrapper):
    model = wrapper(small(), symmetry(groups.E3()))
    found = model.determined(shaped(list(SHAPES)))
    assert found.tolist() == [name in DETERMINED for name in SHAPES]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_forces_are_finite_wherever_atoms_are(wrapper):
    sym = Symmetry(
        groups.E3(), {"positions": "point", "velocities": "vector"}, "scalar"
    )
    keras.utils.set_random_seed(0)
    model = ConservativeForces(wrapper(small(readout="graph"), sym))
    x = shaped(list(SHAPES))
    model.compile("adam", {"energy": "mse", "forces": "mse"})
    labels = {"energy": np.ones((len(SHAPES), 1)), "forces": x["velocities"]}
    model.fit(x, labels, epochs=2, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    y = outputs(model, x)
    assert np.isfinite(y["energy"]).all() and np.isfinite(y["forces"]).all()
    assert np.abs(y["forces"]).max() > 0
    alone = outputs(
        model,
        {
            "positions": np.zeros((1, 1, 3), "float32"),
            "velocities": np.ones((1, 1, 3), "float32"),
        },
    )
    assert np.isfinite(alone["forces"]).all()


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_forces_are_the_slope_of_the_energy(wrapper):
    x = bodies()
    sym = Symmetry(
        groups.SE3(), {"positions": "point", "velocities": "vector"}, "scalar"
    )
    inner = random_weights(small(readout="graph"), x)
    model = ConservativeForces(wrapper(inner, sym))
    along = np.random.default_rng(1).normal(size=x["positions"].shape)
    step, h = along.astype("float32"), 1e-2

    def energy(t):
        moved = {**x, "positions": x["positions"] + t * step}
        return outputs(model, moved)["energy"][:, 0].astype("float64")

    work = (outputs(model, x)["forces"] * along).sum(axis=(1, 2))
    slope = (energy(h) - energy(-h)) / (2 * h)
    np.testing.assert_allclose(-slope, work, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "group, declared, shape",
    [
        (groups.Cyclic(3), "vector", (4, 2)),
        (groups.Dihedral(5), "vector", (4, 2)),
        (groups.CircularShifts([4]), Grid(), (4, 2)),
        (groups.Permutations(3), "scalar", (3, 2)),
        (
            {"turns": groups.Cyclic(3), "nodes": groups.Permutations(3)},
            "vector",
            (3, 2),
        ),
    ],
    ids=["Cyclic", "Dihedral", "CircularShifts", "Permutations", "Product"],
)
def test_finite_groups_are_averaged_exactly(group, declared, shape):
    sym = Symmetry(group, declared, declared)
    inputs = keras.Input(shape)
    h = keras.layers.Dense(5, "tanh")(keras.layers.Flatten()(inputs))
    h = keras.layers.Dense(shape[0] * shape[1])(h)
    plain = keras.Model(inputs, keras.layers.Reshape(shape)(h))
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    assert error(plain, sym, x) > 1e-2
    model = FrameAveraging(plain, sym, points=None)
    assert error(model, sym, x) < 1e-5
    assert len(model.frames(x)[0]) == sym.group.num_elements
    assert model.determined(x).all()


def test_too_many_elements():
    sym = Symmetry(groups.Permutations(8), "scalar", "scalar")
    with pytest.raises(ValueError, match="40320 elements.*symmetrize"):
        FrameAveraging(small(), sym, points=None)
    with pytest.raises(ValueError, match="all rotations"):
        Canonicalization(small(), sym)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_coordinates_go_through_no_rounded_product(wrapper, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a product at the backend's default precision")

    model = wrapper(small(), symmetry(groups.E3()))
    for name in ("matmul", "einsum", "dot", "tensordot", "det"):
        monkeypatch.setattr(ops, name, refuse)
    model.frames(bodies())


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
