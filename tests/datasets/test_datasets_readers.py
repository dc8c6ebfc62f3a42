"""Files that data sets are made from: each fault is refused, by its name."""

import os

import h5py
import numpy as np
import pytest
import test_datasets_jets as jets
import test_datasets_mocap as mocap
import test_datasets_molecules as molecules

from keras_remul.datasets.cmu_mocap import acclaim
from keras_remul.datasets.cmu_mocap.builder import CmuMocapConfig, read_run_09
from keras_remul.datasets.md17 import builder as md17
from keras_remul.datasets.molecules import MoleculeConfig, check_angstrom
from keras_remul.datasets.top_jets.reference import Jets
from keras_remul.datasets.xtb_md import simulator
from keras_remul.datasets.xtb_md.builder import XtbMdConfig
from keras_remul.utils import npz

# Motion capture: skeletons.

AXIS = "axis 0 0 0 XYZ\n    dof rx"  # of the first bone


def skeleton(tmp_path, *changes):
    text = mocap.ASF.format(axis=0)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return acclaim.read_skeleton(mocap.write(tmp_path / "1.asf", text))


def rotation(axis, degrees):
    """About one axis, written down once more."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


ANGLES = {"X": 10.0, "Y": 50.0, "Z": -70.0}
ORDERS = ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"]


@pytest.mark.parametrize("order", ORDERS)
def test_the_axis_turns_in_the_order_of_its_letters(tmp_path, order):
    """The first letter is applied first, about axes that stay."""
    bones = skeleton(
        tmp_path,
        (AXIS, f"axis 10 50 -70 {order}\ndof rx"),
    )
    first, second, third = (rotation(axis, ANGLES[axis]) for axis in order)
    np.testing.assert_allclose(bones.axes[1], third @ second @ first)
    others = [o for o in ORDERS if o != order]
    for other in others:
        a, b, c = (rotation(axis, ANGLES[axis]) for axis in other)
        assert np.abs(bones.axes[1] - c @ b @ a).max() > 0.05


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bone", ["root", "upper"])
def test_the_motion_turns_in_the_order_of_its_channels(tmp_path, order, bone):
    channels = " ".join(f"R{axis}" for axis in order)
    change = {
        "root": ("TX TY TZ RX RY RZ", f"{channels} TZ TY TX"),
        "upper": ("dof rx ry rz", f"dof {channels.lower()}"),
    }[bone]
    bones = skeleton(tmp_path, change)
    angles = " ".join(str(ANGLES[axis]) for axis in order)
    lines = {
        "root": ["1", f"root {angles} 3 2 1", "upper 0 0 0", "lower 0"],
        "upper": ["1", "root 0 0 0 0 0 0", f"upper {angles}", "lower 0"],
    }[bone]
    path = mocap.write(tmp_path / "1.amc", "\n".join(lines))
    x = acclaim.joint_positions(bones, acclaim.read_motion(path, bones))[0]
    first, second, third = (rotation(axis, ANGLES[axis]) for axis in order)
    turned = third @ second @ first
    start = [1, 2, 3] if bone == "root" else [0, 0, 0]
    np.testing.assert_allclose(x[0], start)
    np.testing.assert_allclose(x[1] - x[0], turned @ [2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(x[2] - x[1], turned @ [0, 3, 0], atol=1e-12)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (AXIS, "axis 0 0 0 XYX\n dof rx", "'XYX'"),
        (AXIS, "axis 0 0 0\n dof rx", "axis of bone"),
        (AXIS, "axis 0 0 XYZ\n dof rx", "axis of bone"),
        (
            "axis 0 0 0 XYZ\n    dof rx",
            "axis 0 0 _ XYZ\n dof rx",
            "number.*'_'",
        ),
        ("axis XYZ", "axis XXZ", "'XXZ'"),
        ("length 3.0", "length 1_0", "Bad number for length.*'lower'.*'1_0'"),
        ("length 3.0", "length nan", "Bad number.*'nan'"),
        ("length 3.0", "length inf", "Bad number.*'inf'"),
        ("length 3.0", "length 1e999", "Bad number.*'1e999'"),
        ("length 3.0", "length 0x10", "Bad number.*'0x10'"),
        ("length 3.0", "length 3,0", "Bad number.*'3,0'"),
        ("length 3.0", "length -3.0", "length of at least 0.*'lower'"),
        ("length 3.0", "length", "Bone 'lower' lacks its length"),
        ("length 3.0", "length 3.0\n     length 4.0", "'length' comes twice"),
        ("direction 0 1 0", "direction 0 2 0", "direction of length 1"),
        ("direction 0 1 0", "direction 0 0 0", "direction of length 1"),
        ("direction 0 1 0", "direction 0 1", "three numbers.*'lower'"),
        ("    dof rz", "    dof rz l", r"ones of \['rx', 'ry', 'rz'\].*'l'"),
        ("    dof rz", "    dof tx", r"degrees of freedom.*'lower'.*'tx'"),
        ("    dof rz", "    dof rz rz", "different ones.*'lower'"),
        ("    dof rz", "    dof rw", "different ones.*'lower'"),
        ("RX RY RZ", "RX RY RZ L", "degrees of freedom of 'root'.*'L'"),
        ("   order TX TY TZ RX RY RZ\n", "", "'root'.*lacks its order"),
        ("position 0 0 0", "position 0 1 0", "'position' of 'root'.*not zero"),
        ("orientation 0 0 0", "orientation 0 0 9", "'orientation' of 'root'"),
        ("name lower", "name upper", "Bone 'upper' is described twice"),
        ("name lower", "name root", "Bone 'root' is described twice"),
        (
            "    upper lower",
            "    upper lower\n    root lower",
            "'lower' is listed",
        ),
        ("    root upper", "    lower upper", "Bone 'upper' lacks.*other"),
        ("    upper lower", "    lower lower", "Bone 'lower' lacks.*other"),
        ("    root upper", "    lower upper\n    x root", "none of the root"),
        ("angle deg", "angle RAD", "degrees"),
        ("angle deg", "", r"degrees.*Received: \[\]"),
        ("angle deg", "angle deg\n angle rad", "degrees"),
        (
            ":hierarchy",
            ":units\n angle rad\n:hierarchy",
            "':units' comes twice",
        ),
        (
            "     name lower",
            "  begin\n     name lower",
            "begins before the last",
        ),
        ("    dof rz\n  end\n", "    dof rz\n", "last bone has no end"),
    ],
)
def test_faulty_skeleton(tmp_path, old, new, message):
    skeleton(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        skeleton(tmp_path, (old, new))
    assert str(tmp_path / "1.asf") in str(caught.value)


def test_a_skeleton_in_other_letters_and_bytes(tmp_path):
    expected = skeleton(tmp_path)
    text = mocap.ASF.format(axis=0)
    text = text.replace("angle deg", "angle DEG").replace("dof rz", "dof RZ")
    # 0x85 is a character of Windows and the end of a line for Python.
    text = text.replace("# comment", "# caf\xe9 \x85length 5")
    for ending in ("\n", "\r\n", "\r"):
        path = tmp_path / "2.asf"
        path.write_bytes(text.replace("\n", ending).encode("latin-1"))
        found = acclaim.read_skeleton(path)
        np.testing.assert_array_equal(found.offsets, expected.offsets)
        assert found.degrees_of_freedom == expected.degrees_of_freedom


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\0" * 99, b"\xff\xfe:\0r\0"]
)
def test_no_skeleton_and_no_motion(tmp_path, content):
    bones = skeleton(tmp_path)
    path = tmp_path / "2"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        acclaim.read_skeleton(path)
    with pytest.raises(ValueError, match=str(path)):
        acclaim.read_motion(path, bones)


def test_pipes_and_endless_files(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is not a file"):
        acclaim.read_skeleton(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is not a file"):
        npz.read_npz(tmp_path / "pipe", ["X"])
    with pytest.raises(ValueError, match="pipe is not a file"):
        Jets(tmp_path / "pipe", "labels")
    monkeypatch.setattr(acclaim.parse, "LARGEST", 100)
    with pytest.raises(ValueError, match="1.asf is larger than 100 bytes"):
        skeleton(tmp_path)


# Motion capture: motions.


def motion(tmp_path, text):
    bones = skeleton(tmp_path)
    path = mocap.write(tmp_path / "1.amc", text)
    return acclaim.joint_positions(bones, acclaim.read_motion(path, bones))


FRAME = mocap.frame(1, root=(1, 2, 3, 0, 0, 90))


@pytest.mark.parametrize("head", ["", ":DEGREES", ":DEG", ":degrees\n:DEG"])
def test_degrees(tmp_path, head):
    head += "\n:FULLY-SPECIFIED\n:SAMPLES-PER-SECOND 120\n"
    x = motion(tmp_path, head + FRAME)
    np.testing.assert_allclose(x[0], [[1, 2, 3], [1, 4, 3], [-2, 4, 3]])


@pytest.mark.parametrize("head", [":RADIANS", ":RAD", ":radians"])
def test_radians(tmp_path, head):
    """Angles are converted, positions are not."""
    radians = mocap.frame(1, root=(1, 2, 3, 0, 0, np.pi / 2))
    x = motion(tmp_path, f"{head}\n{radians}")
    np.testing.assert_allclose(x[0], [[1, 2, 3], [1, 4, 3], [-2, 4, 3]])


@pytest.mark.parametrize(
    "text, message",
    [
        (f":GRADIANS\n{FRAME}", "Unexpected line ':GRADIANS'.*line 1"),
        (f":DEGREES\n:RADIANS\n{FRAME}", "Unexpected line ':RADIANS'.*line 2"),
        (f":SAMPLES-PER-SECOND 60\n{FRAME}", "SECOND 60.*SECOND 120"),
        (f"{FRAME}\n:RADIANS", ":RADIANS in line 5.*after a frame"),
        (FRAME.replace("90", "1_0"), "Bad number for 'root'.*'1_0'"),
        (FRAME.replace("90", "nan"), "Bad number for 'root'.*'nan'"),
        (FRAME.replace("90", "-inf"), "Bad number for 'root'.*'-inf'"),
        (FRAME.replace("90", "1e400"), "Bad number for 'root'.*'1e400'"),
        (FRAME.replace("90", "0x1"), "Bad number for 'root'.*'0x1'"),
        (FRAME.replace("90", "90 0"), "6 values for 'root'.*7"),
        (FRAME.replace(" 90", ""), "6 values for 'root'.*5"),
        (FRAME + "\nlower 5", "'lower' comes twice in frame 1.*line 5"),
        (FRAME + "\n" + mocap.frame(1), "not consecutive.*1 follows 1"),
        (mocap.frame(2) + "\n" + FRAME, "not consecutive.*1 follows 2"),
        (FRAME + "\n\xb2\n" + mocap.frame(2), "Unknown bone '.*' in frame 1"),
        (FRAME + "\n" + "9" * 5000, "Unknown bone '9"),
    ],
)
def test_faulty_motion(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        motion(tmp_path, text)
    assert str(tmp_path / "1.amc") in str(caught.value)


# Motion capture: windows.


def run_09(tmp_path, rng, **changes):
    data = mocap.run_09_arrays(rng)
    for key, change in changes.items():
        data[key] = change(data[key])
    np.savez(tmp_path / "cmu09_run.npz", **data)
    return read_run_09(tmp_path / "cmu09_run.npz", 30)


def at(value, place=(0, 0)):
    def change(array):
        array[place] = value
        return array

    return change


def test_run_09(tmp_path, rng):
    arrays = run_09(
        tmp_path, rng, val_start=at(99), train_start=at(200, (0, 41))
    )
    data = dict(np.load(tmp_path / "cmu09_run.npz"))
    last = data["X"][5 * 130 + 99]
    np.testing.assert_array_equal(arrays["validation"]["positions"][0], last)
    np.testing.assert_array_equal(
        arrays["validation"]["targets"][0], data["X"][6 * 130 - 1]
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"val_start": at(100)}, r"within\s+their trial. Trial 5.*frame 100"),
        ({"val_start": at(129)}, "Trial 5 has 130 frames"),
        ({"val_start": at(-1)}, "at least 0.*val_start.*-1"),
        ({"val_start": lambda a: a + 0.5}, "Expected integers as 'val_start'"),
        ({"val_start": lambda a: a[:1]}, r"'val_start' of shape \(2, T\)"),
        ({"val_start": lambda a: a[:, :9]}, r"val_start must have 80"),
        ({"val_case": at(10, 0)}, "val_case must name trials 0 to 9.*10"),
        ({"val_case": at(-1, 0)}, "val_case must name trials 0 to 9.*-1"),
        ({"val_case": lambda a: a.astype("f8")}, "integers as 'val_case'"),
        ({"val_case": lambda a: a * 0 + 7}, "'validation' and 'test'"),
        ({"length": lambda a: a[:9]}, "sum of `length`"),
        ({"length": lambda a: a - 130 * (a > 0)}, "sum of `length`"),
        ({"length": lambda a: a.astype("f8")}, "integers as 'length'"),
        ({"X": at(np.nan, (700, 3, 1))}, r"'X'.*NaN.*\[700, 3, 1\]"),
        ({"X": at(np.inf, (700, 3, 1))}, "'X'.*infinite"),
        ({"X": lambda a: a + 0j}, "'X'.*complex128"),
        ({"X": lambda a: a.astype("i4")}, "'X'.*int32"),
        ({"X": lambda a: a.astype("f2")}, "'X'.*float16"),
        ({"X": lambda a: a.astype("U")}, "'X'.*<U"),
        ({"X": lambda a: a.astype(object)}, "'X.npy' holds Python objects"),
        ({"X": lambda a: a[:, :30]}, r"'X' of shape \(T, 31, 3\)"),
    ],
)
def test_faulty_run_09(tmp_path, rng, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        run_09(tmp_path, rng, **changes)
    assert "cmu09_run.npz" in str(caught.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"test": (1,)}, "trial 1 .*'train' and 'test'.*'any_99'"),
        ({"train": {1: [5, -1]}}, "at least 0.*`train`, trial 1"),
        ({"train": {1: [0.5]}}, "integers.*`train`, trial 1"),
        ({"train": {1: []}}, "integers.*`train`, trial 1"),
        ({"train": {1: [30]}}, "60 frames, too few for windows of 31"),
    ],
)
def test_faulty_windows(tmp_path, changes, message):
    mocap.write_subject(tmp_path / "manual")
    mocap.load("train", mocap.config(), tmp_path / "good", tmp_path / "manual")
    with pytest.raises(ValueError, match=message):
        mocap.load(
            "train", mocap.config(**changes), tmp_path, tmp_path / "manual"
        )


@pytest.mark.parametrize(
    "cls, changes, message",
    [
        (CmuMocapConfig, {"horizon": 0}, "`horizon`.*at least 1"),
        (CmuMocapConfig, {"horizon": -30}, "`horizon`.*-30"),
        (CmuMocapConfig, {"windows": 0}, "`windows`.*at least 1"),
        (MoleculeConfig, {"horizon": -1}, "`horizon`.*-1"),
        (MoleculeConfig, {"horizon": 1.5}, "`horizon`.*1.5"),
        (MoleculeConfig, {"train": 0}, "`train`.*0"),
        (XtbMdConfig, {"horizon": 105}, "`horizon`.*multiple of 10"),
        (XtbMdConfig, {"steps": 2001}, "`steps`.*multiple of 2000"),
    ],
)
def test_faulty_configurations(cls, changes, message):
    needed = {"name": "any"}
    needed |= {"subject": 9} if cls is CmuMocapConfig else {}
    if cls is not CmuMocapConfig:
        needed |= {"molecule": "ethanol", "atoms": 9}
    cls(**needed)
    with pytest.raises(ValueError, match=message):
        cls(**needed, **changes)


# Molecules.

X = molecules.trajectory
BOHR = 0.529177


def read_md17(tmp_path, **changes):
    molecules.write_md17(tmp_path, **changes)
    path = tmp_path / "md17_ethanol.npz"
    return md17.read(path, ("R", "z"), ("E",), ("F",))


def scaled(first, factor, last=None):
    x = X()
    x[first:last] *= factor
    return x


def atom_twice():
    x = X()
    x[150, 4] = x[150, 0]
    return x


Z = np.array(molecules.ETHANOL["numbers"])


def test_good_molecules(tmp_path, shared_data):
    forces = np.zeros((200, 9, 3))
    x, z = read_md17(tmp_path, F=forces, E=np.zeros(200), R=X().astype("f4"))
    assert x.shape == (200, 9, 3) and (z == Z).all()
    for path in sorted((shared_data / "dft_molecules").glob("*.npz")):
        data = npz.read_npz(path, ["z"])
        keys = [k for k in np.load(path).files if k.endswith("_R")]
        for positions in npz.read_npz(path, keys).values():
            assert positions.shape[1:] == (len(data["z"]), 3)
            check_angstrom(positions, path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"R": scaled(1, 1 / BOHR)}, "in frame 1 of .*This looks like bohr"),
        ({"R": scaled(199, 1 / BOHR)}, "in frame 199 of .*bohr"),
        ({"R": scaled(77, 1 / BOHR, 78)}, "in frame 77 of .*bohr"),
        ({"R": scaled(1, 0.1)}, "Expected positions in Angstrom.*frame 1 of"),
        ({"R": scaled(0, 10)}, "Expected positions in Angstrom.*frame 0 of"),
        ({"R": scaled(100, 1.45)}, "as in frame 0.*in frame 100 of"),
        ({"R": atom_twice()}, "Atoms 0 and 4 of frame 150.*0 Angstrom apart"),
        ({"R": at(np.nan, (9, 1, 2))(X())}, r"'R'.*NaN.*\[9, 1, 2\]"),
        ({"R": X() + 0j}, "'R'.*complex128"),
        ({"R": X().astype("i8")}, "'R'.*int64"),
        ({"R": X().astype("f2")}, "'R'.*float16"),
        ({"R": X().astype(object)}, "'R.npy' holds Python objects"),
        ({"R": X()[0]}, r"'R' of shape \(T, 9, 3\)"),
        ({"R": X()[:0]}, r"'R' of shape \(T, 9, 3\)"),
        ({"R": X()[..., :2]}, r"'R' of shape \(T, 9, 3\)"),
        ({"z": np.tile(Z, (200, 1))}, r"'z' of shape \(T\)"),
        ({"z": np.tile(Z, (9, 1))}, r"'z' of shape \(T\)"),
        ({"z": Z[:8]}, r"'R' of shape \(T, 8, 3\)"),
        ({"z": Z.astype("f8")}, "Expected integers as 'z'"),
        ({"z": np.array(list("CCOHHHHHH"))}, "Expected integers as 'z'"),
        ({"z": Z - 1}, "1 to 118, as 'z'"),
        ({"z": Z * 20}, "1 to 118, as 'z'"),
        ({"E": np.zeros(199)}, r"'E' of shape \(200\)"),
        ({"E": np.zeros((199, 1))}, r"'E' of shape \(200, 1\)"),
        ({"E": np.zeros((200, 9))}, r"'E' of shape \(200\)"),
        ({"E": at(np.nan, 5)(np.zeros(200))}, r"'E'.*NaN.*\[5\]"),
        ({"F": np.zeros((200, 8, 3))}, r"'F' of shape \(200, 9, 3\)"),
        ({"F": np.zeros((100, 9, 3))}, r"'F' of shape \(200, 9, 3\)"),
        ({"F": at(np.inf, (3, 3))(np.zeros((200, 9, 3)))}, "'F'.*infinite"),
    ],
)
def test_faulty_molecules(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_md17(tmp_path, **changes)
    assert "md17_ethanol.npz" in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (at(-1, 3), "'old_indices'.*at least 0"),
        (lambda a: at(a[5], 3)(a), "'old_indices'.*none twice"),
        (lambda a: a[:-1], r"'old_indices' of shape \(170\)"),
        (lambda a: a + 0.5, "integers as 'old_indices'"),
    ],
)
def test_faulty_places(tmp_path, change, message):
    molecules.write_rmd17(tmp_path)
    path = tmp_path / "rmd17_ethanol.npz"
    data = dict(np.load(path))
    np.savez(path, **{**data, "old_indices": change(data["old_indices"])})
    with pytest.raises(ValueError, match=message):
        molecules.load("rmd17", "train", tmp_path)


def chunks(folder, count=2, **changes):
    """A trajectory of 200 frames in each file."""
    molecules.write_chunks(folder)
    place = folder / "xtb_md/ethanol"
    for i in range(1, count):
        chunk = dict(np.load(place / "chunk_00000.npz"))
        chunk.update(changes)
        chunk = {key: a for key, a in chunk.items() if a is not None}
        np.savez(place / f"chunk_{i:05}.npz", **chunk)
    return place


def test_good_chunks(tmp_path):
    x, v, e = simulator.trajectory("ethanol", chunks(tmp_path, 3), 6000)
    assert x.shape == v.shape == (600, 9, 3) and e.shape == (600,)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"velocities": None}, "chunk_00001.npz lacks 'velocities'"),
        ({"positions": X()[:, :8]}, r"'positions' of shape \(200, 9, 3\)"),
        ({"positions": X()[:150]}, r"'positions' of shape \(200, 9, 3\)"),
        ({"total_energy": np.zeros(150)}, r"'total_energy' of shape \(200\)"),
        ({"velocities": X() * np.nan}, "'velocities'.*chunk_00001.*NaN"),
        ({"velocities": X() + 0j}, "'velocities'.*chunk_00001.*complex"),
    ],
)
def test_faulty_chunks(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        simulator.trajectory("ethanol", chunks(tmp_path, **changes), 4000)


def test_chunks_of_another_run(tmp_path):
    place = chunks(tmp_path)
    run = simulator._run("ethanol", 300.0, 0)
    np.savez(place / "start.npz", run=run, x=np.zeros((9, 3)))
    with pytest.raises(ValueError, match="holds another run.*300"):
        simulator.trajectory("ethanol", place, 4000)


def test_a_chunk_that_is_missing_is_not_skipped(tmp_path, monkeypatch):
    place = chunks(tmp_path, 3)
    (place / "chunk_00001.npz").unlink()
    asked = []

    def simulate(molecule, folder, steps, verbose):
        asked.append(steps)
        raise ImportError("tblite")

    monkeypatch.setattr(simulator, "simulate", simulate)
    with pytest.raises(ImportError):
        simulator.trajectory("ethanol", place, 4000)
    assert asked == [4000]


# Jets.


def table(path, rng, labels=(0, 1, 0), change=None, **kwargs):
    numbers = np.zeros((3, 804), "float32")
    numbers[:, :120] = jets.momenta(rng, 3).reshape(3, 120)
    if change is not None:
        numbers = change(numbers)
    jets.write_table(path, numbers, labels, **kwargs)


def rewrite(path, change):
    with h5py.File(path, "r+") as file:
        data = file["table/table"][:]
        del file["table/table"]
        file["table/table"] = change(data)


def retyped(**kinds):
    def change(data):
        types = [
            (
                name,
                kinds.get(name, data.dtype[name].base),
                data.dtype[name].shape,
            )
            for name in data.dtype.names
        ]
        result = np.zeros(len(data), types)
        for name in data.dtype.names:
            result[name] = data[name]
        return result

    return change


def mixed(data):
    data["values_block_1"][1, 0] = 2
    return data


def elsewhere(path):
    os.replace(path, path.with_name("other.h5"))
    with h5py.File(path, "w") as file:
        file["table/table"] = h5py.ExternalLink("other.h5", "table/table")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, r: p.write_bytes(p.read_bytes()[:3000]), "HDF5 file"),
        (lambda p, r: p.write_bytes(b""), "HDF5 file"),
        (lambda p, r: elsewhere(p), "lies in another file"),
        (
            lambda p, r: table(p, r, labels=(0, 1, 2)),
            r"labels 0 and 1.*\[0, 1, 2\]",
        ),
        (lambda p, r: table(p, r, labels=(0, 1, -1)), "labels 0 and 1"),
        (lambda p, r: rewrite(p, mixed), "one split of all jets"),
        (
            lambda p, r: rewrite(p, retyped(values_block_1="f4")),
            "integers in `values_block_1`.*float32",
        ),
        (
            lambda p, r: rewrite(p, retyped(values_block_0="i8")),
            "real numbers in `values_block_0`.*int64",
        ),
        (
            lambda p, r: rewrite(p, retyped(values_block_0="c8")),
            "real numbers in `values_block_0`.*complex64|Expected an HDF5",
        ),
        (lambda p, r: rewrite(p, lambda d: d[:0]), "at least one jet"),
        (lambda p, r: table(p, r, change=lambda a: -a), "E of at least"),
        (
            lambda p, r: table(p, r, change=lambda a: np.roll(a, 1, axis=1)),
            r"E of at least \|p\|.*constituent 0 of jet 0",
        ),
        (lambda p, r: table(p, r, change=lambda a: 1000 * a), "momenta in GeV"),
        (lambda p, r: table(p, r, change=lambda a: a / 1000), "momenta in GeV"),
    ],
)
def test_faulty_jets(tmp_path, rng, change, message):
    path = tmp_path / "val.h5"
    table(path, rng)
    features = ("four_momenta", "mask", "labels")
    assert [Jets(path, f)[0:3].shape for f in features] == [
        (3, 200, 4),
        (3, 200),
        (3, 1),
    ]
    change(path, rng)
    with pytest.raises(ValueError, match=message) as caught:
        for feature in features:
            Jets(path, feature)[0:3]
    assert "val.h5" in str(caught.value)
