"""find_symmetry on relations whose symmetry is known, and on real motion."""

import numpy as np
import pytest
from keras import ops

from keras_remul import Symmetry, find_symmetry, groups

AXES = {axis: groups.SO2(axis=axis) for axis in "xyz"}


def candidates(*group_list, inputs="vector", outputs="vector"):
    return [Symmetry(group, inputs, outputs) for group in group_list]


def turned(group, x, seed):
    g = Symmetry(group, "vector", "vector").sample(len(x), seed=seed)
    moved = ops.matmul(g, ops.convert_to_tensor(x[:, :, None], "float32"))
    return ops.convert_to_numpy(moved)[:, :, 0]


@pytest.fixture
def falling(rng):
    """Vectors of all directions, and where gravity along y pulls them."""
    x = rng.normal(size=(300, 3)).astype("float32")
    y = 2 * x - np.array([0.0, 1.5, 0.0], "float32")
    return x, (y + 0.1 * rng.normal(size=y.shape)).astype("float32")


def test_data_with_gravity(falling):
    report = find_symmetry(
        falling, candidates(AXES["x"], AXES["y"], AXES["z"], groups.SO3())
    )
    assert [s.group for s in report.kept()] == [AXES["y"]]
    kept = report[groups.SO2(axis="y")]
    assert kept.figures["cost"] == pytest.approx(1.0, abs=0.03)
    assert kept.figures["transfer"] == pytest.approx(1.0, abs=0.1)
    assert abs(kept.figures["alignment"]) < 0.01
    assert kept.law == "kept" and kept.figures["p"] > 0.05
    for group in (AXES["x"], AXES["z"], groups.SO3()):
        broken = report[group]
        assert broken.verdict == broken.law == "broken"
        assert broken.figures["cost_low"] > 10  # 1.5^2 / 3 against 0.1^2
        assert broken.figures["p"] == 1 / 200
    table = str(report).splitlines()
    assert len(table) == 5
    assert table[0].split() == [
        "group", "cost", "cost_low", "cost_high", "transfer", "alignment",
        "p", "verdict", "law",
    ]  # fmt: skip
    with pytest.raises(KeyError, match="not among the candidates"):
        report[groups.O3()]


def test_relation_and_law_differ(rng):
    """y = 2x keeps all rotations, though x comes in one direction only."""
    x = (0.1 * rng.normal(size=(200, 3)) + [3.0, 0, 0]).astype("float32")
    y = (2 * x + 0.1 * rng.normal(size=x.shape)).astype("float32")
    evidence = find_symmetry((x, y), candidates(groups.SO3())).evidence[0]
    assert evidence.law == "broken"
    assert evidence.figures["alignment"] > 0.5
    assert evidence.figures["cost"] < 1.05
    assert evidence.verdict == "kept"


def test_p_value_is_uniform_under_an_invariant_law(rng):
    """Samples of one trial are copies: only trials are independent."""
    p_values = []
    for seed in range(40):
        x = rng.normal(size=(6, 3)).repeat(5, axis=0).astype("float32")
        evidence = find_symmetry(
            (x, x),
            candidates(groups.SO3()),
            trials=np.arange(6).repeat(5),
            samples=1,
            permutations=19,
            seed=seed,
        ).evidence[0]
        p_values.append(evidence.figures["p"])
    assert np.mean(np.array(p_values) <= 0.2) < 0.45
    assert 0.3 < np.mean(p_values) < 0.7


def test_models(rng):
    x = rng.normal(size=(60, 3)).astype("float32")

    def falls(x):
        return ops.convert_to_numpy(x) - np.array([0.0, 1.0, 0.0])

    report = find_symmetry(
        falls, candidates(AXES["x"], AXES["y"], groups.SO3()), x
    )
    assert [e.verdict for e in report.evidence] == ["broken", "kept", "broken"]
    figures = report[groups.SO3()].figures
    assert figures["low"] < figures["relative_error"] < figures["high"]
    # E' = 4/3 |a|, here 1.33 over the mean norm
    scale = np.linalg.norm(falls(x), axis=1).mean()
    assert figures["relative_error"] == pytest.approx(4 / 3 / scale, rel=0.1)
    error = figures["relative_error"]
    undecided = find_symmetry(
        falls, candidates(groups.SO3()), x, tolerance=error
    )
    assert undecided.evidence[0].verdict == "undecided"
    assert undecided.kept() == []


def test_points_padding_and_other_regressors(bodies):
    """The origin and what is in padded nodes play no part."""
    x, y = bodies
    inputs = {"positions": "point", "velocities": "vector", "charges": "scalar"}
    both = candidates(
        groups.SO3(), groups.SE3(), inputs=inputs, outputs="point"
    )
    seen = []

    def zero(features, targets, trials):
        seen.append((features.shape, targets.shape, trials.shape))
        return lambda features: np.zeros((len(features), targets.shape[1]))

    options = {"samples": 2, "permutations": 19, "regressor": zero}
    report = find_symmetry((x, y), both, **options)
    assert seen[0][0][1] == 5 * 7 and seen[0][1][1] == 15
    # The targets start at the positions: what is left is 0.7 v.
    for evidence in report.evidence:
        assert evidence.figures["cost"] == pytest.approx(1.0)
        assert evidence.figures["transfer"] == pytest.approx(1.0, abs=1e-5)
    far = {**x, "positions": x["positions"] + 50.0}
    padded = {
        key: np.concatenate([value, 9 + value[:, :2]], axis=1)
        for key, value in {**far, "y": y + 50.0}.items()
    }
    labels = padded.pop("y")
    padded["mask"] = np.array([[1.0] * 5 + [0.0] * 2] * 12, "float32")
    options = {"samples": 2, "permutations": 19}
    first = find_symmetry((x, y), both[:1], **options).evidence[0]
    again = find_symmetry((padded, labels), both[:1], **options).evidence[0]
    assert again.figures["alignment"] == pytest.approx(
        first.figures["alignment"], rel=1e-3
    )
    assert again.figures["p"] == first.figures["p"]


def test_errors(falling):
    x, y = falling
    one = candidates(groups.SO3())
    with pytest.raises(ValueError, match="`candidates` must be a list"):
        find_symmetry((x, y), [])
    with pytest.raises(ValueError, match="Give a model and `x`, or the pair"):
        find_symmetry((x, y), one, x)
    with pytest.raises(ValueError, match="Give a model and `x`, or the pair"):
        find_symmetry(lambda x: x, one)
    with pytest.raises(ValueError, match=r"`trials` must have the shape"):
        find_symmetry((x, y), one, trials=[1, 2])
    with pytest.raises(ValueError, match="three trials or more. Received: 1"):
        find_symmetry((x, y), one, trials=np.zeros(300))


# Motion capture: y is up, and all runs head along z.


@pytest.fixture
def runs(shared_data):
    path = shared_data / "cmu_mocap" / "cmu09_run.npz"
    if not path.is_file():
        pytest.skip(f"no motion capture: {path.name} is not there")
    data = np.load(path)
    frames = np.split(data["X"], np.cumsum(data["length"])[:-1])
    x, v, y, trials = [], [], [], []
    for trial, frame in enumerate(frames):
        start = np.arange(0, len(frame) - 31, 8)
        x.append(frame[start])
        v.append(frame[start + 1] - frame[start])
        y.append(frame[start + 30])
        trials.append(np.full(len(start), trial))
    x, v, y = (np.concatenate(a).astype("float32") for a in (x, v, y))
    return {"positions": x, "velocities": v}, y, np.concatenate(trials)


INPUTS = {"positions": "point", "velocities": "vector"}
MOTION = candidates(
    *AXES.values(), groups.SO3(), inputs=INPUTS, outputs="point"
)


def with_any_direction(runs, axis):
    """Each trial turned at random about one axis."""
    x, y, trials = runs
    symmetry = Symmetry(AXES[axis], INPUTS, "point")
    g = ops.convert_to_numpy(symmetry.sample(trials.max() + 1, seed=5))[trials]
    x = {
        key: ops.convert_to_numpy(value)
        for key, value in symmetry.transform_inputs(g, x).items()
    }
    return x, ops.convert_to_numpy(symmetry.transform_outputs(g, y)), trials


def test_motion_as_recorded_has_one_heading(runs):
    x, y, trials = runs
    report = find_symmetry((x, y), MOTION, trials=trials, permutations=99)
    # All trials run along z: the law is that of no rotation, upright or not.
    assert [e.law for e in report.evidence] == ["broken"] * 4
    cost = {a: report[AXES[a]].figures["cost"] for a in "xyz"}
    assert cost["y"] < cost["x"]
    assert report[groups.SO3()].verdict == "broken"
    assert report[groups.SO3()].figures["cost_low"] > 2 * cost["y"]


def test_motion_of_any_heading_singles_out_the_vertical(runs):
    x, y, trials = with_any_direction(runs, "y")
    report = find_symmetry((x, y), MOTION, trials=trials, permutations=99)
    assert [s.group for s in report.kept()] == [AXES["y"]]
    assert report[AXES["y"]].law == "kept"
    for group in (AXES["x"], AXES["z"], groups.SO3()):
        assert report[group].verdict == report[group].law == "broken"
    # The control: had the trials been rolled about z instead, then z.
    x, y, trials = with_any_direction(runs, "z")
    report = find_symmetry((x, y), MOTION, trials=trials, permutations=99)
    assert report[AXES["z"]].verdict == report[AXES["z"]].law == "kept"
    assert report[AXES["y"]].law == "broken"
