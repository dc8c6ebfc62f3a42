"""dft_*, rmd17_forces, xtb_organic: labels, splits, files; the simulator."""

import importlib.util
import pathlib

import numpy as np
import pytest

from keras_remul import cli, datasets
from keras_remul.datasets import registry
from keras_remul.datasets.xtb_md.simulator import MOLECULES, read_chunk
from keras_remul.datasets.xtb_organic import simulator

pytestmark = pytest.mark.backend_independent

ETHANOL = MOLECULES["ethanol"]
ENERGY = -4209.465784306481
SPLITS = ("train", "validation", "test")
DTYPES = {"energy": "float64", "atomic_numbers": "int32"}


def load(dataset, tmp_path, manual_dir=None, **kwargs):
    return datasets.load_all(
        dataset,
        data_dir=tmp_path / "data",
        manual_dir=manual_dir or tmp_path,
        verbose=0,
        **kwargs,
    )


def frames(count, seed=0):
    """Positions, energies and forces of ethanol."""
    rng = np.random.default_rng(seed)
    x = np.array(ETHANOL["positions"])
    x = x + 0.02 * rng.standard_normal((count, *x.shape))
    energy = ENERGY + 1e-5 * np.arange(count) + seed
    return x, energy, rng.standard_normal(x.shape)


def check_dtypes(data):
    for x, y in data.values():
        for key, array in {**x, **y}.items():
            assert array.dtype == DTYPES.get(key, "float32")


def write_xyz(path, x, energy, forces, numbers=ETHANOL["numbers"]):
    symbols = {1: "H", 6: "C", 8: "O", 7: "N"}
    path.parent.mkdir(exist_ok=True, parents=True)
    lines = []
    for i in range(len(x)):
        lines += [
            str(len(numbers)),
            "Properties=species:S:1:pos:R:3:forces:R:3 "
            f'energy={energy[i]:.12f} pbc="F F F"',
        ]
        for z, row in zip(numbers, np.hstack([x[i], forces[i]]), strict=True):
            lines.append(" ".join([symbols[z], *(f"{c:.8f}" for c in row)]))
    path.write_text("\n".join(lines) + "\n")


def write_ethanol(folder, **kwargs):
    folder = folder / "dataset_ethanol"
    write_xyz(folder / "train.xyz", *frames(60), **kwargs)
    write_xyz(folder / "test_MD.xyz", *frames(12, seed=1))


needs_ase = pytest.mark.skipif(
    not importlib.util.find_spec("ase"), reason="needs the extra `md`: ASE"
)


@needs_ase
def test_dft_from_xyz(tmp_path, capsys):
    write_ethanol(tmp_path)
    data = load("dft_ethanol", tmp_path)
    check_dtypes(data)
    assert {k: len(y["energy"]) for k, (_, y) in data.items()} == {
        "train": 10,
        "validation": 50,
        "test": 12,
    }
    x, energy, forces = frames(60)
    both = [data["train"], data["validation"]]
    found = np.concatenate([y["energy"][:, 0] for _, y in both])
    order = np.argsort(found)
    np.testing.assert_allclose(found[order], energy, rtol=0, atol=1e-9)
    for key, expected in (("positions", x), ("forces", forces)):
        arrays = [{**x, **y}[key] for x, y in both]
        array = np.concatenate(arrays)[order]
        np.testing.assert_allclose(array, expected, atol=1e-5)
    numbers = data["test"][0]["atomic_numbers"]
    assert numbers[3, :, 0].tolist() == ETHANOL["numbers"]
    place = ["--data-dir", str(tmp_path / "data")]
    assert cli.main(["datasets", "info", "dft_ethanol", *place]) == 0
    out = capsys.readouterr().out
    assert "forces (target)" in out and "-1025.277" in out
    with pytest.raises(ValueError, match="no baselines of energies"):
        from keras_remul.experiments import baselines

        baselines.of_dataset("dft_ethanol")


@needs_ase
@pytest.mark.parametrize(
    "change, message",
    [
        (dict(numbers=[6, 6, 7, 1, 1, 1, 1, 1, 1]), "same atoms in all frames"),
        (dict(scale=1 / 0.529177), "Angstrom.*looks like bohr"),
        (dict(atoms=8), "Expected 9 atoms.*train.xyz. Received: 8"),
        (dict(lacks="forces:R:3"), "energies and forces.*Missing: .'forces'"),
    ],
)
def test_bad_xyz(tmp_path, change, message):
    write_ethanol(tmp_path)
    path = tmp_path / "dataset_ethanol" / "train.xyz"
    atoms = change.get("atoms", 9)
    x, energy, forces = frames(60)
    x, forces = x[:, :atoms] * change.get("scale", 1.0), forces[:, :atoms]
    write_xyz(path, x, energy, forces, ETHANOL["numbers"][:atoms])
    text = path.read_text()
    if "numbers" in change:
        write_xyz(path, x[1:], energy[1:], forces[1:], change["numbers"])
        text = "".join(text.splitlines(True)[:11]) + path.read_text()
    if "lacks" in change:
        text = text.replace("forces:R:3", "others:R:3")
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load("dft_ethanol", tmp_path)


def test_another_npz_is_refused(tmp_path):
    np.savez(tmp_path / "ethanol.npz", z=np.array(ETHANOL["numbers"]))
    with pytest.raises(ValueError, match="ethanol.npz has the sha256"):
        load("dft_ethanol", tmp_path)


@pytest.mark.parametrize(
    "name, file, sets",
    [
        ("dft_ethanol", "ethanol", {"train": 1000, "test": 1000}),
        (
            "dft_acac",
            "acac",
            {"train300": 500, "test300": 650, "test600": 650},
        ),
        ("dft_3bpa/mixed", "threebpa", {"train300": 500, "train_mixed": 469}),
    ],
)
def test_dft_from_npz(shared_data, tmp_path, name, file, sets):
    folder = shared_data / "dft_molecules"
    if not folder.is_dir():
        pytest.skip("the reference data lack dft_molecules")
    data = load(name, tmp_path, folder)
    check_dtypes(data)
    sizes = [len(y["energy"]) for _, y in data.values()]
    assert sizes == [450 + 500 * (file == "ethanol"), 50, *[*sets.values()][1:]]
    with np.load(folder / f"{file}.npz") as stored:
        energy = stored[f"{[*sets][0]}_E"]
        later = [stored[f"{prefix}_E"] for prefix in [*sets][1:]]
    found = [y["energy"][:, 0] for _, y in data.values()]
    assert sorted(np.concatenate(found[:2])) == sorted(energy)
    for one, expected in zip(found[2:], later, strict=True):
        assert np.isin(one, expected).all() and not np.isin(one, energy).any()
    # Less than the energy of isolated atoms, by some eV for each.
    isolated = registry.builder_class(name).ISOLATED
    element = {"H": 1, "C": 6, "N": 7, "O": 8}
    numbers = data["test"][0]["atomic_numbers"][0]
    atoms = sum((numbers == element[e]).sum() * isolated[e] for e in isolated)
    assert -7 < (found[2].mean() - atoms) / len(numbers) < -3


def test_acac_at_600_k_is_hotter(shared_data, tmp_path):
    data = load("dft_acac", tmp_path, shared_data / "dft_molecules")
    assert list(data) == [*SPLITS, "test_600K"]
    cold, hot = (
        np.square(data[split][1]["forces"]).mean()
        for split in ("test", "test_600K")
    )
    assert hot > 1.5 * cold


def write_rmd17(folder, count=2100, **changes):
    x, energy, forces = frames(count)
    arrays = {
        "coords": x,
        "nuclear_charges": np.array(ETHANOL["numbers"]),
        "energies": energy,
        "forces": forces,
        **changes,
    }
    np.savez(folder / "rmd17_ethanol.npz", **arrays)
    order = np.random.default_rng(3).permutation(count)
    write_splits(folder, order[:1000], order[1000:2000])
    return x, energy, forces, order


def write_splits(folder, train, test):
    (folder / "splits").mkdir(exist_ok=True)
    for kind, rows in (("train", train), ("test", test)):
        text = "\n".join(map(str, rows)) + "\n"
        (folder / "splits" / f"index_{kind}_01.csv").write_text(text)


def test_rmd17_forces(tmp_path):
    x, energy, forces, order = write_rmd17(tmp_path)
    data = load("rmd17_forces/ethanol", tmp_path)
    check_dtypes(data)
    sizes = [len(y["energy"]) for _, y in data.values()]
    assert sizes == [950, 50, 1000]
    ev = 0.0433641153  # of 1 kcal/mol; ASE's, of older constants, has 6 digits
    rows = order[1000:2000]
    inputs, y = data["test"]
    np.testing.assert_allclose(inputs["positions"], x[rows], rtol=1e-5)
    np.testing.assert_allclose(y["energy"][:, 0], energy[rows] * ev, rtol=1e-6)
    np.testing.assert_allclose(y["forces"], forces[rows] * ev, rtol=1e-4)
    found = [data[split][1]["energy"][:, 0] for split in SPLITS[:2]]
    expected = np.sort(energy[order[:1000]] * 4184 / 96485.33212)
    np.testing.assert_allclose(np.sort(np.concatenate(found)), expected)


def test_rmd17_forces_without_published_split(tmp_path):
    from keras_remul.datasets.md17.forces import Rmd17ForcesConfig

    write_rmd17(tmp_path)
    config = Rmd17ForcesConfig(name="own", molecule="ethanol", number=None)
    data = load("rmd17_forces", tmp_path, config=config)
    energies = [y["energy"][:, 0] for _, y in data.values()]
    assert list(map(len, energies)) == [950, 50, 1000]
    assert len(set(np.concatenate(energies))) == 2000


@pytest.mark.parametrize(
    "train, test, message",
    [
        (range(1000), range(999, 1999), "without common frames"),
        (range(999), range(1000, 2000), "1000 different numbers.*999"),
        (range(1000), range(1200, 2200), "from 0 to 2099"),
        (["a"] * 1000, range(1000, 2000), "one number in each line.*train_01"),
    ],
)
def test_bad_splits(tmp_path, train, test, message):
    write_rmd17(tmp_path)
    write_splits(tmp_path, train, test)
    with pytest.raises(ValueError, match=message):
        load("rmd17_forces/ethanol", tmp_path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"energies": np.zeros(3)}, r"'energy' of shape \(2100\)"),
        ({"forces": np.full((2100, 9, 3), np.nan)}, "'forces'.*NaN"),
        ({"nuclear_charges": np.full(8, 6)}, r"\(T, 8, 3\)"),
    ],
)
def test_bad_rmd17_file(tmp_path, changes, message):
    write_rmd17(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load("rmd17_forces/ethanol", tmp_path)


# xtb_organic


def tiny_runs():
    builder = registry.builder_class("xtb_organic")
    return builder.builder_configs["tiny"].runs()


def write_organic(path, **changes):
    """Files as of the simulator, each with ethanol; the second is empty."""
    folder = path / "xtb_organic"
    folder.mkdir()
    for i, run in enumerate(tiny_runs()):
        x, energy, forces = frames(2, seed=i)
        arrays = {
            "smiles": run.smiles,
            "split": run.split,
            "atomic_numbers": np.array(ETHANOL["numbers"]),
            "positions": x,
            "energy": energy,
            "forces": forces,
            "temperature": np.array([0.0, 500.0]),
        }
        if run.file == "train_0001_0.npz":
            arrays = {key: arrays[key] for key in ("smiles", "split")}
        else:
            arrays.update(changes)
        np.savez(folder / run.file, **arrays)
    return folder


def test_xtb_organic_from_files(tmp_path):
    write_organic(tmp_path)
    data = load("xtb_organic/tiny", tmp_path)
    check_dtypes(data)
    sizes = [len(y["energy"]) for _, y in data.values()]
    assert list(data) == [*SPLITS, "test_large", "test_hot"]
    assert sizes == [4, 2, 2, 2, 2]
    x, y = data["train"]
    assert x["mask"].sum(axis=1).tolist() == [9.0] * 4
    for array in (x["positions"], x["atomic_numbers"], y["forces"]):
        assert array.shape[1] == 29
        assert array[:, :9].any() and not array[:, 9:].any()
    energy = frames(2)[1]
    np.testing.assert_array_equal(y["energy"][:2, 0], energy)


def test_a_stream_of_energies_and_forces(tmp_path):
    write_organic(tmp_path)
    place = dict(data_dir=tmp_path / "data", manual_dir=tmp_path, verbose=0)
    batches = datasets.stream("xtb_organic/tiny", batch_size=3, **place)
    x, y = batches[0]
    assert set(y) == {"energy", "forces"} and y["energy"].dtype == "float64"
    assert set(x) == {"positions", "atomic_numbers", "mask"}
    with pytest.raises(ValueError, match="same target"):
        datasets.stream(["xtb_organic/tiny", "nbody_gravity/tiny"], **place)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"smiles": "CCO"}, "holds another run: smiles is CCO, not "),
        ({"forces": np.zeros((2, 8, 3))}, "'forces' of shape"),
        ({"energy": np.array([np.nan, 0.0])}, "'energy'.*NaN"),
        ({"atomic_numbers": np.ones(9)}, "integers as 'atomic_numbers'"),
    ],
)
def test_bad_files_of_runs(tmp_path, changes, message):
    write_organic(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load("xtb_organic/tiny", tmp_path)


def test_dtypes_are_checked(tmp_path, monkeypatch):
    write_organic(tmp_path)
    load("xtb_organic/tiny", tmp_path)
    (path,) = (tmp_path / "data").rglob("train/energy.npy")
    energy = np.load(path)
    assert energy.dtype == "<f8"
    np.save(path, energy.astype("float32"))
    with pytest.raises(ValueError, match="<f4.*dtype <f8 was written"):
        load("xtb_organic/tiny", tmp_path)
    cls = registry.builder_class("xtb_organic")
    arrays = {"atomic_numbers": np.full((2, 29, 1), 6.5)}
    arrays["positions"] = np.zeros((2, 29, 3))
    monkeypatch.setattr(cls, "_arrays", lambda *_: {"train": arrays})
    with pytest.raises(ValueError, match="'atomic_numbers'.*integers of int32"):
        datasets.load("xtb_organic/tiny", data_dir=tmp_path / "b", verbose=0)


def test_lists_of_molecules():
    lists = simulator.molecules()
    assert list(lists) == [
        "validation", "test", "train", "test_large", "test_hot",
    ]  # fmt: skip
    assert lists.pop("test_hot") == lists["test"]
    everyone = [smiles for one in lists.values() for smiles in one]
    assert len(everyone) == len(set(everyone)) == 3380
    reserved = {"CCO", "CC(=O)CC(C)=O", "CC(=O)C=C(C)O", "C=C(O)CC(C)=O"}
    reserved |= {"CC=O", "C=CO", "Nc1ncccc1OCc1ccccc1"}
    assert not reserved & set(everyone)
    assert {"CO", "CC(C)O", "O=CC=CO", "c1ccncc1"} <= set(everyone)


def tool():
    path = pathlib.Path(__file__).parents[2] / "tools" / "list_molecules.py"
    spec = importlib.util.spec_from_file_location("list_molecules", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RDKIT = importlib.util.find_spec("rdkit")
TBLITE = importlib.util.find_spec("tblite")
needs_rdkit = pytest.mark.skipif(
    not RDKIT, reason="needs the extra `md`: RDKit"
)
needs_tblite = pytest.mark.skipif(
    not TBLITE, reason="needs the extra `md`: tblite and ASE"
)


@needs_rdkit
def test_what_is_reserved_is_in_no_split():
    from rdkit import Chem
    from rdkit.Chem.MolStandardize import rdMolStandardize

    skeleton = tool().skeleton
    lists, found = simulator.molecules(), {}
    for split in ("train", "validation", "test", "test_large"):
        molecules = [Chem.MolFromSmiles(smiles) for smiles in lists[split]]
        found[split] = set(map(skeleton, molecules))
        for one in molecules:
            assert one.GetNumAtoms(onlyExplicit=False) <= 29
            assert (one.GetNumAtoms() > 9) == (split == "test_large")
            elements = {atom.GetSymbol() for atom in one.GetAtoms()}
            assert elements <= set("CNOF")
    for a in found:
        for b in found:
            assert a == b or not found[a] & found[b]
    tautomers = rdMolStandardize.TautomerEnumerator()
    for smiles in tool().RESERVED:
        molecule = Chem.MolFromSmiles(smiles)
        forms = set(map(skeleton, tautomers.Enumerate(molecule)))
        assert forms == {skeleton(molecule)}
        assert not any(forms & one for one in found.values())


def test_each_part_of_the_runs_is_of_use():
    counts = {"train": 100, "test": 10, "test_hot": 10}
    runs = simulator.runs(counts, conformers=2)
    assert len(runs) == len({run.file for run in runs}) == 240
    assert {run.conformer for run in runs[:120]} == {0}
    half = [run.split for run in runs[:60]]
    assert 48 <= half.count("train") <= 52 and 4 <= half.count("test") <= 6
    assert simulator.runs(counts, 2) == runs


def ethane():
    from ase import build

    atoms = build.molecule("C2H6")
    bonds = [(0, 1), *((0, i) for i in (2, 3, 4)), *((1, i) for i in (5, 6, 7))]
    return atoms, np.array(bonds)


def sample(**kwargs):
    rng = np.random.default_rng(0)
    return simulator.sample(*ethane(), 600.0, rng, frames=3, **kwargs)


@needs_tblite
def test_samples_are_those_of_gfn2():
    from tblite.ase import TBLite

    found = sample()
    assert found["temperature"].tolist() == [0, 600, 600, 600]
    assert abs(found["forces"][0]).max() < 0.05 < abs(found["forces"][1]).max()
    assert found["energy"][1:].min() > found["energy"][0]
    assert abs(found["forces"].sum(axis=1)).max() < 1e-3
    atoms, _ = ethane()
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.001, verbosity=0)
    atoms.positions = found["positions"][2]
    assert abs(atoms.get_potential_energy() - found["energy"][2]) < 1e-5
    assert abs(atoms.get_forces() - found["forces"][2]).max() < 1e-3
    assert sample(minimum=False)["temperature"].tolist() == [600.0] * 3


@needs_tblite
def test_a_run_ends_where_a_bond_breaks(monkeypatch):
    whole = sample()
    largest = abs(whole["forces"]).max(axis=(1, 2))
    monkeypatch.setattr(simulator, "LARGEST", largest[1] * 0.99)
    assert len(sample()["energy"]) == 1
    monkeypatch.setattr(simulator, "STRETCH", 0.9)
    assert sample()["positions"].shape == (0, 8, 3)


@needs_tblite
def test_simulation_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(simulator, "start", lambda smiles, rng: ethane())
    monkeypatch.setattr(simulator, "FRAMES", 1)
    runs = tiny_runs()[:3]
    simulator.simulate(tmp_path / "a", runs, verbose=0)
    first = {run.file: (tmp_path / "a" / run.file).read_bytes() for run in runs}
    (tmp_path / "a" / runs[0].file).unlink()
    (tmp_path / "a" / runs[1].file).write_bytes(b"damaged")
    kept = (tmp_path / "a" / runs[2].file).stat().st_mtime_ns
    simulator.simulate(tmp_path / "a", runs, verbose=0)
    for run in runs:
        path = tmp_path / "a" / run.file
        assert path.read_bytes() == first[run.file]
        assert str(read_chunk(path)["smiles"]) == run.smiles
    assert path.stat().st_mtime_ns == kept
    monkeypatch.setattr(simulator, "start", lambda smiles, rng: None)
    simulator.simulate(tmp_path / "b", runs[:1], verbose=0)
    assert "energy" not in read_chunk(tmp_path / "b" / runs[0].file)


@needs_tblite
@needs_rdkit
def test_xtb_organic_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setattr(simulator, "FRAMES", 1)
    monkeypatch.setattr(simulator, "RELAXATION", 5)
    data = load("xtb_organic/tiny", tmp_path)
    check_dtypes(data)
    for split, (x, y) in data.items():
        heavy = (x["atomic_numbers"][..., 0] > 1).sum(axis=1)
        assert (heavy > 9).all() == (split == "test_large")
        assert np.isfinite(y["energy"]).all() and y["energy"].max() < -100
        assert abs(y["forces"].sum(axis=1)).max() < 1e-3


@pytest.mark.skipif(bool(RDKIT), reason="RDKit is installed.")
def test_without_rdkit(tmp_path):
    with pytest.raises(ImportError, match=r"RDKit.*keras-remul\[md\]"):
        simulator.simulate(tmp_path, tiny_runs(), verbose=0)


def test_pictures_of_forces(tmp_path):
    from keras_remul.datasets.pictures import picture

    write_organic(tmp_path)
    place = dict(data_dir=tmp_path / "data", manual_dir=tmp_path, verbose=0)
    figure = picture("xtb_organic/tiny", samples=2, **place)
    for axis in figure.axes:
        bonds, atoms, forces, _ = axis.collections
        assert len(bonds.get_segments()) == 8
        assert len(forces.get_segments()) == len(atoms.get_offsets()) == 9
