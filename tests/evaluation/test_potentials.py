"""Errors of potentials by hand, rotations, and forces that are no gradient."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from keras_remul import evaluate_potential, evaluate_rotations, models
from keras_remul.evaluation.rotations import POLYHEDRAL, spread_rotations
from keras_remul.evaluation.testing import assert_conservative
from keras_remul.graphs import periodic_graph

pytestmark = pytest.mark.usefixtures("untraced")

ENERGIES = {1: -13.5, 6: -1030.25, 8: -2040.125}


def network(units=1):
    return models.PointEdgeTransformer(
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        num_basis=4,
        cutoff=3.5,
        readout="nodes",
        units=units,
    )


def apart(rng, batch=3, nodes=5):
    """Places of atoms that are not on top of each other."""
    grid = np.indices((2, 2, 2)).reshape(3, -1).T[:nodes] * 1.5
    return grid + rng.normal(size=(batch, nodes, 3)) * 0.2


@pytest.fixture
def x(rng):
    return {
        "positions": apart(rng).astype("float32"),
        "atomic_numbers": rng.choice([1, 6, 8], size=(3, 5, 1)),
        "mask": np.array([[1] * 5, [1] * 5, [1] * 3 + [0] * 2], bool),
    }


@pytest.fixture
def periodic(rng):
    r = apart(rng)
    box = np.eye(3) * 4.0 + rng.normal(size=(3, 3, 3)) * 0.2
    # Lists that stay as they are need some more than the cut-off.
    neighbors, shifts = periodic_graph(r, 3.6, box)
    return {
        "positions": r,
        "atomic_numbers": rng.choice([1, 6, 8], size=(3, 5, 1)),
        "box": box,
        "neighbors": neighbors,
        "shifts": shifts,
    }


def potential(**kwargs):
    return models.Potential(network(), references=ENERGIES, **kwargs)


# --- Errors ---


def test_errors_by_hand(x, rng):
    made = potential()
    y = made.predict(x, verbose=0)
    energies = made.total_energy(x, y)
    count = np.array([[5.0], [5.0], [3.0]])
    error = np.array([[0.001], [-0.002], [0.003]])
    moved = rng.normal(size=y["forces"].shape) * x["mask"][..., None]
    labels = {
        "energy": energies - count * error,
        "forces": y["forces"] - moved + ~x["mask"][..., None],
    }
    found = evaluate_potential(made, x, labels)
    assert found["energy_mae"] == pytest.approx(2.0, rel=1e-6)
    rms = np.sqrt(14.0 / 3.0)
    assert found["energy_rmse"] == pytest.approx(rms, rel=1e-6)
    of_atoms = moved[x["mask"]]
    assert found["forces_mae"] == pytest.approx(
        1000.0 * np.abs(of_atoms).mean(), rel=1e-5
    )
    assert found["forces_rmse"] == pytest.approx(
        1000.0 * np.sqrt(np.mean(of_atoms**2)), rel=1e-5
    )
    assert found["net_force"] < 1e-6
    torques = []
    for r, f, valid in zip(x["positions"], y["forces"], x["mask"], strict=True):
        r, f = r[valid], f[valid]
        torque = np.cross(r - r.mean(axis=0), f)
        size = np.linalg.norm(torque, axis=1).sum()
        torques.append(np.linalg.norm(torque.sum(axis=0)) / size)
    assert found["net_torque"] == pytest.approx(np.mean(torques), rel=1e-4)
    assert found["net_torque"] > 1e-3
    alone = evaluate_potential(made, x, {"energy": energies})
    assert alone["energy_mae"] < 1e-6 and "forces_mae" not in alone


def test_stress_and_box(periodic):
    made = potential(stress=True)
    y = made.predict(periodic, verbose=0)
    labels = {
        "energy": made.total_energy(periodic, y),
        "stress": y["stress"] + 0.002,
    }
    found = evaluate_potential(made, periodic, labels)
    assert found["stress_mae"] == pytest.approx(2.0, rel=1e-3)
    assert found["stress_rmse"] == pytest.approx(2.0, rel=1e-3)
    assert "net_torque" not in found


def test_labels_that_do_not_fit(x):
    made = potential()
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        evaluate_potential(made, x, {"energy": np.zeros((3,))})
    made.gain.assign(np.nan)
    with pytest.raises(ValueError, match="gives NaN or infinity as energy"):
        evaluate_potential(made, x, {"energy": np.full((3, 1), -900.0)})


# --- Rotations ---


@pytest.mark.backend_independent
@pytest.mark.parametrize("count", [3, *POLYHEDRAL])
def test_rotations_are_spread(count):
    turns = spread_rotations(count, seed=0)
    assert turns.shape == (count, 3, 3)
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)
    between = turns[:, None] @ turns[None].swapaxes(2, 3)
    angles = Rotation.from_matrix(between.reshape(-1, 3, 3)).magnitude()
    angles = angles.reshape(count, count)[~np.eye(count, dtype=bool)]
    if count in POLYHEDRAL:
        # No vector is left by the average.
        np.testing.assert_allclose(turns.mean(axis=0), 0.0, atol=1e-12)
        assert angles.min() > {4: 3.1, 6: 2.0, 8: 1.5}.get(count, 1.2)
    assert np.abs(turns - spread_rotations(count, seed=1)).max() > 0.1
    np.testing.assert_array_equal(turns, spread_rotations(count, seed=0))


def test_an_invariant_model_and_another(x):
    exact = models.EGNN(num_layers=1, hidden_dim=4, readout="nodes")
    shapes = {"positions": (3, 5, 3), "elements": (3, 5, 3), "mask": (3, 5)}
    exact.build(shapes)
    exact = models.Potential(exact, elements=[1, 6, 8], references=ENERGIES)
    found = evaluate_rotations(exact, x, num_samples=3)
    assert found["forces_relative"] < 1e-4 and found["energy_spread"] < 1e-2
    assert found["angles"] == [float(a) for a in range(1, 41, 3)]
    assert len(found["walk_energy"]) == len(found["walk_forces"]) == 14
    assert max(found["walk_forces"]) < 1e-4 * 1000.0
    found = evaluate_rotations(potential(), x, num_samples=3)
    assert found["forces_relative"] > 1e-2 and found["energy_spread"] > 0.1
    # Small turns change little.
    assert 0.0 < found["walk_forces"][0] < 0.3 * found["walk_forces"][-1]


def test_rotations_by_hand(periodic):
    """Of a function that knows an axis, with a box that turns too."""
    number = periodic["positions"].shape[1]
    boxes = []

    def f(x):
        height = np.asarray(x["positions"])[..., 2]
        boxes.append(np.asarray(x["box"]))
        forces = np.zeros((*height.shape, 3))
        forces[..., 2] = 1.0
        return {"energy": -height.sum(axis=1, keepdims=True), "forces": forces}

    found = evaluate_rotations(f, periodic, num_samples=400)
    # A unit vector against a random one: the mean square of the gap is 2.
    assert found["forces_relative"] == pytest.approx(2.0**0.5, rel=0.05)
    assert found["forces_error"] == pytest.approx(
        1000.0 * (2.0 / 3.0) ** 0.5, rel=0.05
    )
    gap = 2.0 * np.sin(0.5 * np.deg2rad(40.0))
    assert 0.2 < found["walk_forces"][-1] / (1000.0 * gap / 3**0.5) < 1.01
    size = np.linalg.norm(periodic["positions"].sum(axis=1), axis=1) / number
    expected = 1000.0 * np.sqrt(np.mean(size**2) / 3.0)
    assert found["energy_spread"] == pytest.approx(expected, rel=0.1)
    gram = boxes[-1] @ boxes[-1].swapaxes(1, 2)
    box = periodic["box"]
    np.testing.assert_allclose(gram, box @ box.swapaxes(1, 2), rtol=1e-6)
    with pytest.raises(ValueError, match="lattice vectors"):
        evaluate_rotations(f, {**periodic, "box": np.ones((3, 1, 3))})


# --- Conservative forces ---


def test_gradients_are_conservative(x):
    assert_conservative(potential(), x)


def test_direct_forces_are_not(x):
    direct = models.Potential(network(units=4), forces="direct")
    with pytest.raises(AssertionError, match=r"forces_error = \d.*jacobian_as"):
        assert_conservative(direct, x)


def test_in_float64(periodic, float64):
    assert_conservative(potential(stress=True), periodic)
    assert_conservative(potential(stress=True), periodic, tolerance=1e-5)


def spring(x, scale=1.0, curl=0.0, stress=1.0):
    """E = sum |r|^2 / 2, with forces and stress that may be wrong."""
    r = ops.convert_to_numpy(x["positions"])
    turned = r[..., [1, 0, 2]] * np.array([-1.0, 1.0, 0.0])
    result = {
        "energy": 0.5 * np.sum(r**2, axis=(1, 2))[:, None],
        "forces": -scale * r + curl * turned,
    }
    if "box" in x:
        volume = np.abs(np.linalg.det(x["box"]))[:, None, None]
        result["stress"] = stress * r.swapaxes(1, 2) @ r / volume
    return result


@pytest.mark.backend_independent
def test_each_fault_has_its_figure(rng):
    x = {"positions": rng.normal(size=(4, 6, 3))}
    assert_conservative(spring, x)
    wrong = {
        "forces_error = 0.0909": dict(scale=1.1),
        "jacobian_asymmetry = [12]": dict(curl=1.0),
    }
    for message, fault in wrong.items():
        with pytest.raises(AssertionError, match=message):
            assert_conservative(lambda x, fault=fault: spring(x, **fault), x)
    x["box"] = np.stack([3.0 * np.eye(3)] * 4)
    assert_conservative(spring, x)
    with pytest.raises(AssertionError, match="stress_error = 0.5"):
        assert_conservative(lambda x: spring(x, stress=2.0), x)


@pytest.mark.backend_independent
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_what_proves_nothing(rng, value):
    x = {"positions": rng.normal(size=(4, 6, 3))}

    def nothing(x):
        return keras.tree.map_structure(lambda a: value * a, spring(x))

    with pytest.raises(AssertionError, match="Not conservative.*nan"):
        assert_conservative(nothing, x)


@pytest.mark.backend_independent
def test_a_model_in_float64_where_floatx_is_float32():
    rng = np.random.default_rng(0)
    x = {"positions": 1.5 * rng.normal(size=(2, 4, 3))}
    net = models.PointEdgeTransformer(
        1, 8, 2, cutoff=4.0, readout="nodes", dtype="float64"
    )
    assert_conservative(models.Potential(net), x)
