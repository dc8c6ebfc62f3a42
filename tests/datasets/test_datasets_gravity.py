"""nbody_gravity: simulator, splits, configuration names."""

import numpy as np
import pytest

from keras_remul import cli, datasets
from keras_remul.datasets.nbody_gravity import simulator
from keras_remul.datasets.nbody_gravity.simulator import (
    initial_states,
    random_rotations,
    sample,
    simulate,
)

pytestmark = pytest.mark.backend_independent


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


def load(split, data_dir, config="tiny"):
    return datasets.load(
        f"nbody_gravity/{config}", split, data_dir=data_dir, verbose=0
    )


def angles(rotations):
    trace = np.trace(rotations, axis1=1, axis2=2)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def tilt(x, masses):
    """Angle between the plane of the bodies and the xy plane, in degrees."""
    star = np.argmax(masses[..., 0], axis=1)
    x = x - x[np.arange(len(x)), star][:, None]
    normal = np.linalg.svd(x.astype("float64"))[2][:, 2]
    return np.degrees(np.arccos(np.clip(np.abs(normal[:, 2]), 0, 1)))


# Rotations.


@pytest.mark.parametrize("limits", [(0, 10), (90, 180)])
def test_angles_lie_between_their_bounds(limits):
    rotations = random_rotations(np.random.default_rng(0), 4000, limits)
    found = angles(rotations)
    assert limits[0] - 1e-5 <= found.min() < limits[0] + 0.2
    assert limits[1] - 0.2 < found.max() <= limits[1] + 1e-5
    assert abs(found.mean() - np.mean(limits)) < 0.02 * np.ptp(limits)
    axis = (
        rotations[:, [2, 0, 1], [1, 2, 0]] - rotations[:, [1, 2, 0], [2, 0, 1]]
    )
    assert (
        np.abs((axis / np.linalg.norm(axis, axis=1)[:, None]).mean(0)).max()
        < 0.05
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1, rtol=1e-12)


def test_haar_rotations():
    r = random_rotations(np.random.default_rng(0), 20000)
    np.testing.assert_allclose(
        r @ np.swapaxes(r, 1, 2),
        np.broadcast_to(np.eye(3), r.shape),
        atol=1e-12,
    )
    assert np.abs(r.mean(0)).max() < 0.02
    # Density (1 - cos t) / pi: the mean angle is 90 + 360 / pi^2 degrees.
    assert abs(angles(r).mean() - (90 + 360 / np.pi**2)) < 1


# Simulator.


def test_initial_states_follow_the_protocol():
    masses, x, v = initial_states(np.random.default_rng(0), 2000)
    star = np.argmax(masses, axis=1)
    assert np.bincount(star).min() > 430  # permuted
    rows = np.arange(2000)
    order = np.sort(masses, axis=1)
    assert 1 <= order[:, 3].min() and order[:, 3].max() <= 10
    assert 0.01 <= order[:, 0].min() and order[:, 2].max() <= 0.1
    assert abs(np.log(order[:, 3]).mean() - np.log(10) / 2) < 0.05
    assert (v[rows, star] == 0).all()
    distance = np.linalg.norm(x - x[rows, star][:, None], axis=-1)
    planets = distance > 0
    assert planets.sum() == 6000
    r = distance[planets]
    assert 0.1 <= r.min() and r.max() <= 1
    assert abs((r**2).mean() - (1 + 0.01) / 2) < 0.01  # uniform by area
    circular = np.sqrt(order[:, 3:] / np.where(planets, distance, np.inf))
    speed = np.linalg.norm(v, axis=-1)
    assert np.abs((speed - circular)[planets]).max() < 0.06
    shift = x[rows, star]
    assert abs(shift.std() - 20) < 0.5 and abs(shift.mean()) < 1


def plain_step(masses, x, v):
    """The formula, body by body, of one system."""
    a = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            if i != j:
                d = x[j] - x[i]
                a[i] += masses[j] * d / np.linalg.norm(d) ** 3
    v = v + 0.001 * a
    return x + 0.001 * v, v


def test_steps_equal_the_formula():
    masses, x, v = initial_states(np.random.default_rng(0), 5)
    y, w = simulate(masses, x, v, steps=3)
    for s in range(5):
        state = x[s], v[s]
        for _ in range(3):
            state = plain_step(masses[s], *state)
        np.testing.assert_allclose((y[s], w[s]), state, rtol=1e-9, atol=1e-12)


def energy(m, x, v):
    i, j = np.triu_indices(4, 1)
    r = np.linalg.norm(x[:, i] - x[:, j], axis=-1)
    kinetic = 0.5 * (m * (v**2).sum(-1)).sum(1)
    return kinetic - (m[:, i] * m[:, j] / r).sum(1)


def test_momentum_and_energy_are_kept():
    m, x, v = initial_states(np.random.default_rng(0), 2000)
    y, w = simulate(m, x, v)
    momentum = (m[..., None] * (w - v)).sum(1)
    np.testing.assert_allclose(momentum, 0, atol=1e-9)
    error = np.abs(energy(m, y, w) / energy(m, x, v) - 1)
    assert np.median(error) < 1e-4
    assert np.quantile(error, 0.98) < 1e-2  # the rest: close encounters
    # Half the time step halves the error of a rule of first order.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "TIME_STEP", 0.0005)
        finer = np.abs(energy(m, *simulate(m, x, v, 200)) / energy(m, x, v) - 1)
    assert 0.4 < np.median(finer) / np.median(error) < 0.6
    assert np.abs(y - x).max(axis=(1, 2)).min() > 1e-2  # and bodies do move


def test_systems_with_a_jump_are_rejected():
    data, rate = sample(6000, [0, 0], verbose=0)
    assert 0.001 < rate < 0.005
    jump = np.linalg.norm(data["targets"] - data["positions"], axis=-1)
    assert jump.max() <= simulator.MAX_DISTANCE
    m, x, v = initial_states(np.random.default_rng([0, 0]), simulator.CHUNK)
    jump = np.linalg.norm(simulate(m, x, v)[0] - x, axis=-1)
    assert jump.max() > simulator.MAX_DISTANCE


def test_simulation_is_equivariant():
    m, x, v = initial_states(np.random.default_rng(0), 50)
    r = random_rotations(np.random.default_rng(1), 1)[0]
    y, _ = simulate(m, x, v)
    z, _ = simulate(m, x @ r.T + 1, v @ r.T)
    np.testing.assert_allclose(z, y @ r.T + 1, atol=1e-6)


def test_same_seed_same_bytes():
    first, _ = sample(100, [0, 1], verbose=0)
    again, _ = sample(3000, [0, 1], verbose=0)
    other, _ = sample(100, [1, 1], verbose=0)
    for key, array in first.items():
        assert array.tobytes() == again[key][:100].tobytes()
        assert not np.array_equal(array, other[key])


# Builder.


def test_splits_and_their_angles(data_dir):
    x, y = load("train", data_dir)
    assert y.shape == (16, 4, 3) and x["masses"].shape == (16, 4, 1)
    for split in ("train", "validation", "test"):
        x, _ = load(split, data_dir)
        assert tilt(x["positions"], x["masses"]).max() < 10.1
    x, y = load("test_ood", data_dir)
    assert len(y) == 8
    assert np.median(tilt(x["positions"], x["masses"])) > 20


def test_arrays_are_those_of_the_simulator(data_dir):
    for i, split in enumerate(("train", "validation", "test", "test_ood")):
        x, y = load(split, data_dir)
        limits = (90, 180) if split == "test_ood" else (0, 10)
        data, _ = sample(len(y), [0, i], limits, verbose=0)
        for key, array in {**x, "targets": y}.items():
            np.testing.assert_array_equal(array, data[key].astype("float32"))


def test_haar_config_has_no_test_ood(data_dir):
    with pytest.raises(ValueError, match="Unknown `split`.*'test_ood'"):
        load("test_ood", data_dir, "gatr")


def test_names_of_configurations(data_dir):
    _, y = load("train", data_dir)
    _, again = datasets.load(
        "nbody_gravity", config="tiny", data_dir=data_dir, verbose=0
    )
    np.testing.assert_array_equal(y, again)
    with pytest.raises(ValueError, match="Unknown `config`.*mean 'tiny'"):
        load("train", data_dir, "tinny")
    with pytest.raises(ValueError, match="not both"):
        datasets.load("nbody_gravity/tiny", config="tiny")
    symmetry = datasets.symmetry("nbody_gravity/tiny")
    assert sorted(symmetry.inputs) == ["masses", "positions", "velocities"]


def test_ten_bodies(tmp_path):
    from keras_remul.datasets.nbody_gravity.builder import NbodyGravityConfig

    sizes = {"train": 12, "validation": 2, "test": 2}
    config = NbodyGravityConfig(name="nine", planets=9, **sizes)
    x, y = datasets.load(
        "nbody_gravity", config=config, data_dir=tmp_path, verbose=0
    )
    assert y.shape == (12, 10, 3)
    masses = np.sort(x["masses"][..., 0], axis=1)
    assert (masses[:, -1] >= 1).all() and (masses[:, :-1] <= 0.1001).all()


def test_rate_of_rejection_is_told(data_dir, capsys):
    load("test", data_dir)
    place = ["nbody_gravity/tiny", "--data-dir", str(data_dir)]
    assert cli.main(["datasets", "info", *place]) == 0
    assert "rejected, test_ood" in capsys.readouterr().out


def test_negative_size():
    from keras_remul.datasets.nbody_gravity.builder import NbodyGravityConfig

    config = NbodyGravityConfig(name="bad", train=-1, validation=1, test=1)
    with pytest.raises(ValueError, match="'train': -1"):
        config.sizes()
