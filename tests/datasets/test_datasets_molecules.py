"""md17, rmd17, xtb_md: windows, units, files; the simulator where installed."""

import importlib.util

import numpy as np
import pytest

from keras_remul import cli, datasets
from keras_remul.datasets.xtb_md import simulator

pytestmark = pytest.mark.backend_independent

ETHANOL = simulator.MOLECULES["ethanol"]


def config(**kwargs):
    from keras_remul.datasets.molecules import MoleculeConfig

    sizes = {"train": 20, "validation": 10, "test": 10, "horizon": 30}
    names = {"name": "small", "molecule": "ethanol", "atoms": 3}
    return MoleculeConfig(**{**names, **sizes, **kwargs})


def load(dataset, split, tmp_path, **kwargs):
    return datasets.load(
        dataset,
        split,
        config=config(**kwargs),
        data_dir=tmp_path / "data",
        manual_dir=tmp_path,
        verbose=0,
    )


def trajectory(frames=200):
    """Ethanol; all coordinates grow by 1e-3 t^2, so that times can be read."""
    t = np.arange(frames)[:, None, None]
    return np.array(ETHANOL["positions"]) + 1e-3 * t**2


def write_md17(path, **kwargs):
    arrays = {"R": trajectory(), "z": np.array(ETHANOL["numbers"], "uint8")}
    arrays = {**arrays, "E": np.zeros((200, 1)), **kwargs}
    arrays = {key: a for key, a in arrays.items() if a is not None}
    np.savez(path / "md17_ethanol.npz", **arrays)


def times(x):
    moved = x[:, 0, 0] - ETHANOL["positions"][0][0]
    return np.round(np.sqrt(np.maximum(moved, 0) / 1e-3)).astype(int)


def test_md17(tmp_path):
    write_md17(tmp_path)
    pairs = load("md17", ["train", "validation", "test"], tmp_path)
    assert [len(y) for _, y in pairs] == [20, 10, 10]
    found = []
    for x, y in pairs:
        assert y.shape == (len(y), 3, 3)  # hydrogen left out
        assert x["atomic_numbers"][0, :, 0].tolist() == [6, 6, 8]
        t = times(x["positions"])
        np.testing.assert_array_equal(times(y), t + 30)
        v = np.broadcast_to(1e-3 * (2 * t + 1)[:, None, None], y.shape)
        np.testing.assert_allclose(x["velocities"], v, atol=1e-5)
        found.extend(t)
    assert len(set(found)) == 40  # no window in two splits


def write_rmd17(path):
    old = np.random.default_rng(0).permutation(200)[:170]
    arrays = {
        "coords": trajectory()[old],
        "nuclear_charges": np.array(ETHANOL["numbers"]),
        "old_indices": old,
    }
    np.savez(path / "rmd17_ethanol.npz", **arrays)
    return old


def test_rmd17_has_gaps_and_no_order(tmp_path):
    old = write_rmd17(tmp_path)
    x, y = load("rmd17", "train", tmp_path)
    t = times(x["positions"])
    np.testing.assert_array_equal(times(y), t + 30)
    assert set(t) | set(t + 1) | set(t + 30) <= set(old)
    with pytest.raises(ValueError, match="at least 520 windows"):
        load("rmd17", "train", tmp_path, name="large", train=500)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"R": trajectory() / 0.529177}, "Angstrom.*This looks like bohr"),
        ({"R": trajectory() / 10}, "Expected positions in Angstrom"),
        ({"R": None, "coords": trajectory()}, "Missing: .'R'..*'coords'"),
        ({"R": trajectory()[:, :8]}, r"shape \(T, 9, 3\).*\(200, 8, 3\)"),
        ({"z": np.full(9, 6)}, "Expected 3 atoms other.*Received: 9"),
        ({"R": trajectory(40), "E": None}, "at least 40 windows.*with 10"),
    ],
)
def test_bad_md17_file(tmp_path, change, message):
    write_md17(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        load("md17", "train", tmp_path)


def test_windows_by_time_stay_apart():
    from keras_remul.datasets.molecules import windows_by_time

    parts = windows_by_time(1000, 50, (200, 150, 150), seed=0)
    covered = [set(part) | set(part + 50) for part in parts]
    assert max(covered[0]) < 400 and max(covered[1]) < 700
    assert min(covered[1]) >= 450 and min(covered[2]) >= 750
    again = windows_by_time(1000, 50, (200, 150, 150), seed=0)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))
    with pytest.raises(ValueError, match="at least 300 windows"):
        windows_by_time(1000, 50, (200, 300, 150), seed=0)


def write_chunks(path, frames=200):
    folder = path / "xtb_md" / "ethanol"
    folder.mkdir(parents=True)
    x = trajectory(frames)
    chunk = {"positions": x, "velocities": 0 * x + 2.0}
    # 9 atoms; the energy rises by 9 meV in each ps, and 5 fs a frame.
    chunk["total_energy"] = 9e-3 * 5e-3 * np.arange(frames)
    np.savez(folder / "chunk_00000.npz", **chunk)


def test_xtb_md_reads_a_trajectory_that_is_there(tmp_path, capsys):
    write_chunks(tmp_path)
    x, y = datasets.load(
        "xtb_md/tiny",
        data_dir=tmp_path / "data",
        manual_dir=tmp_path,
        verbose=0,
    )
    np.testing.assert_array_equal(
        times(y), times(x["positions"]) + 100 // simulator.SAVE_EVERY
    )
    assert (x["velocities"] == 2).all() and y.shape == (20, 9, 3)
    place = ["--data-dir", str(tmp_path / "data")]
    assert cli.main(["datasets", "info", "xtb_md/tiny", *place]) == 0
    out = capsys.readouterr().out
    assert "keras-remul[md]" in out
    (line,) = [line for line in out.splitlines() if "energy drift" in line]
    assert "1.0" in line


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "chunk_00000.npz"

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        simulator.write_chunk(path, x=np.zeros(3))
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"PK\x03\x04 cut short")
    assert simulator.read_chunk(path) is None


def test_simulate_names_the_wrong_argument(tmp_path):
    with pytest.raises(ValueError, match="multiple of 2000.*steps=10"):
        simulator.simulate("ethanol", tmp_path, steps=10)


INSTALLED = importlib.util.find_spec("tblite")


@pytest.mark.skipif(bool(INSTALLED), reason="tblite is installed.")
def test_without_tblite(tmp_path):
    with pytest.raises(ImportError, match=r"keras-remul\[md\]"):
        simulator.simulate("ethanol", tmp_path)


@pytest.fixture
def short(monkeypatch):
    if not INSTALLED:
        pytest.skip("needs the extra `md`: tblite and ASE")
    monkeypatch.setattr(simulator, "CHUNK", 50)
    monkeypatch.setattr(simulator, "EQUILIBRATION", 50)


def simulate(folder, steps, **kwargs):
    return simulator.simulate("ethanol", folder, steps, verbose=0, **kwargs)


def test_simulation_goes_on_where_it_stopped(short, tmp_path):
    whole = simulate(tmp_path / "a", 150)
    simulate(tmp_path / "b", 100)
    (tmp_path / "b" / "chunk_00001.npz").write_bytes(b"damaged")
    parts = simulate(tmp_path / "b", 150)
    for a, b in zip(whole, parts, strict=True):
        assert a.read_bytes() == b.read_bytes()
    with pytest.raises(ValueError, match="holds another run"):
        simulate(tmp_path / "a", 150, seed=1)


def test_energy_and_momenta_are_kept(short, tmp_path):
    chunks = [dict(np.load(path)) for path in simulate(tmp_path, 150)]
    energy = np.concatenate([chunk["total_energy"] for chunk in chunks])
    potential = np.concatenate([c["potential_energy"] for c in chunks])
    assert np.ptp(energy) < 0.02 and np.ptp(potential) > 0.1  # eV
    v = np.concatenate([chunk["velocities"] for chunk in chunks])
    x = np.concatenate([chunk["positions"] for chunk in chunks])
    mass = {1: 1.008, 6: 12.011, 8: 15.999}
    m = np.array([mass[n] for n in ETHANOL["numbers"]])[:, None]
    assert np.abs((m * v).sum(1)).max() < 1e-6 < np.abs(m * v).max()
    angular = np.cross(x, m * v)
    assert np.abs(angular.sum(1)).max() < 1e-4 < np.abs(angular).max()
