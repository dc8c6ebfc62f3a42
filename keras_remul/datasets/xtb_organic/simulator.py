"""Configurations of small molecules with GFN2-xTB, one file for each run.

python -m keras_remul.datasets.xtb_organic.simulator FOLDER
"""

import argparse
import dataclasses
import pathlib

import numpy as np
from tqdm.auto import tqdm

from keras_remul.datasets.xtb_md.simulator import (
    advance,
    packages,
    read_chunk,
    thermal_velocities,
    thermostat,
    write_chunk,
)

TIME_STEP = 1.0  # fs
SAVE_EVERY = 12  # steps
FRAMES = 5  # of a run, after its minimum
RELAXATION = 25  # steps, at most
TEMPERATURES = {"test_hot": (1000.0, 1500.0)}  # K; the others:
USUAL = (300.0, 1000.0)
# Of the self-consistent charges: forces are exact to 0.3 meV/Angstrom.
ACCURACY = 1.0
LARGEST = 30.0  # eV/Angstrom, of a component of a force
STRETCH = 1.5  # of a bond, in sums of covalent radii, before it is broken
KEYS = ("positions", "energy", "forces", "temperature")


class _Broken(Exception):
    """A molecule is not what it was."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A molecule and one of its conformers.

    Args:
        split: name of the split.
        number: place of the molecule in the list of its split.
        smiles: the molecule.
        conformer: 0, 1, ...
    """

    split: str
    number: int
    smiles: str
    conformer: int

    @property
    def file(self):
        """Name of the file of this run."""
        return f"{self.split}_{self.number:04}_{self.conformer}.npz"

    def generator(self):
        """The `numpy.random.Generator` of this run."""
        words = f"{self.split} {self.conformer} {self.smiles}".encode()
        return np.random.default_rng(list(words))


def molecules():
    """`{split: list of SMILES}`; `test_hot` has the molecules of `test`."""
    path = pathlib.Path(__file__).with_name("molecules.txt")
    lists = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("> "):
            lists[line[2:]] = smiles = []
        else:
            smiles.append(line)
    return {**lists, "test_hot": list(lists["test"])}


def runs(counts, conformers):
    """All runs, in an order in which each part of them is of use.

    First the first conformers of all molecules, then the second ones; splits
    are mixed as in the whole.

    Args:
        counts: `{split: number of its first molecules}`.
        conformers: of each molecule.

    Returns:
        A list of `Run`.
    """
    lists = molecules()
    found = [
        ((conformer, number / count), Run(split, number, smiles, conformer))
        for split, count in counts.items()
        for number, smiles in enumerate(lists[split][:count])
        for conformer in range(conformers)
    ]
    return [run for _, run in sorted(found, key=lambda pair: pair[0])]


def start(smiles, rng):
    """A conformer of a molecule: ETKDG, then the force field MMFF.

    Args:
        smiles: of the molecule.
        rng: a `numpy.random.Generator`.

    Returns:
        `(atoms, bonds)`: an `ase.Atoms` and the pairs of bound atoms, `(M, 2)`;
        or None where RDKit finds no conformer.

    Raises:
        ImportError: RDKit or ASE is not installed.
    """
    try:
        from rdkit import Chem
        from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
    except ImportError as error:
        raise ImportError(
            "Simulating `xtb_organic` needs RDKit: `pip install "
            "keras-remul[md]`."
        ) from error
    ase, _ = packages()
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    seed = int(rng.integers(2**31 - 1))
    if rdDistGeom.EmbedMolecule(molecule, randomSeed=seed) < 0:
        return None
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule)
    atoms = ase.Atoms(
        numbers=[atom.GetAtomicNum() for atom in molecule.GetAtoms()],
        positions=molecule.GetConformer().GetPositions(),
    )
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in molecule.GetBonds()
    ]
    return atoms, np.array(bonds).reshape(-1, 2)


def sample(atoms, bonds, temperature, rng, frames=FRAMES, minimum=True):
    """Configurations of a molecule: near its minimum, then at a temperature.

    At most 25 steps of BFGS with GFN2-xTB give the minimum, whose temperature
    is given as 0. Then come Langevin dynamics (friction 0.02/fs, steps of 1
    fs), from velocities of twice the temperature, half of which becomes
    potential energy; each 12th step is kept. The run ends at the first frame
    that is not sound: the charges do not converge, a bond is longer than 1.5
    times the sum of the covalent radii, or a force is larger than 30
    eV/Angstrom.

    Args:
        atoms: `ase.Atoms`.
        bonds: pairs of bound atoms, `(M, 2)`.
        temperature: in Kelvin.
        rng: a `numpy.random.Generator`.
        frames: how many are kept after the minimum. Defaults to 5.
        minimum: whether the minimum is kept. Defaults to True.

    Returns:
        A dict of `positions` `(F, N, 3)` in Angstrom, `energy` `(F,)` in eV,
        `forces` `(F, N, 3)` in eV/Angstrom and `temperature` `(F,)`.
    """
    from ase.calculators.calculator import CalculationFailed
    from ase.optimize import BFGS

    _, TBLite = packages()
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=ACCURACY, verbosity=0)
    found = {key: [] for key in KEYS}

    def keep(kelvin):
        row = (
            atoms.positions - atoms.get_center_of_mass(),
            atoms.get_potential_energy(),
            atoms.get_forces(),
            kelvin,
        )
        if not _sound(atoms, bonds):
            raise _Broken
        for key, value in zip(KEYS, row, strict=True):
            found[key].append(value)

    def after(i, v):
        if i % SAVE_EVERY == 0:
            keep(temperature)

    try:
        BFGS(atoms, logfile=None).run(fmax=0.05, steps=RELAXATION)
        if minimum:
            keep(0.0)
        advance(
            atoms,
            thermal_velocities(atoms, 2 * temperature, rng),
            frames * SAVE_EVERY,
            thermostat(atoms, temperature, rng, TIME_STEP),
            after,
            TIME_STEP,
        )
    except (_Broken, CalculationFailed):
        pass
    size, count = len(found["energy"]), len(atoms)
    return {
        "positions": np.reshape(found["positions"], (size, count, 3)),
        "energy": np.array(found["energy"], "float64"),
        "forces": np.reshape(found["forces"], (size, count, 3)),
        "temperature": np.array(found["temperature"], "float64"),
    }


def _sound(atoms, bonds):
    """Whether the forces of a configuration are small and its bonds whole."""
    from ase.data import covalent_radii

    radii = covalent_radii[atoms.numbers]
    i, j = bonds.T
    lengths = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
    return (
        abs(atoms.get_forces()).max() < LARGEST
        and (lengths < STRETCH * (radii[i] + radii[j])).all()
    )


def _simulate_run(run):
    """The arrays of the file of a run, which may have no frames."""
    rng = run.generator()
    started = start(run.smiles, rng)
    facts = {"smiles": run.smiles, "split": run.split}
    if started is None:
        return facts
    atoms, bonds = started
    temperature = rng.uniform(*TEMPERATURES.get(run.split, USUAL))
    minimum = run.split != "test_hot"
    arrays = sample(atoms, bonds, temperature, rng, FRAMES, minimum)
    return {**facts, "atomic_numbers": atoms.numbers, **arrays}


def simulate(folder, todo, verbose=1):
    """Simulates what is missing; each run becomes one file, in one step.

    An interrupted simulation is continued at the next call. Several processes
    may share a folder if each has runs of its own.

    Args:
        folder: folder of the files; created if it does not exist.
        todo: list of `Run`, see `runs`.
        verbose: 0 for no progress bar. Defaults to 1.

    Raises:
        ImportError: RDKit, tblite or ASE is not installed.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for run in tqdm(todo, "xtb_organic", unit="run", disable=not verbose):
        path = folder / run.file
        if read_chunk(path) is None:
            write_chunk(path, **_simulate_run(run))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--conformers", type=int, default=2)
    parser.add_argument("--part", type=int, default=0, help="of --parts")
    parser.add_argument("--parts", type=int, default=1, help="processes")
    arguments = parser.parse_args(argv)
    counts = {split: len(smiles) for split, smiles in molecules().items()}
    todo = runs(counts, arguments.conformers)
    simulate(arguments.folder, todo[arguments.part :: arguments.parts])


if __name__ == "__main__":
    main()
