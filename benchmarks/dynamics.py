"""Dynamics and geometries of a potential of organic molecules, by its preset.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax taskset -c 0 python \
        benchmarks/dynamics.py PRESET --picoseconds 100

Constant energy: ethanol, and acetylacetone from the first frame of the file
`--acetylacetone`, such as a training file of `dft_acac`. They are relaxed and
start at 600 K, half of which goes into the bonds. Time steps of 0.5 fs,
as they are and turned at random before each step (`random_frame`). Geometries:
the first 50 molecules of H, C, N, O and F in ASE's g2, with two atoms or more,
by BFGS from where ASE has them. A bond is a pair closer than 1.3 times the sum
of the covalent radii; bonds are kept if they are the same at the end. Two
tables, and a CSV file with a line for each run and molecule.
"""

import argparse
import csv
import pathlib
import tempfile

import numpy as np
from ase import io, neighborlist
from ase.build import molecule
from ase.collections import g2
from ase.optimize import BFGS

import keras_remul as kr
from keras_remul.presets.dynamics import simulate
from keras_remul.presets.sensible import as_potential

ELEMENTS = {1, 6, 7, 8, 9}
MOLECULES = 50
TIMESTEP = 0.5  # fs
TEMPERATURE = 600.0  # K, of a molecule at a minimum


def bonds(atoms):
    """The pairs of bonded atoms."""
    cutoffs = neighborlist.natural_cutoffs(atoms, mult=1.3)
    i, j = neighborlist.neighbor_list("ij", atoms, cutoffs)
    return set(zip(i.tolist(), j.tolist(), strict=True))


def constant_energy(potential, name, atoms, picoseconds, random_frame):
    """One simulation as a row of the table."""
    atoms = atoms.copy()
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    atoms.calc = kr.ase.Calculator(potential, compile=True)
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=500)
    start = bonds(atoms)
    if random_frame:
        atoms.calc = kr.ase.Calculator(
            potential, random_frame=True, compile=True
        )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "frames.xyz")
        found = simulate(
            atoms,
            path,
            round(1000 * picoseconds / TIMESTEP),
            timestep=TIMESTEP,
            temperature=TEMPERATURE,
            interval=100,
            verbose=False,
        )
        lost = [start - bonds(frame) for frame in io.iread(path, ":")]
    return {
        "kind": "NVE, random frame" if random_frame else "NVE",
        "molecule": name,
        "ps": picoseconds,
        **{key: f"{value:.4g}" for key, value in found.items()},
        "frames with broken bonds": sum(map(bool, lost)),
    }


def geometry(potential, name, fmax, steps):
    """One optimisation as a row."""
    atoms = molecule(name)
    start = bonds(atoms)
    row = {"kind": "geometry", "molecule": name}
    try:
        atoms.calc = kr.ase.Calculator(potential)
        optimizer = BFGS(atoms, logfile=None)
        converged = optimizer.run(fmax=fmax, steps=steps)
    except ValueError as error:  # atoms on top of each other, NaN
        return {**row, "converged": False, "bonds kept": False, "why": error}
    forces = np.linalg.norm(atoms.get_forces(), axis=1).max()
    return {
        **row,
        "converged": bool(converged),
        "bonds kept": bonds(atoms) == start,
        "steps": optimizer.nsteps,
        "fmax": f"{forces:.3g}",
    }


def names():
    """Those of the molecules."""
    fit = [
        name
        for name in g2.names
        if len(g2[name]) > 1 and set(g2[name].numbers) <= ELEMENTS
    ]
    return fit[:MOLECULES]


def show(rows):
    """Prints a table in Markdown."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    print("| " + " | ".join(keys) + " |")
    print("|---" * len(keys) + "|")
    for row in rows:
        print("| " + " | ".join(str(row.get(key, "")) for key in keys) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--picoseconds", type=float, default=100.0)
    parser.add_argument("--acetylacetone", help="a file that ASE reads")
    parser.add_argument("--fmax", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", default="dynamics.csv")
    arguments = parser.parse_args()
    potential = as_potential(arguments.preset)
    simulated = {"ethanol": molecule("CH3CH2OH")}
    if arguments.acetylacetone:
        simulated["acetylacetone"] = io.read(arguments.acetylacetone, 0)
    runs = [
        constant_energy(potential, name, atoms, arguments.picoseconds, turned)
        for name, atoms in simulated.items()
        for turned in (False, True)
    ]
    show(runs)
    relaxed = [
        geometry(potential, name, arguments.fmax, arguments.steps)
        for name in names()
    ]
    count = len(relaxed)
    done, kept = (
        sum(row[key] for row in relaxed) for key in ("converged", "bonds kept")
    )
    print(f"{done} of {count} converge, {kept} keep their bonds.")
    rows = runs + relaxed
    keys = dict.fromkeys(key for row in rows for key in row)
    with open(arguments.output, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(keys))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
