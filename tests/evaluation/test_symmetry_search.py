"""find_symmetry on relations whose symmetry is known, and on real motion."""

import numpy as np
import pytest
from keras import ops

from keras_remul import Symmetry, find_symmetry, groups
from keras_remul.evaluation.search import quadratic_ridge, ridge
from keras_remul.evaluation.search.data import Data
from keras_remul.evaluation.search.orientation import shared_orientation
from keras_remul.evaluation.search.power import detectable

# Of figures that NumPy computes; what a group does is tested elsewhere, and
# each kind of question is put on every backend once.
ONCE = pytest.mark.backend_independent
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
    assert [s.group for s in report.not_detected()] == [AXES["y"]]
    assert report.kept() == []  # which data cannot show
    kept = report[groups.SO2(axis="y")]
    assert kept.figures["cost"] == pytest.approx(1.0, abs=0.03)
    assert kept.figures["transfer"] == pytest.approx(1.0, abs=0.1)
    assert abs(kept.figures["shared_orientation"]) < 0.01
    assert kept.distribution == "not detected" and kept.figures["p"] > 0.05
    assert kept.figures["detectable_linear"] <= 1 / 8
    for group in (AXES["x"], AXES["z"], groups.SO3()):
        broken = report[group]
        assert broken.verdict == broken.distribution == "broken"
        assert broken.figures["cost_low"] > 10  # 1.5^2 / 3 against 0.1^2
        assert broken.figures["p"] == 1 / 200
    table = str(report).splitlines()
    assert len(table) == 5
    assert table[0].split() == [
        "group", "cost", "cost_low", "cost_high", "transfer",
        "detectable_linear", "detectable_quadratic", "shared_orientation", "p",
        "verdict", "distribution",
    ]  # fmt: skip
    with pytest.raises(KeyError, match="not among the candidates"):
        report[groups.O3()]


@ONCE
def test_relation_and_law_differ(rng):
    """y = 2x keeps all rotations, though x comes in one direction only."""
    x = (0.1 * rng.normal(size=(200, 3)) + [3.0, 0, 0]).astype("float32")
    y = (2 * x + 0.1 * rng.normal(size=x.shape)).astype("float32")
    evidence = find_symmetry((x, y), candidates(groups.SO3())).evidence[0]
    assert evidence.distribution == "broken"
    assert evidence.figures["shared_orientation"] > 0.5
    assert evidence.figures["cost"] < 1.05
    assert evidence.verdict == "not detected"


@ONCE
def test_p_value_is_uniform_under_an_invariant_law(rng):
    """Samples of one trial are copies: only trials are independent."""
    p_values = []
    trials = np.arange(6).repeat(5)
    symmetry = Symmetry(groups.SO3(), "vector", "vector")
    for seed in range(40):
        x = rng.normal(size=(6, 3)).repeat(5, axis=0).astype("float32")
        data = Data(x, x, symmetry, trials, center=True)
        p_values.append(
            shared_orientation(data, num_permutations=19, seed=seed)[1]
        )
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
    assert (
        figures["low"]
        < figures["relative_equivariance_error"]
        < figures["high"]
    )
    # E' = 4/3 |a|, here 1.33 over the mean norm
    scale = np.linalg.norm(falls(x), axis=1).mean()
    assert figures["relative_equivariance_error"] == pytest.approx(
        4 / 3 / scale, rel=0.1
    )
    error = figures["relative_equivariance_error"]
    undecided = find_symmetry(
        falls, candidates(groups.SO3()), x, tolerance=error
    )
    assert undecided.evidence[0].verdict == "undecided"
    assert undecided.kept() == []


def test_points_padding_and_other_regressors(bodies):
    """The origin and what is in padded nodes play no part."""
    x, y = bodies
    inputs = {"positions": "point", "velocities": "vector", "charges": "scalar"}
    both = candidates(groups.SO3(), groups.O3(), inputs=inputs, outputs="point")
    seen = []

    def zero(features, targets, trials):
        seen.append((features.shape, targets.shape, trials.shape))
        return lambda features: np.zeros((len(features), targets.shape[1]))

    options = {"num_samples": 2, "num_permutations": 19, "regressor": zero}
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
    options = {"num_samples": 2, "num_permutations": 19}
    first = find_symmetry((x, y), both[:1], **options).evidence[0]
    again = find_symmetry((padded, labels), both[:1], **options).evidence[0]
    assert again.figures["shared_orientation"] == pytest.approx(
        first.figures["shared_orientation"], rel=1e-3
    )
    assert again.figures["p"] == first.figures["p"]


@ONCE
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


# What a test can see.

FEW = {"num_samples": 3, "num_permutations": 19}


def trap(rng, n=400, size=0.5):
    """y = 2 x + size x_0 x_2 e_z: no rotation is kept."""
    x = rng.normal(size=(n, 3)).astype("float32")
    y = 2 * x + 0.1 * rng.normal(size=x.shape)
    y[:, 2] += size * x[:, 0] * x[:, 2]
    return x, y.astype("float32")


@ONCE
def test_what_a_linear_regressor_cannot_see_is_not_called_kept(rng):
    data = trap(rng, size=0.2)
    one = candidates(groups.SO3())
    linear = find_symmetry(data, one, **FEW).evidence[0]
    assert linear.verdict == "not detected"
    assert linear.figures["detectable_quadratic"] == np.inf
    assert linear.figures["detectable_linear"] < 0.3
    assert "inf" in str(find_symmetry(data, one, **FEW))
    seen = find_symmetry(data, one, regressor=quadratic_ridge, **FEW).evidence[
        0
    ]
    assert seen.verdict == "broken"
    assert seen.figures["detectable_quadratic"] is None


@ONCE
def test_power_of_the_quadratic_regressor(rng):
    """It finds nothing where there is nothing, and says how little."""
    data = trap(rng, size=0.0)
    evidence = find_symmetry(
        data, candidates(groups.SO3()), regressor=quadratic_ridge, **FEW
    ).evidence[0]
    assert evidence.verdict == "not detected"
    assert evidence.figures["detectable_quadratic"] <= 1 / 8
    assert evidence.figures["detectable_linear"] <= 1 / 8
    # More noise, less in sight.
    x, y = data
    y = y + rng.normal(size=y.shape).astype("float32")
    blurred = find_symmetry(
        (x, y), candidates(groups.SO3()), regressor=quadratic_ridge, **FEW
    ).evidence[0]
    assert (
        blurred.figures["detectable_quadratic"]
        > evidence.figures["detectable_quadratic"]
    )


@ONCE
@pytest.mark.parametrize(
    "group, inputs, outputs",
    [
        (groups.O3(), "vector", "pseudovector"),
        (groups.SO3(), "vector", "scalar"),
        (groups.Permutations(3), "scalar", "scalar"),
        (groups.SE3(), "point", "point"),
        (
            groups.Product({"r": groups.SO3(), "n": groups.Permutations(3)}),
            "vector",
            "vector",
        ),
    ],
)
def test_a_breaking_of_the_size_that_is_detectable_is_found(
    rng, group, inputs, outputs
):
    """For groups and representations of all kinds: 0 is kept, 1 broken."""
    x = rng.normal(size=(60, 3, 3)).astype("float32")
    y = x if inputs == outputs else np.zeros_like(x)
    if outputs == "scalar" and inputs == "vector":
        y = np.ones((60, 3, 1), "float32")
    y = y + 0.05 * rng.normal(size=y.shape).astype("float32")
    data = Data(
        x, y, Symmetry(group, inputs, outputs), np.arange(60), center=False
    )
    sizes = []

    def is_broken(changed):
        gap = changed.matrices(x, changed.y)[1] * changed.scales[1][0]
        gap = gap - data.matrices(x, y)[1] * data.scales[1][0]
        sizes.append(np.sqrt(np.mean(gap**2)) / data.scales[1][0])
        return sizes[-1] > 0.1

    assert detectable(data, 2, is_broken, seed=0) == 0.125
    np.testing.assert_allclose(sizes, [0.125, 0.03125, 0.0625], rtol=1e-3)


@ONCE
def test_a_group_that_does_nothing_has_no_breaking(rng):
    x = rng.normal(size=(40, 3)).astype("float32")
    symmetry = Symmetry(groups.SO3(), "scalar", "scalar")
    figures = find_symmetry((x, x + 1), [symmetry], **FEW).evidence[0].figures
    assert figures["detectable_linear"] == np.inf
    assert figures["detectable_quadratic"] == np.inf


@ONCE
def test_quadratic_ridge_on_relations_of_second_order(rng):
    x = rng.normal(size=(300, 4))
    x[:, 3] = 2.0  # does not vary
    y = np.stack([x[:, 0] * x[:, 2], x[:, 1] ** 2 - x[:, 0]], axis=1)
    trials = np.arange(200)
    f = quadratic_ridge(x[:200], y[:200], trials)
    np.testing.assert_allclose(f(x[200:]), y[200:], atol=1e-3)
    linear = ridge(x[:200], y[:200], trials)
    assert np.mean((linear(x[200:]) - y[200:]) ** 2) > 0.5
    many = rng.normal(size=(900, 40))  # 820 products
    target = many[:, :1] + 1
    f = quadratic_ridge(many[:800], target[:800], np.arange(800))
    assert np.mean((f(many[800:]) - target[800:]) ** 2) < 0.5


# Translations and the origin.

WITH_TRANSLATIONS = [
    groups.Translations(),
    groups.SE3(),
    groups.E3(),
    groups.Product({"r": groups.SE3(), "n": groups.Permutations(4)}),
]


@ONCE
@pytest.mark.parametrize("group", WITH_TRANSLATIONS, ids=repr)
def test_translations_are_not_kept_because_the_origin_is_taken_out(rng, group):
    """A trap at the origin: y = x - 0.5 x."""
    x = rng.normal(size=(60, 4, 3)).astype("float32")
    y = 0.5 * x + 0.05 * rng.normal(size=x.shape).astype("float32")
    one = candidates(group, inputs="point", outputs="point")
    with pytest.raises(ValueError, match="holds translations, which `center"):
        find_symmetry((x, y), one, **FEW)
    broken = find_symmetry((x, y), one, center=False, **FEW).evidence[0]
    assert broken.verdict == "broken"
    free = (x, x + 0.05 * rng.normal(size=x.shape).astype("float32"))
    free = find_symmetry(free, one, center=False, **FEW).evidence[0]
    assert free.verdict == "not detected"
    # Without a point nothing is taken out.
    vectors = candidates(groups.SE3(), inputs="vector", outputs="vector")
    assert find_symmetry((x, y), vectors, **FEW).evidence[0].figures


@ONCE
def test_the_centre_of_points_at_several_times(rng):
    x = rng.normal(size=(30, 4, 3)).astype("float32")
    y = np.stack([x, 2 * x], axis=2)  # (30, 4, 2, 3)
    one = candidates(groups.SO3(), inputs="point", outputs="point")
    shift = np.array([50.0, 0, 0], "float32")
    a, b = (
        find_symmetry((x + s, y + s), one, **FEW).evidence[0].figures
        for s in (0, shift)
    )
    assert a["shared_orientation"] == pytest.approx(
        b["shared_orientation"], abs=1e-3
    )
    joined = candidates(groups.SO3(), inputs="point + vector", outputs="point")
    both = np.concatenate([x, x], axis=-1)
    with pytest.raises(ValueError, match="leaves of their own"):
        find_symmetry((both, y), joined, **FEW)


# Data of all kinds.


@ONCE
def test_labels_without_their_last_axis_trials_and_integers(rng):
    x = rng.normal(size=(60, 3)).astype("float32")
    y = (np.linalg.norm(x, axis=1) * 10).astype("int32")
    trials = np.repeat([f"run {i}" for i in range(20)], 3)
    one = candidates(groups.SO3(), outputs="scalar")
    a, b, c = (
        find_symmetry((x, labels), one, trials=trials, **FEW).evidence[0]
        for labels in (y, y[:, None], y.astype("float32"))
    )
    assert a.figures == b.figures == c.figures


@ONCE
def test_outputs_in_several_units(rng):
    """Energies in the thousands do not hide forces that are broken."""
    x = rng.normal(size=(80, 3)).astype("float32")
    forces = x - np.array([0, 2.0, 0], "float32")
    forces += 0.1 * rng.normal(size=x.shape).astype("float32")
    energy = 1e4 * (1 + rng.normal(size=(80,)).astype("float32"))
    for kinds in (
        {"forces": "vector", "energy": "scalar"},
        {"energy": "scalar", "forces": "vector"},
    ):
        symmetry = Symmetry(groups.SO3(), "vector", kinds)
        y = {"energy": energy, "forces": forces}
        evidence = find_symmetry((x, y), [symmetry], **FEW).evidence[0]
        assert evidence.verdict == "broken"


@ONCE
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_targets_that_are_constant_or_exact(rng, noise):
    x = rng.normal(size=(60, 3)).astype("float32")
    noise = (noise * rng.normal(size=x.shape)).astype("float32")
    gravity = np.tile(np.float32([[0, -2, 0]]), (60, 1)) + noise
    one = candidates(AXES["y"], AXES["x"])
    report = find_symmetry((x, gravity), one, **FEW)
    upright, other = report.evidence
    assert other.verdict == "broken"
    assert upright.verdict != "broken"
    assert noise.any() or upright.verdict == "not detected"
    exact = find_symmetry((x, 2 * x + noise), one, **FEW)
    assert "broken" not in [e.verdict for e in exact.evidence]
    scalars = candidates(groups.SO3(), outputs="scalar")
    constant = find_symmetry((x, np.full(60, 5.0)), scalars, **FEW)
    assert constant.evidence[0].verdict == "not detected"
    with pytest.raises(ValueError, match="targets are all zero"):
        find_symmetry((x, 0 * x), one, **FEW)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none(rng, bad):
    x = rng.normal(size=(30, 4, 3)).astype("float32")
    symmetry = Symmetry(groups.SO3(), {"r": "vector"}, "vector")
    spoilt = x.copy()
    spoilt[3, 3] = bad
    with pytest.raises(ValueError, match=r"`x\['r'\]` holds NaN or inf"):
        find_symmetry(({"r": spoilt}, x), [symmetry], **FEW)
    with pytest.raises(ValueError, match="`y` holds NaN or inf"):
        find_symmetry(({"r": x}, spoilt), [symmetry], **FEW)
    mask = np.array([[1, 1, 1, 0]] * 30)  # padding may hold anything
    find_symmetry(({"r": x, "mask": mask}, spoilt), [symmetry], **FEW)
    with pytest.raises(ValueError, match=r"`f\(x\)` holds NaN"):
        find_symmetry(lambda x: spoilt, [symmetry], {"r": x})
    with pytest.raises(ValueError, match="zero for all `x`"):
        find_symmetry(lambda x: 0 * x["r"], [symmetry], {"r": x})
    with pytest.raises(ValueError, match="same number of samples"):
        find_symmetry(({"r": x}, x[:9]), [symmetry])


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


@ONCE
def test_motion_as_recorded_has_one_heading(runs):
    x, y, trials = runs
    report = find_symmetry((x, y), MOTION, trials=trials, num_permutations=99)
    # All trials run along z: the law is that of no rotation, upright or not.
    assert [e.distribution for e in report.evidence] == ["broken"] * 4
    cost = {a: report[AXES[a]].figures["cost"] for a in "xyz"}
    assert cost["y"] < cost["x"]
    assert report[groups.SO3()].verdict == "broken"
    assert report[groups.SO3()].figures["cost_low"] > 2 * cost["y"]


@ONCE
def test_motion_of_any_heading_singles_out_the_vertical(runs):
    x, y, trials = with_any_direction(runs, "y")
    report = find_symmetry((x, y), MOTION, trials=trials, num_permutations=99)
    assert [s.group for s in report.not_detected()] == [AXES["y"]]
    assert report[AXES["y"]].distribution == "not detected"
    for group in (AXES["x"], AXES["z"], groups.SO3()):
        assert report[group].verdict == report[group].distribution == "broken"
    # The control: had the trials been rolled about z instead, then z.
    x, y, trials = with_any_direction(runs, "z")
    report = find_symmetry((x, y), MOTION, trials=trials, num_permutations=99)
    of_z = report[AXES["z"]]
    assert of_z.verdict == of_z.distribution == "not detected"
    assert report[AXES["y"]].distribution == "broken"


def test_changes_of_sign_are_proposed(bodies):
    x, _ = bodies
    x["masses"] = np.abs(x["charges"]) + 0.5
    x["charges"] = (
        np.where(np.arange(5) % 2, -1.0, 1.0)[None, :, None] * (x["masses"])
    )
    symmetry = Symmetry(
        groups.O3(),
        {
            "positions": "point",
            "velocities": "vector",
            "charges": "scalar",
            "masses": "scalar",
        },
        "point",
    )

    def of_products(x):  # pairs of charges, which no flip of all changes
        q = x["charges"]
        field = q * q.sum(axis=1, keepdims=True)
        return x["positions"] + 0.1 * field * x["velocities"]

    def of_charges(x):
        return x["positions"] + x["charges"] * x["velocities"]

    for model, verdict in ((of_products, "kept"), (of_charges, "broken")):
        own, flipped = find_symmetry(model, symmetry, x).evidence
        assert own.symmetry is symmetry and own.verdict == "kept"
        assert flipped.symmetry.inputs["charges"].factor == "sign"
        assert flipped.verdict == verdict
    x["charges"] = x["masses"]
    assert len(find_symmetry(of_products, symmetry, x).evidence) == 1
