"""`from_ase`: arrays, padding, periods, labels, and what is refused."""

import numpy as np
import pytest

from keras_remul import datasets
from keras_remul.datasets import structures

pytestmark = pytest.mark.backend_independent

ase = pytest.importorskip("ase", reason="needs the extra `md`: ASE")
from ase import build, db, io  # noqa: E402
from ase.calculators.singlepoint import SinglePointCalculator  # noqa: E402

ENERGY = -97208.40600498248  # float32 keeps two digits of it after the point


def labelled(atoms, energy=ENERGY, seed=0, **more):
    forces = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    results = {"energy": energy, "forces": forces, **more}
    results = {key: one for key, one in results.items() if one is not None}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def molecule(name="CH3CH2OH", **kwargs):
    return labelled(build.molecule(name), **kwargs)


def crystal(**kwargs):
    return labelled(build.bulk("NaCl", "rocksalt", a=5.64), **kwargs)


def test_molecules_of_one_size():
    first, second = molecule(), molecule(energy=1.0, seed=1)
    x, y = datasets.from_ase([first, second])
    assert set(x) == {"positions", "atomic_numbers"}
    assert set(y) == {"energy", "forces"}
    np.testing.assert_allclose(x["positions"][1], second.positions, rtol=1e-6)
    assert x["atomic_numbers"].dtype == "int32"
    assert x["atomic_numbers"][0, :, 0].tolist() == first.numbers.tolist()
    assert y["energy"].shape == (2, 1) and y["energy"][0, 0] == ENERGY
    assert float(np.float32(ENERGY)) != ENERGY
    np.testing.assert_allclose(y["forces"][1], second.get_forces(), rtol=1e-6)


def test_padding():
    x, y = datasets.from_ase([molecule("H2O"), molecule()])
    assert x["mask"].tolist() == [[1.0] * 3 + [0.0] * 6, [1.0] * 9]
    for array in (x["positions"], x["atomic_numbers"], y["forces"]):
        assert not array[0, 3:].any() and array[1, 3:].any(axis=0).any()


def test_boxes_only_where_periodic():
    vacuum = molecule()
    vacuum.center(vacuum=5.0)  # a cell, but no period
    vacuum = labelled(vacuum)
    x, _ = datasets.from_ase([vacuum])
    assert "box" not in x
    slab = labelled(build.fcc111("Al", (1, 1, 2), vacuum=5.0))
    salt = crystal()
    x, _ = datasets.from_ase([vacuum, slab, salt])
    assert not x["box"][0].any()
    np.testing.assert_allclose(x["box"][1][:2], slab.cell[:2], rtol=1e-6)
    assert not x["box"][1][2].any()
    np.testing.assert_allclose(x["box"][2], salt.cell, rtol=1e-6)


def test_stress_is_that_of_ase():
    stress = np.arange(1.0, 7.0)
    salt = crystal(stress=stress)
    _, y = datasets.from_ase(salt)
    full = salt.get_stress(voigt=False)
    np.testing.assert_allclose(y["stress"][0], full, rtol=1e-6)
    assert full[0, 1] != full[0, 2]


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.db", "a.traj"])
def test_files(tmp_path, name):
    images = [molecule("H2O"), molecule(seed=1)]
    if name == "a.db":
        with db.connect(tmp_path / name) as base:
            for one in images:
                base.write(one)
    else:
        io.write(tmp_path / name, images)
    x, y = datasets.from_ase(str(tmp_path / name))
    expected_x, expected_y = datasets.from_ase(images)
    assert set(x) == set(expected_x) and set(y) == set(expected_y)
    for key in expected_x:
        np.testing.assert_allclose(x[key], expected_x[key], atol=1e-6)
    np.testing.assert_allclose(y["energy"], expected_y["energy"], rtol=1e-12)
    np.testing.assert_allclose(y["forces"], expected_y["forces"], atol=1e-6)


def test_labels_of_other_names():
    atoms = build.molecule("H2O")
    atoms.info["REF_energy"] = -3.0
    atoms.arrays["REF_forces"] = np.ones((3, 3))
    _, y = datasets.from_ase([atoms], "REF_energy", "REF_forces")
    assert y["energy"].tolist() == [[-3.0]] and (y["forces"] == 1).all()
    _, y = datasets.from_ase([atoms])
    assert y == {}


def test_constraints_do_not_change_the_forces():
    from ase.constraints import FixAtoms

    atoms = molecule()
    atoms.set_constraint(FixAtoms([0]))
    _, y = datasets.from_ase([atoms])
    assert y["forces"][0, 0].any() and not atoms.get_forces()[0].any()


def moved():
    atoms = molecule()
    atoms.positions[0] += 0.1
    return atoms


def changed(**kwargs):
    atoms = molecule("H2O")
    for key, value in kwargs.items():
        setattr(atoms, key, value)
    return labelled(atoms)


@pytest.mark.parametrize(
    "bad, message",
    [
        (molecule(energy=None), "'energy' of all.*structure 1, and of 0 more"),
        (molecule(forces=None), "'forces' of all.*structure 1"),
        (molecule(energy=np.nan), "Structure 1: its 'energy' is NaN"),
        (molecule(energy=[1.0, 2.0]), r"Structure 1.*shape \(\)"),
        (molecule(forces=np.ones((2, 3))), r"1.*\(9, 3\).*\(2, 3\)"),
        (molecule(forces=np.full((9, 3), np.inf)), "Structure 1.*infinite"),
        (changed(numbers=[8, 0, 1]), "Structure 1.*element.*0 for atom 1"),
        (changed(positions=np.full((3, 3), np.nan)), "Structure 1.*NaN"),
        (changed(positions=np.ones((3, 3))), "Structure 1.*apart"),
        (changed(pbc=True), "Structure 1 is periodic.*3 directions.*cell"),
        (changed(pbc=True, cell=[9, 0.2, 9]), "Structure 1.*apart"),
        (labelled(ase.Atoms(), energy=0.0), "Structure 1 has no atoms"),
        (moved(), "Structure 1.*before its positions changed"),
        ("H2O", "at least one `ase.Atoms`.*'str'"),
    ],
)
def test_what_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_ase([molecule(), bad])


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("2\n\nH 0 0\n")
    with pytest.raises(ValueError, match="ASE could not read.*a.xyz"):
        datasets.from_ase(path)
    io.write(path, [molecule(), molecule(energy=None)])
    with pytest.raises(ValueError, match="structures of .*a.xyz.*structure 1"):
        datasets.from_ase(path)
    with pytest.raises(FileNotFoundError, match="no file .*b.xyz"):
        datasets.from_ase(tmp_path / "b.xyz")
    with pytest.raises(ValueError, match="ends with .xyz.*ase.io.read"):
        datasets.from_ase(tmp_path / "a.pickle")
    with pytest.raises(ValueError, match="at least one.*0 objects"):
        datasets.from_ase([])


def test_without_ase(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ase.io", None)
    with pytest.raises(ImportError, match=r"keras-remul\[md\]"):
        structures.from_ase([])
