"""Models of motion, applied to their own predictions."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_remul as kr
from keras_remul.utils.leaves import to_numpy

pytestmark = pytest.mark.usefixtures("untraced")

STEP = kr.TimeStep(1.5)
CHAIN = [[0, 1], [1, 2], [1, 3]]


def drift(x, time=1.5):
    return x["positions"] + time * x["velocities"]


@pytest.fixture(scope="module")
def model():
    """A model of bodies; its first call is with twelve of them."""
    return kr.models.EGNN(num_layers=1, hidden_dim=4, time_unit=1.5)


@pytest.mark.parametrize("rule", ["mean", "moved"])
def test_uniform_motion(bodies, rule):
    x, _ = bodies
    path = kr.rollout(drift, x, 3, kr.TimeStep(1.5, rule))
    assert path.shape == (12, 3, 5, 3) and path.dtype == "float32"
    for k in range(3):
        expected = x["positions"] + 1.5 * (k + 1) * x["velocities"]
        np.testing.assert_allclose(path[:, k], expected, atol=1e-4)


@pytest.mark.backend_independent
@pytest.mark.parametrize("interval", [0.0, 1.0])
def test_velocities_of_smooth_motion(rng, interval):
    """Those of the model are far closer than the mean."""
    angles = rng.uniform(0, 6, size=(20, 3))

    def positions(t):
        turned = angles + 0.1 * t
        return np.stack([np.cos(turned), np.sin(turned)], axis=-1)

    d = interval or 1e-4
    x = {
        "positions": positions(0.0),
        "velocities": (positions(d) - positions(0.0)) / d,
    }
    # From x and a difference: x(t) = p x(0) + q x(d).
    q = np.sin(0.9) / np.sin(0.1 * d)
    p = np.cos(0.9) - q * np.cos(0.1 * d)

    def law(x):
        later = x["positions"] + d * x["velocities"]
        return p * x["positions"] + q * later

    errors = {
        rule: np.mean(
            (
                kr.rollout(law, x, 4, kr.TimeStep(9.0, rule, interval))[:, -1]
                - positions(36.0)
            )
            ** 2
        )
        for rule in ("mean", "moved")
    }
    assert errors["moved"] < 0.2 * errors["mean"], errors


def test_a_model_and_its_symmetry(bodies, model):
    """The rollout of rotated bodies is the rotated one; EGNN is exact."""
    x, _ = bodies
    symmetry = kr.datasets.symmetry("nbody_charged")
    g = symmetry.sample(12, seed=0)
    moved = to_numpy(symmetry.transform_inputs(g, x))
    step = kr.TimeStep(1.5, "moved")
    roll = functools.partial(kr.rollout, model, steps=2, time_step=step)
    path, of_moved = roll(x), roll(moved)
    expected = np.einsum("bij,btnj->btni", ops.convert_to_numpy(g), path)
    np.testing.assert_allclose(of_moved, expected, atol=1e-4)
    first = model.predict(x, verbose=0)
    np.testing.assert_allclose(path[:, 0], first, atol=1e-5)
    remul = kr.RemulModel(model, symmetry)
    np.testing.assert_allclose(kr.rollout(remul, x, 2, step), path, atol=1e-6)


def test_bones_keep_their_lengths(bodies, model):
    x, _ = bodies
    path = kr.rollout(model, x, 2, STEP, bones=CHAIN)
    free = kr.rollout(model, x, 1, STEP)[:, 0]
    pairs = np.array(CHAIN)

    def lengths(positions):
        away = positions[..., pairs[:, 0], :] - positions[..., pairs[:, 1], :]
        return np.linalg.norm(away, axis=-1)

    expected = lengths(x["positions"])
    for k in range(2):
        np.testing.assert_allclose(lengths(path[:, k]), expected, rtol=1e-4)
    assert abs(lengths(free) / expected - 1).max() > 0.1
    # The tree keeps its center; the node without bones is left alone.
    np.testing.assert_allclose(
        path[:, 0, :4].mean(axis=1), free[:, :4].mean(axis=1), atol=1e-5
    )
    np.testing.assert_allclose(path[:, 0, 4], free[:, 4], atol=1e-5)


@pytest.mark.backend_independent
def test_models_that_return_velocities_and_those_that_read_none(bodies):
    x, _ = bodies

    def both(x):
        return {"positions": drift(x, 1.0), "velocities": 2 * x["velocities"]}

    path = kr.rollout(both, x, 2)
    np.testing.assert_allclose(path[:, 1], drift(x, 3.0), rtol=1e-5, atol=1e-6)
    path = kr.rollout(
        lambda x: x["positions"] + 1.0, {"positions": x["positions"]}, 3
    )
    np.testing.assert_allclose(path[:, 2], x["positions"] + 3.0, rtol=1e-5)


def test_wide_states_of_a_narrow_model(bodies, model):
    x, _ = bodies
    wide = {key: value.astype("float64") for key, value in x.items()}
    step = kr.TimeStep(1.5, "moved")
    path = kr.rollout(model, wide, 2, step, bones=CHAIN)
    expected = kr.rollout(model, x, 2, step, bones=CHAIN)
    np.testing.assert_allclose(path, expected, atol=1e-4)


@pytest.mark.backend_independent
def test_padded_nodes_stay(bodies):
    x, _ = bodies
    mask = np.ones((12, 5), "float32")
    mask[3, 4] = 0.0
    path = kr.rollout(drift, {**x, "mask": mask}, 2, STEP)
    np.testing.assert_array_equal(path[3, 1, 4], x["positions"][3, 4])
    assert (path[2, 1, 4] != x["positions"][2, 4]).all()


@pytest.mark.backend_independent
def test_ridge_regression_and_the_step_of_a_data_set(tmp_path):
    symmetry = kr.datasets.symmetry("nbody_gravity")
    x, y = kr.datasets.load("nbody_gravity/tiny", data_dir=tmp_path, verbose=0)
    step = kr.datasets.time_step("nbody_gravity/tiny")
    assert step == kr.TimeStep(0.1)
    linear = kr.ridge.make(symmetry, time_unit=0.1)
    kr.ridge.fit(linear, (x, y), (x, y))
    assert kr.rollout(linear, x, 2, step).shape == (len(y), 2, *y.shape[1:])
    walker = kr.datasets.time_step("cmu_mocap/walk_35")
    assert walker == kr.TimeStep(30.0, "moved", 1.0)
    for name in ("top_jets", "dft_acac"):
        with pytest.raises(ValueError, match="data set of moving nodes"):
            kr.datasets.time_step(name)


def with_nan(x):
    x["positions"][2, 0, 0] = np.nan


def with_list(x):
    x["neighbors"] = np.zeros((12, 5, 2), "int32")


def with_mask(x):
    x["mask"] = np.ones((12, 5))


def with_other_velocities(x):
    x["velocities"] = x["velocities"][:, :4]


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "change, arguments, message",
    [
        (None, {"time_step": None}, "Pass time_step="),
        (None, {"time_step": 30.0}, "as a TimeStep"),
        (None, {"steps": 0}, "`steps`"),
        (None, {"bones": [[0, 1], [1, 2], [2, 0]]}, "1 close a ring"),
        (None, {"bones": [[0, 0]]}, "close a ring"),
        (None, {"bones": [[0, 5]]}, "from 0 to 4"),
        (None, {"bones": [[0.0, 1.0]]}, "pairs of nodes"),
        (None, {"model": lambda x: x["charges"]}, "returns positions"),
        (None, {"model": lambda x: {"energy": 1.0}}, "returns positions"),
        (None, {"model": lambda x: 1e38 * drift(x)}, "diverges.*step"),
        (with_nan, {}, "holds 1 values"),
        (with_list, {}, "change as nodes move"),
        (with_mask, {"bones": CHAIN}, "not supported"),
        (with_other_velocities, {}, "of one shape"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_is_refused(bodies, change, arguments, message):
    x = {key: value.copy() for key, value in bodies[0].items()}
    if change is not None:
        change(x)
    call = {"model": drift, "x": x, "steps": 2, "time_step": STEP}
    with pytest.raises(ValueError, match=message):
        kr.rollout(**{**call, **arguments})


@pytest.mark.backend_independent
def test_bones_without_length_are_refused(bodies):
    x = {key: np.zeros_like(value) for key, value in bodies[0].items()}
    with pytest.raises(ValueError, match="length above 0.*bone .0, 1."):
        kr.rollout(drift, x, 1, STEP, bones=CHAIN)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "arguments",
    [
        (0.0,),
        (float("nan"),),
        ("1",),
        (1.0, "last"),
        (1.0, "moved", 0.6),
        (1.0, "moved", -0.1),
    ],
)
def test_faulty_time_steps_are_refused(arguments):
    with pytest.raises(ValueError, match="Expected a horizon|must be one of"):
        kr.TimeStep(*arguments)


def test_scalars_are_no_positions(bodies):
    model = kr.models.EGNN(readout="graph", num_layers=1, hidden_dim=4)
    assert isinstance(model, keras.Model)
    with pytest.raises(ValueError, match="returns positions"):
        kr.rollout(model, bodies[0], 1, STEP)
