"""cmu_mocap: Acclaim files, forward kinematics, windows, splits, baselines."""

import hashlib
import http.server
import sys
import threading
import types

import numpy as np
import pytest

from keras_remul import cli, datasets
from keras_remul.datasets.cmu_mocap.acclaim import (
    joint_positions,
    read_motion,
    read_skeleton,
)
from keras_remul.experiments import baselines

pytestmark = pytest.mark.backend_independent

ASF = """# comment
:version 1.10
:units
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     name upper
     direction 1 0 0
     length 2
     axis 0 0 {axis} XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-60.0 70.0)
  end
  begin
     name lower
     direction 0 1 0
     length 3.0
     axis 0 0 0 XYZ
    dof rz
  end
:hierarchy
  begin
    root upper
    upper lower
  end
"""


def frame(number, root=(0, 0, 0, 0, 0, 0), upper=(0, 0, 0), lower=0):
    lines = [number, f"root {numbers(root)}", f"upper {numbers(upper)}"]
    return "\n".join(map(str, [*lines, f"lower {lower}"]))


def numbers(values):
    return " ".join(map(str, values))


def write(path, text):
    path.write_bytes(text.replace("\n", "\r\n").encode())
    return path


def skeleton(tmp_path, axis=0):
    return read_skeleton(write(tmp_path / "1.asf", ASF.format(axis=axis)))


def positions(tmp_path, *frames, axis=0):
    bones = skeleton(tmp_path, axis)
    text = "\n".join([":FULLY-SPECIFIED", ":DEGREES", *frames])
    motion = read_motion(write(tmp_path / "1.amc", text), bones)
    return joint_positions(bones, motion)


# Forward kinematics, by hand.


def test_skeleton(tmp_path):
    bones = skeleton(tmp_path)
    assert bones.names == ("root", "upper", "lower")
    assert bones.parents == (-1, 0, 1)
    np.testing.assert_array_equal(
        bones.offsets, [[0, 0, 0], [2, 0, 0], [0, 3, 0]]
    )
    assert bones.degrees_of_freedom[1:] == (("rx", "ry", "rz"), ("rz",))


@pytest.mark.parametrize(
    "kwargs, axis, expected",
    [
        ({}, 0, [[0, 0, 0], [2, 0, 0], [2, 3, 0]]),
        ({"root": (1, 2, 3, 0, 0, 0)}, 0, [[1, 2, 3], [3, 2, 3], [3, 5, 3]]),
        ({"root": (0, 0, 0, 0, 0, 90)}, 0, [[0, 0, 0], [0, 2, 0], [-3, 2, 0]]),
        ({"upper": (0, 0, 90)}, 0, [[0, 0, 0], [0, 2, 0], [-3, 2, 0]]),
        ({"lower": 90}, 0, [[0, 0, 0], [2, 0, 0], [-1, 0, 0]]),
        # x first, then z: y -> z -> z.
        ({"upper": (90, 0, 90)}, 0, [[0, 0, 0], [0, 2, 0], [0, 2, 3]]),
        # The x axis of the bone is the y axis of the world.
        ({"upper": (90, 0, 0)}, 90, [[0, 0, 0], [0, 0, -2], [0, 3, -2]]),
    ],
)
def test_kinematics(tmp_path, kwargs, axis, expected):
    x = positions(tmp_path, frame(1, **kwargs), axis=axis)
    np.testing.assert_allclose(x[0], expected, atol=1e-12)


def test_frames_may_start_anywhere(tmp_path):
    frames = [frame(i, root=(i, 0, 0, 0, 0, 0)) for i in (160, 161)]
    np.testing.assert_array_equal(
        positions(tmp_path, *frames)[:, 0, 0], [160, 161]
    )


@pytest.mark.parametrize(
    "text, message",
    [
        (frame(1) + "\n2\nroot 0 0 0 0 0 0\nupper 0 0 0", r"Frame 2.*lower"),
        (frame(1) + "\n2\nroot 0 0 0", "Expected 6 values for 'root'.*3 in"),
        (frame(1) + "\n2", "Frame 2.*lacks .'root', 'upper', 'lower'"),
        (frame(1) + "\n" + frame(3), "not consecutive"),
        (frame(1) + "\nwing 1", "Unknown bone 'wing' in frame 1"),
        (frame(1) + "\nlower x", "Bad number for 'lower'"),
        (":DEGREES", "No frame"),
        ("root 0 0 0 0 0 0", "Unknown bone 'root' in frame ?"),
    ],
)
def test_bad_motion(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        positions(tmp_path, text)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("     length 3.0\n", "", "Bone 'lower' lacks"),
        ("    upper lower\n", "", "Bone 'lower' lacks.*a parent"),
        ("    upper lower\n", "    upper lower hand\n", r"\['hand'\]"),
        (":hierarchy", ":h", "':hierarchy'"),
        ("angle deg", "angle rad", "degrees"),
    ],
)
def test_bad_skeleton(tmp_path, old, new, message):
    assert old in ASF
    path = write(tmp_path / "1.asf", ASF.format(axis=0).replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_skeleton(path)


# Builder.


def write_subject(folder, length=60, seed=0):
    """Subject 99 with 31 joints in a chain and trials 1, 2, 3."""
    rng = np.random.default_rng(seed)
    (folder / "99").mkdir(parents=True)
    names = [f"b{i}" for i in range(30)]
    bone = (
        "begin\nname {}\ndirection 0 1 0\nlength 1\naxis 0 0 0 XYZ\ndof rx\nend"
    )
    text = [":units", "angle deg", ":root", "order TX TY TZ RX RY RZ"]
    text += [":bonedata", *map(bone.format, names), ":hierarchy", "begin"]
    chain = zip(["root", *names], names, strict=False)
    text += [*map(" ".join, chain), "end"]
    write(folder / "99/99.asf", "\n".join(text))
    for trial in (1, 2, 3):
        lines = []
        for t in range(1, length + 1):
            lines += [str(t), f"root {numbers(rng.normal(size=6))}"]
            lines += [f"{name} {rng.normal()}" for name in names]
        write(folder / f"99/99_{trial:02}.amc", "\n".join(lines))


def config(**kwargs):
    from keras_remul.datasets.cmu_mocap.builder import CmuMocapConfig

    trials = {"train": (1,), "validation": (2,), "test": (3,), "windows": 7}
    return CmuMocapConfig(name="any_99", subject=99, **{**trials, **kwargs})


def load(split, config, data_dir, manual_dir=None):
    return datasets.load(
        "cmu_mocap",
        split,
        config=config,
        data_dir=data_dir,
        manual_dir=manual_dir,
        verbose=0,
    )


def test_any_subject(tmp_path):
    write_subject(tmp_path / "manual")
    data_dir = tmp_path / "data"
    x, y = load("train", config(), data_dir, tmp_path / "manual")
    bones = read_skeleton(tmp_path / "manual/99/99.asf")
    motion = read_motion(tmp_path / "manual/99/99_01.amc", bones)
    truth = joint_positions(bones, motion).astype("float32")
    starts = [np.abs(truth - p).max((1, 2)).argmin() for p in x["positions"]]
    starts = np.array(starts)
    assert len(set(starts)) == 7 and starts.max() < 30
    np.testing.assert_array_equal(x["positions"], truth[starts])
    np.testing.assert_array_equal(y, truth[starts + 30])
    difference = truth[starts + 1] - truth[starts]
    np.testing.assert_allclose(x["velocities"], difference, atol=1e-5)
    np.testing.assert_array_equal(x["joints"][3], np.eye(31))
    assert len(load("test", config(), data_dir)[1]) == 7


def test_too_short_trial(tmp_path):
    write_subject(tmp_path / "manual", length=30)
    with pytest.raises(ValueError, match="Trial 1 .* 30 frames.*too few"):
        load("train", config(), tmp_path / "data", tmp_path / "manual")


def test_a_split_without_trials(tmp_path):
    write_subject(tmp_path / "manual")
    with pytest.raises(ValueError, match="'test'.*no trials"):
        load("train", config(test=()), tmp_path / "data", tmp_path / "manual")


def run_09_arrays(rng):
    data = {"X": rng.normal(size=(1300, 31, 3)), "length": np.full(10, 130)}
    for i, name in enumerate(("train", "val", "test")):
        cases = range(5) if name == "train" else range(3 + 2 * i, 5 + 2 * i)
        data[f"{name}_case"] = np.array(list(cases))
        shape = (len(data[f"{name}_case"]), 80)
        data[f"{name}_start"] = rng.integers(0, 90, size=shape)
    return data


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d.pop("val_start"), "Expected the keys .*val_start"),
        (
            lambda d: d.update(X=d["X"][:-1]),
            r"sum of `length`.*\(1299, 31, 3\)",
        ),
    ],
)
def test_bad_npz(tmp_path, rng, change, message):
    data = run_09_arrays(rng)
    change(data)
    np.savez(tmp_path / "cmu09_run.npz", **data)
    with pytest.raises(ValueError, match=message):
        load("train", "run_09", tmp_path / "data", tmp_path)


def test_missing_npz_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cmu09_run.npz[\s\S]*manual"):
        load("train", "run_09", tmp_path)


# Files of one's own.

BVH = """HIERARCHY
ROOT hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT chest
  {
    OFFSET 0 5 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 3 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.01
1 2 3 0 0 0 0 0 0
1 2 3 90 0 0 0 0 0
"""
OF_BVH = [
    [[1, 2, 3], [1, 7, 3], [1, 10, 3]],
    [[1, 2, 3], [-4, 2, 3], [-7, 2, 3]],
]


def check_bvh(tmp_path):
    motion = datasets.read_motion(write(tmp_path / "a.bvh", BVH))
    np.testing.assert_allclose(motion.positions, OF_BVH, atol=1e-5)
    assert motion.bones == [(1, 0), (2, 1)] and motion.rate == 100.0
    assert motion.names[:2] == ["hips", "chest"]


def test_bvh(tmp_path):
    pytest.importorskip("pybvh", reason="the extra `mocap` is not installed")
    check_bvh(tmp_path)


def test_what_is_made_of_what_pybvh_reads(tmp_path, monkeypatch):
    nodes = [types.SimpleNamespace(name=n) for n in ("hips", "chest", "end")]
    body = types.SimpleNamespace(
        node_positions=lambda: np.array(OF_BVH, float),
        node_edges=[(1, 0), (2, 1)],
        nodes=nodes,
        frame_time=0.01,
    )
    fake = types.SimpleNamespace(read_bvh_file=lambda path, world_up: body)
    monkeypatch.setitem(sys.modules, "pybvh", fake)
    check_bvh(tmp_path)
    body.node_positions = lambda: np.full((1, 3, 3), np.nan)
    with pytest.raises(ValueError, match="finite numbers in .*a.bvh"):
        datasets.read_motion(tmp_path / "a.bvh")
    monkeypatch.setitem(sys.modules, "pybvh", None)
    with pytest.raises(ImportError, match=r"pybvh.*remul\[mocap\]"):
        datasets.read_motion(tmp_path / "a.bvh")


def test_amc(tmp_path):
    asf = write(tmp_path / "1.asf", ASF.format(axis=0))
    amc = write(tmp_path / "1.amc", f":DEGREES\n{frame(1, lower=90)}")
    motion = datasets.read_motion(amc, asf)
    expected = [[0, 0, 0], [2, 0, 0], [-1, 0, 0]]
    np.testing.assert_allclose(motion.positions[0], expected, atol=1e-6)
    assert motion.bones == [(1, 0), (2, 1)] and motion.rate == 120.0
    for arguments in ((amc,), ("a.c3d", asf)):
        with pytest.raises(ValueError, match=r"Expected a \.bvh file, or"):
            datasets.read_motion(*arguments)


# Many people.


def walkers(**kwargs):
    from keras_remul.datasets.cmu_mocap.walkers import WalkersConfig

    walks = {"train": {"99_01": (3, 60), "99_02": (1, 50)}}
    others = {"validation": {"98_01": (1, 40)}, "test": {"97_01": (1, 40)}}
    return WalkersConfig(
        name="mine", windows=7, **{**walks, **others, **kwargs}
    )


def walks_file(path, rng, **changes):
    """Walks of subjects 98 and 97 that somebody has computed."""
    data = {
        "X": rng.normal(size=(80, 31, 3)),
        "trial": np.array(["98_01", "97_01"]),
        "length": np.array([40, 40]),
        "first_frame": np.array([1, 1]),
        "last_frame": np.array([40, 40]),
    }
    np.savez(path / "cmu_walks_7_subjects.npz", **{**data, **changes})
    return data["X"]


def test_walks_from_acclaim_files_and_from_one_file(tmp_path, rng):
    manual = tmp_path / "manual"
    write_subject(manual)
    given = walks_file(manual, rng).astype("float32")
    splits = ["train", "validation", "test"]
    (x, y), (v, _), (t, _) = load(splits, walkers(), tmp_path / "d", manual)
    bones = read_skeleton(manual / "99/99.asf")
    motion = read_motion(manual / "99/99_01.amc", bones)
    truth = joint_positions(bones, motion).astype("float32")
    for position, later in zip(x["positions"][:7], y[:7], strict=True):
        start = np.abs(truth - position).max((1, 2)).argmin()
        assert 2 <= start < 30  # from frame 3 on, 30 frames are left
        np.testing.assert_array_equal(later, truth[start + 30])
    assert len(y) == 14
    for positions, walk in ((v, given[:40]), (t, given[40:])):
        for position in positions["positions"]:
            assert (walk == position).all((1, 2)).any()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"last_frame": np.array([40, 41])}, "last_frame - first_frame"),
        ({"length": np.array([40, 39])}, "last_frame - first_frame"),
        ({"trial": np.array([1, 2])}, "names in `trial`"),
        ({"X": np.zeros((80, 30, 3))}, "'X' of shape"),
    ],
)
def test_bad_walks(tmp_path, rng, changes, message):
    walks_file(tmp_path, rng, **changes)
    with pytest.raises(ValueError, match=message):
        load("train", walkers(), tmp_path / "d", tmp_path)


def test_nobody_is_in_two_splits():
    from keras_remul.datasets.cmu_mocap.walkers import WALKS

    with pytest.raises(ValueError, match="Subject 99 is in the splits"):
        walkers(test={"99_03": (1, 40)})
    subjects = {
        split: {trial[:2] for trial in walks} for split, walks in WALKS.items()
    }
    assert subjects["test"] == {"35"} and len(subjects["train"]) == 5
    assert not subjects["train"] & subjects["validation"]


def test_frames_that_a_walk_lacks(tmp_path, rng):
    write_subject(tmp_path)
    walks_file(tmp_path, rng)
    short = walkers(train={"99_01": (1, 61)})
    with pytest.raises(ValueError, match="frames 1 to 61.*1 to 60"):
        load("train", short, tmp_path / "d", tmp_path)
    with pytest.raises(ValueError, match="walk 99_01 has 30 frames, too few"):
        load(
            "train",
            walkers(train={"99_01": (1, 30)}),
            tmp_path / "e",
            tmp_path,
        )


# Downloads.


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Subject 99 on a server; the hashes of its files are known."""
    from keras_remul.datasets import sources
    from keras_remul.datasets.cmu_mocap import builder
    from keras_remul.utils import web

    write_subject(tmp_path / "server")
    monkeypatch.setattr(web, "PAUSE", 0)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "server")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        url = f"http://127.0.0.1:{httpd.server_address[1]}"
        infos = {}
        for path in (tmp_path / "server/99").iterdir():
            content = path.read_bytes()
            infos[f"{url}/99/{path.name}"] = sources.Source(
                len(content), "sha256", hashlib.sha256(content).hexdigest()
            )
        monkeypatch.setattr(builder, "URL", url)
        monkeypatch.setattr(sources, "table", lambda: infos)
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield tmp_path / "server/99"
        httpd.shutdown()


def test_download(server, tmp_path):
    _, y = load("train", config(), tmp_path / "data")
    _, again = load("train", config(), tmp_path / "other", server.parent)
    np.testing.assert_array_equal(y, again)


def test_corrupted_download_is_caught(server, tmp_path):
    path = server / "99_02.amc"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"7")
    with pytest.raises(ValueError, match="99_02.amc has the sha256"):
        load("train", config(), tmp_path / "data")
    path.write_bytes(good)
    assert len(load("train", config(), tmp_path / "data")[1]) == 7


def test_hashes_of_walk_35_are_known():
    from keras_remul.datasets import sources
    from keras_remul.datasets.cmu_mocap.builder import URL, WALK_35

    names = {f"35_{t}.amc" for trials in WALK_35.values() for t in trials}
    known = set(sources.table())
    assert {f"{URL}/35/{name}" for name in {*names, "35.asf"}} <= known


# Real data.


def test_walk_35_equals_the_reference(shared_data, tmp_path):
    folder = shared_data / "cmu_mocap"
    names = {"train": "train", "validation": "val", "test": "test"}
    pairs = load(list(names), "walk_35", tmp_path, folder / "raw")
    truth = np.load(folder / "cmu35_walk_rebuilt.npz")
    first = np.cumsum(truth["length"]) - truth["length"]
    for name, windows, (x, y) in zip(
        names.values(), (25, 100, 100), pairs, strict=True
    ):
        starts = truth[f"{name}_start"][:, :windows]
        starts = (starts + first[truth[f"{name}_case"]][:, None]).ravel()
        assert len(y) == len(starts)
        reference = truth["X"]
        for array, frames in ((x["positions"], 0), (y, 30)):
            expected = reference[starts + frames]
            np.testing.assert_allclose(array, expected, atol=1e-4)
        expected = reference[starts + 1] - reference[starts]
        np.testing.assert_allclose(x["velocities"], expected, atol=1e-4)
        assert np.abs(y - x["positions"]).mean() > 0.1


def test_baselines_of_run_09(shared_data, tmp_path, capsys):
    measure, rows = baselines.of_dataset(
        "cmu_mocap/run_09",
        data_dir=tmp_path,
        manual_dir=shared_data / "cmu_mocap",
        verbose=0,
    )
    assert measure == "MSE"
    copy, drift, fitted, ridge, aligned = rows.values()
    assert abs(copy["test"] - 89.8) < 0.05
    assert abs(drift["test"] - 19.8) < 0.05
    assert fitted["validation"] < drift["validation"]
    assert abs(ridge["test"] - 0.239) < 0.002
    # Drift is equivariant, ridge regression is not.
    assert drift["test_moved"] == pytest.approx(drift["test"], rel=1e-5)
    assert ridge["test_moved"] > 10
    assert aligned["test_moved"] == pytest.approx(aligned["test"], rel=1e-4)
    assert aligned["validation"] < 0.29
    name = ["cmu_mocap/run_09", "--data-dir", str(tmp_path)]
    assert cli.main(["datasets", "baselines", *name]) == 0
    out = capsys.readouterr().out
    assert "89.8" in out and "x + 30 v" in out and "SO2(axis='y')" in out


# Baselines and commands.


def test_ridge_finds_a_linear_law(bodies, rng):
    x, _ = bodies
    mix = np.eye(5) + 0.1 * rng.normal(size=(5, 5))
    centered = x["positions"] - x["positions"].mean(1, keepdims=True)
    y = x["positions"] + 2 * x["velocities"] + mix @ centered
    sets = {name: (x, y) for name in ("train", "validation", "test")}
    symmetry = datasets.symmetry("nbody_charged")
    rows = baselines.baselines(sets, symmetry, horizon=2.0)
    *_, ridge, aligned = rows.values()
    assert ridge["test"] < 1e-5
    # Twelve unlike systems have no common reference.
    assert aligned["test"] > ridge["test"]
    assert list(ridge) == ["validation", "test", "test_moved"]
    copy = rows["copy: x"]["test"]
    assert copy == pytest.approx(np.square(y - x["positions"]).mean(), rel=1e-5)


def test_baselines_need_velocities(bodies):
    x, y = bodies
    x.pop("velocities")
    with pytest.raises(
        ValueError, match="'velocities'.*'charges', 'positions'"
    ):
        baselines.baselines({"train": (x, y)}, None, 1.0)


def test_commands(tmp_path, capsys):
    place = ["--data-dir", str(tmp_path)]
    assert cli.main(["datasets", "prepare", "nbody_gravity/tiny", *place]) == 0
    capsys.readouterr()
    assert cli.main(["datasets", "list", *place]) == 0
    lines = capsys.readouterr().out.splitlines()
    (tiny,) = [line for line in lines if "nbody_gravity/tiny" in line]
    assert "yes" in tiny
    assert cli.main(["datasets", "info", "nbody_gravity/tiny", *place]) == 0
    out = capsys.readouterr().out
    assert "test_ood (8)" in out and "velocities" in out and "E3" in out
    assert (
        cli.main(["datasets", "baselines", "nbody_gravity/tiny", *place]) == 0
    )
    assert "ridge" in capsys.readouterr().out
    assert cli.main(["datasets", "info", "nbody"]) == 1
    assert "Did you mean" in capsys.readouterr().err


def test_left_and_right(shared_data):
    """The partner of each joint is the one of the other side."""
    with np.load(shared_data / "cmu_mocap/cmu09_run.npz") as file:
        names = file["joint_names"].tolist()
    partners = datasets.symmetry("cmu_mocap").inputs["joints"].partners
    for name, partner in zip(names, partners, strict=True):
        sides = {"l": "r", "r": "l"}
        other = sides.get(name[0], "") + name[1:]
        assert names[partner] == (other if other in names else name)
