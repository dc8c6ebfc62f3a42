"""Molecular dynamics at constant energy with GFN2-xTB, in resumable chunks.

python -m keras_remul.datasets.xtb_md.simulator ethanol FOLDER
"""

import argparse
import json
import pathlib
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from keras_remul.datasets import archives
from keras_remul.utils import atomic

TIME_STEP = 0.5  # fs
SAVE_EVERY = 10  # steps
CHUNK = 2000  # steps
EQUILIBRATION = 4000  # steps
FRICTION = 0.02  # 1/fs
TEMPERATURE, SEED = 500.0, 0  # of the data sets
# Of the self-consistent charges. At tblite's default, 1, the energy of ethanol
# falls by 0.6 meV in each 1000 steps; at 0.01 it stays, for 14 % more time.
ACCURACY = 0.01
MOLECULES = json.loads(
    pathlib.Path(__file__).with_name("molecules.json").read_text()
)


def packages():
    """The module `ase` and the class `TBLite`.

    Raises:
        ImportError: one of them is not installed.
    """
    try:
        import ase
        import ase.units
        from tblite.ase import TBLite
    except ImportError as error:
        raise ImportError(
            "Simulating molecules needs tblite and ASE: "
            "`pip install keras-remul[md]`."
        ) from error
    return ase, TBLite


def gfn2(molecule):
    """The `ase.Atoms` of a molecule, at its minimum, with GFN2-xTB."""
    if molecule not in MOLECULES:
        raise ValueError(
            f"Unknown `molecule`. Expected one of {sorted(MOLECULES)}. "
            f"Received: molecule={molecule!r}"
        )
    ase, TBLite = packages()
    atoms = ase.Atoms(**MOLECULES[molecule])
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=ACCURACY, verbosity=0)
    return atoms


def advance(
    atoms, velocities, steps, kick=None, after=None, time_step=TIME_STEP
):
    """Velocity Verlet; `kick(v)` is a thermostat, `after(i, v)` a recorder.

    v <- v + dt/2 a(x);  x <- x + dt v;  v <- v + dt/2 a(x)

    Args:
        atoms: `ase.Atoms` with a calculator; its positions are changed.
        velocities: `(N, 3)`, in the units of ASE.
        steps: number of steps.
        kick: function of the velocities after each step, or None.
        after: function of the number of a step, from 1 on, and the velocities,
            or None.
        time_step: in fs.

    Returns:
        The velocities at the end.
    """
    ase, _ = packages()
    dt = time_step * ase.units.fs
    masses = atoms.get_masses()[:, None]
    x, v = atoms.positions.copy(), velocities
    acceleration = atoms.get_forces() / masses
    for i in range(steps):
        v = v + 0.5 * dt * acceleration
        x = x + dt * v
        atoms.positions = x
        acceleration = atoms.get_forces() / masses
        v = v + 0.5 * dt * acceleration
        if kick is not None:
            v = kick(v)
        if after is not None:
            after(i + 1, v)
    return v


def _without_rigid_motion(x, v, masses):
    """Removes momentum and angular momentum from the velocities."""
    x = x - (masses * x).sum(0) / masses.sum()
    v = v - (masses * v).sum(0) / masses.sum()
    angular = np.cross(x, masses * v).sum(0)
    inertia = (masses[..., None] * x[:, :, None] * x[:, None, :]).sum(0)
    inertia = np.trace(inertia) * np.eye(3) - inertia
    return v - np.cross(np.linalg.solve(inertia, angular), x)


def thermal_velocities(atoms, temperature, rng):
    """Random velocities `(N, 3)` of a temperature in Kelvin, ASE's units."""
    ase, _ = packages()
    width = np.sqrt(ase.units.kB * temperature / atoms.get_masses()[:, None])
    return width * rng.standard_normal((len(atoms), 3))


def thermostat(atoms, temperature, rng, time_step=TIME_STEP):
    """A function of velocities for `advance`, with which it is Langevin's.

    v <- c v + sqrt(1 - c^2) v',  c = exp(-friction dt), v' thermal
    """
    keep = np.exp(-FRICTION * time_step)

    def kick(v):
        noise = thermal_velocities(atoms, temperature, rng)
        return keep * v + np.sqrt(1 - keep**2) * noise

    return kick


def equilibrate(atoms, temperature, seed, steps=EQUILIBRATION):
    """Velocities for a run at constant energy; moves the atoms.

    Langevin dynamics from the minimum, then momentum and angular momentum are
    removed, and the velocities scaled such that the total energy is that of
    3 N - 6 harmonic oscillators: E = E_min + (3 N - 6) k T. Without this last
    step the energy, and so the mean temperature, would be random.
    """
    ase, _ = packages()
    rng = np.random.default_rng(seed)
    masses = atoms.get_masses()[:, None]
    thermal = ase.units.kB * temperature
    target = atoms.get_potential_energy() + (3 * len(atoms) - 6) * thermal
    v = thermal_velocities(atoms, temperature, rng)
    v = advance(atoms, v, steps, thermostat(atoms, temperature, rng))
    v = _without_rigid_motion(atoms.positions, v, masses)
    kinetic = target - atoms.get_potential_energy()
    if kinetic <= 0:
        raise RuntimeError(
            "The equilibration ended above the total energy of the run. Pass "
            f"another `seed`. Received: seed={seed}"
        )
    atoms.positions -= atoms.get_center_of_mass()
    return v * np.sqrt(kinetic / (0.5 * (masses * v**2).sum()))


def write_chunk(path, **arrays):
    """Writes an npz file in one step: it is complete, or does not exist."""
    with atomic.replacing(path) as file:
        np.savez(file, **arrays)


def read_chunk(path):
    """The arrays of a chunk, or None if the file is damaged."""
    try:
        with open(path, "rb") as file:  # np.load leaves damaged files open
            return dict(np.load(file, allow_pickle=False))
    except Exception:  # what zipfile, zlib and NumPy make of damaged bytes
        return None


def _run(molecule, temperature, seed):
    """The settings of a trajectory, as a text that is stored with it."""
    return json.dumps(
        {
            "molecule": molecule,
            "temperature": temperature,
            "seed": seed,
            "accuracy": ACCURACY,
        }
    )


def _check_run(state, run, folder):
    if str(state.get("run")) != run:
        raise ValueError(
            f"`folder` holds another run: {state.get('run')}, not {run}. Pass "
            f"another folder. Received: folder={str(folder)!r}"
        )


def _chunk_paths(folder, steps):
    """Paths of the chunks of a trajectory, in order; they need not exist."""
    names = [f"chunk_{i:05}.npz" for i in range(steps // CHUNK)]
    return [pathlib.Path(folder) / name for name in names]


def _check_chunk(path, chunk, molecule):
    """Raises ValueError unless a chunk holds what `simulate` writes."""
    frames = CHUNK // SAVE_EVERY
    atoms = len(MOLECULES[molecule]["numbers"])
    for key, shape in {
        "positions": (frames, atoms, 3),
        "velocities": (frames, atoms, 3),
        "total_energy": (frames,),
    }.items():
        if key not in chunk:
            raise ValueError(
                f"{path} lacks {key!r}. Remove it, and it will be simulated "
                "again."
            )
        archives.check_array(path, key, chunk[key], "f", shape)


def simulate(
    molecule,
    folder,
    steps=100_000,
    temperature=TEMPERATURE,
    seed=SEED,
    verbose=1,
):
    """Simulates a molecule with GFN2-xTB and writes its trajectory.

    Langevin equilibration (2 ps, friction 0.02/fs), then velocity Verlet with
    0.5 fs at constant energy. Each 10th step is kept, with positions
    (Angstrom), velocities (Angstrom/fs) and potential and total energy (eV).
    Momentum and angular momentum are zero.

    The folder receives `start.npz` and `chunk_00000.npz`, ... of 2000 steps,
    each written in one step. An interrupted run is resumed after its last
    complete chunk, with the same result: each chunk starts with a new
    electronic state. More `steps` extend a trajectory.

    Args:
        molecule: one of the names in `molecules.json`.
        folder: folder of the trajectory; created if it does not exist.
        steps: number of steps, a multiple of 2000. Defaults to 100,000.
        temperature: in Kelvin. Defaults to 500.
        seed: seed of the equilibration. Defaults to 0.
        verbose: 0 for no progress bar. Defaults to 1.

    Returns:
        The list of the paths of the chunks.

    Raises:
        ValueError: for an unknown molecule, bad `steps`, or a folder that
            holds a run with other arguments.
        ImportError: tblite or ASE is not installed.
    """
    if steps < CHUNK or steps % CHUNK:
        raise ValueError(
            f"Argument `steps` must be a positive multiple of {CHUNK}. "
            f"Received: steps={steps}"
        )
    ase, _ = packages()
    atoms = gfn2(molecule)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = _run(molecule, temperature, seed)
    state = read_chunk(folder / "start.npz")
    if state is None:
        velocities = equilibrate(atoms, temperature, seed)
        state = {"run": run, "x": atoms.positions, "v": velocities}
        write_chunk(folder / "start.npz", **state)
    _check_run(state, run, folder)
    paths = _chunk_paths(folder, steps)
    with tqdm(
        total=steps, desc=molecule, unit="step", disable=not verbose
    ) as bar:
        for path in paths:
            chunk = read_chunk(path) if path.exists() else None
            if chunk is None:
                chunk = _simulate_chunk(molecule, state["x"], state["v"])
                write_chunk(path, **chunk)
            state = chunk
            bar.update(CHUNK)
    return paths


def trajectory(molecule, folder, steps, verbose=1):
    """Positions, velocities `(F, N, 3)` and total energies `(F,)`, in eV.

    Missing chunks are simulated; for a complete trajectory neither tblite nor
    ASE is needed.

    Raises:
        ValueError: the folder holds a run with other arguments, or a chunk is
            not valid.
    """
    folder = pathlib.Path(folder)
    start = read_chunk(folder / "start.npz")
    if start is not None:
        _check_run(start, _run(molecule, TEMPERATURE, SEED), folder)
    paths = _chunk_paths(folder, steps)
    chunks: list[Any] = [read_chunk(path) for path in paths]
    if any(chunk is None for chunk in chunks):
        simulate(molecule, folder, steps, verbose=verbose)
        chunks = [read_chunk(path) for path in paths]
    for path, chunk in zip(paths, chunks, strict=True):
        _check_chunk(path, chunk, molecule)
    return tuple(
        np.concatenate([chunk[key] for chunk in chunks])
        for key in ("positions", "velocities", "total_energy")
    )


def _simulate_chunk(molecule, x, v):
    """One chunk: frames after each 10 steps, and the state at the end."""
    ase, _ = packages()
    atoms = gfn2(molecule)
    atoms.positions = x
    masses = atoms.get_masses()[:, None]
    frames = []

    def after(i, v):
        if i % SAVE_EVERY == 0:
            potential = atoms.get_potential_energy()
            energy = potential + 0.5 * (masses * v**2).sum()
            velocities = v * ase.units.fs
            x = atoms.positions.copy()
            frames.append((x, velocities, potential, energy))

    v = advance(atoms, v, CHUNK, after=after)
    names = ("positions", "velocities", "potential_energy", "total_energy")
    chunk = dict(
        zip(names, map(np.array, zip(*frames, strict=True)), strict=True)
    )
    return {**chunk, "x": atoms.positions, "v": v}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("molecule", choices=sorted(MOLECULES))
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--temperature", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args(argv))
    simulate(**arguments)


if __name__ == "__main__":
    main()
