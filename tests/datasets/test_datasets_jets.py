"""top_jets: files of the public set, baselines, the simulator."""

import importlib.util

import h5py
import numpy as np
import pytest

from keras_remul import cli, datasets
from keras_remul.datasets.top_jets import simulator
from keras_remul.evaluation.tagging import area_under_curve
from keras_remul.experiments import tagging

pytestmark = pytest.mark.backend_independent

SIZES = {"train.h5": 6, "val.h5": 4, "test.h5": 4}


def momenta(rng, size, constituents=30):
    """Massless constituents in one direction, the hardest first."""
    p = rng.exponential(20, size=(size, constituents))
    p = -np.sort(-p, axis=1)[..., None]
    direction = np.array([0.6, 0.0, 0.8]) + 0.1 * rng.normal(
        size=(size, constituents, 3)
    )
    space = p * direction
    energy = np.linalg.norm(space, axis=-1, keepdims=True)
    return np.concatenate([energy, space], axis=-1).astype("float32")


def write_table(path, numbers, labels, **kwargs):
    """As pandas writes a frame with `format="table"`."""
    table = np.zeros(
        len(numbers),
        [
            ("index", "i8"),
            ("values_block_0", "f4", numbers.shape[1:]),
            ("values_block_1", "i8", (2,)),
        ],
    )
    table["values_block_0"] = numbers
    table["values_block_1"][:, 1] = labels
    with h5py.File(path, "w") as file:
        file.create_dataset("table/table", data=table, **kwargs)


def write_files(folder):
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        numbers = np.zeros((size, 804))
        numbers[:, :120] = momenta(rng, size).reshape(size, 120)
        write_table(folder / name, numbers, np.arange(size) % 2)


def load(split, tmp_path, **kwargs):
    return datasets.load(
        "top_jets/reference",
        split,
        data_dir=tmp_path / "data",
        manual_dir=tmp_path,
        verbose=0,
        **kwargs,
    )


def test_reference_files(tmp_path):
    write_files(tmp_path)
    pairs = load(["train", "validation", "test"], tmp_path)
    assert [len(y) for _, y in pairs] == [6, 4, 4]
    x, y = pairs[0]
    expected = momenta(np.random.default_rng(0), 6)
    assert x["four_momenta"].shape == (6, 200, 4)
    np.testing.assert_array_equal(x["four_momenta"][:, :30], expected)
    assert (x["four_momenta"][:, 30:] == 0).all()
    assert (x["mask"].sum(1) == 30).all() and x["mask"].shape == (6, 200)
    np.testing.assert_array_equal(y[:, 0], [0, 1, 0, 1, 0, 1])
    symmetry = datasets.symmetry("top_jets")
    symmetry.check_inputs(x)
    moved = symmetry.transform_inputs(symmetry.group.sample(6, seed=0), x)
    moved = {key: np.asarray(value) for key, value in moved.items()}
    np.testing.assert_allclose(tagging.mass(moved), tagging.mass(x), rtol=1e-3)
    assert (moved["four_momenta"][:, 30:] == 0).all()


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda p: p.write_bytes(b"\x89HDF cut short"), "Expected an HDF5"),
        (
            lambda p: write_table(p, np.zeros((3, 80)), [0, 1, 0]),
            "at least 800 numbers.*Received: 80",
        ),
        (
            lambda p: write_table(p, np.full((3, 804), np.nan), [0, 1, 0]),
            "'four_momenta'.*'validation'.*NaN",
        ),
    ],
)
def test_bad_files(tmp_path, write, message):
    write_files(tmp_path)
    write(tmp_path / "val.h5")
    with pytest.raises(ValueError, match=message):
        load("train", tmp_path)


def test_area_under_curve():
    labels = np.array([0, 0, 1, 1, 0])
    scores = np.array([0.1, 0.4, 0.4, 0.9, 0.2])
    pairs = [
        (1.0 if a > b else 0.5 if a == b else 0.0)
        for a in scores[labels > 0]
        for b in scores[labels == 0]
    ]
    assert area_under_curve(scores, labels) == np.mean(pairs)


def test_baselines_of_the_reference_jets(shared_data):
    with np.load(shared_data / "top_jets_pythia/top_qcd_jets_12k.npz") as file:
        x, labels = {"four_momenta": file["jet_p4"][:, None]}, file["label"]
    auc = area_under_curve(-abs(tagging.mass(x) - 172), labels)
    assert abs(auc - 0.958) < 0.001


def test_baselines_command(tmp_path, capsys):
    write_files(tmp_path)
    place = ["--data-dir", str(tmp_path / "d"), "--manual-dir", str(tmp_path)]
    name = "top_jets/reference"
    assert cli.main(["datasets", "baselines", name, *place]) == 0
    out = capsys.readouterr().out
    assert "AUC" in out and "mass" in out and "Lorentz" in out


INSTALLED = importlib.util.find_spec("pythia8mc")


@pytest.mark.skipif(bool(INSTALLED), reason="Pythia is installed.")
def test_without_pythia(tmp_path):
    with pytest.raises(ImportError, match=r"keras-remul\[jets\]"):
        datasets.load("top_jets/tiny", data_dir=tmp_path, verbose=0)


@pytest.mark.skipif(not INSTALLED, reason="needs the extra `jets`: Pythia")
def test_simulated_jets():
    p, labels = simulator.simulate(40, seed=7, verbose=0)
    again, _ = simulator.simulate(40, seed=7, verbose=0)
    np.testing.assert_array_equal(p, again)
    assert p.shape == (40, 50, 4) and labels.sum() == 20
    pt = np.hypot(p[..., 1], p[..., 2])
    assert (np.diff(pt, axis=1) <= 1e-4).all()
    total = p.sum(1)
    assert (np.hypot(total[:, 1], total[:, 2]) < 650).all()
    mass = tagging.mass({"four_momenta": p})
    assert np.median(mass[labels > 0]) > 140 > np.median(mass[labels == 0])


@pytest.mark.skipif(not INSTALLED, reason="needs the extra `jets`: Pythia")
def test_light_jets_are_those_of_the_reference(shared_data):
    p, labels = simulator.simulate(20, seed=1000, verbose=0)
    with np.load(shared_data / "top_jets_pythia/top_qcd_jets_12k.npz") as file:
        known, label = file["p4"], file["label"]
    known = {jet.tobytes() for jet in known[label == 0]}
    assert all(jet.tobytes() in known for jet in p[labels == 0])
