"""Molecular dynamics with ASE, and what the run says about the potential."""

import contextlib
import time

import numpy as np
from scipy import constants
from tqdm.auto import tqdm

# Of the angular momentum, in the units of ASE: scipy knows h / 2 pi in J s.
HBAR = (
    constants.hbar
    / constants.e
    * 1e10
    * np.sqrt(constants.e / constants.atomic_mass)
)


def simulate(
    atoms,
    output,
    steps,
    timestep=0.5,
    temperature=300.0,
    friction=None,
    interval=10,
    seed=0,
    verbose=True,
):
    """Runs molecular dynamics, and writes its frames as extended xyz.

    Without friction the energy is constant, and without a cell the angular
    momentum too: how they drift tells how well the forces are a gradient, of an
    energy that does not depend on the orientation, and whether the time step
    is short enough.

    Args:
        atoms: `ase.Atoms` with a calculator; they are moved. Without momenta
            they are given some: random ones of `temperature`, without motion
            of the whole and, without a cell, rotation.
        output: file of the frames, which is replaced.
        steps: number of time steps.
        timestep: fs.
        temperature: K, of the first momenta and of the thermostat.
        friction: of a Langevin thermostat, 1/fs. Defaults to None: constant
            energy.
        interval: steps from frame to frame.
        seed: integer seed of the momenta and the thermostat.
        verbose: whether to show a progress bar.

    Returns:
        Dict of floats: `temperature`, K, mean; `ns_per_day`; without friction
        `energy_drift`, meV/atom/ps, the slope of a straight line through the
        energies, and `energy_noise`, meV/atom, the standard deviation from it;
        without a cell also `angular_momentum_drift`, hbar, the largest change.
    """
    from ase import io, units

    free = not atoms.pbc.any()
    rng = np.random.default_rng(seed)
    if not atoms.get_momenta().any():
        _warm(atoms, temperature, rng, free)
    dynamics = _dynamics(
        atoms, timestep * units.fs, temperature, friction, rng, units
    )
    times, energies, temperatures, momenta = [], [], [], []
    with (
        open(output, "w", encoding="utf-8") as file,
        _bar(steps, verbose) as bar,
    ):

        def record():
            io.write(file, atoms, format="extxyz")
            times.append(dynamics.nsteps * timestep / 1000.0)
            energies.append(atoms.get_total_energy() / len(atoms))
            temperatures.append(atoms.get_temperature())
            momenta.append(atoms.get_angular_momentum())
            bar.update(dynamics.nsteps - bar.n)

        dynamics.attach(record, interval=interval)
        atoms.get_forces()  # compiles
        start = time.perf_counter()
        dynamics.run(steps)
        seconds = time.perf_counter() - start
        bar.update(steps - bar.n)
    figures = {
        "temperature": float(np.mean(temperatures)),
        "ns_per_day": steps * timestep * 1e-6 / (seconds / 86400.0),
    }
    if friction is None and len(times) > 2:
        line = np.polyfit(times, energies, 1)
        rest = energies - np.polyval(line, times)
        figures["energy_drift"] = float(1000.0 * line[0])
        figures["energy_noise"] = float(1000.0 * np.std(rest))
        if free:
            change = np.linalg.norm(np.array(momenta) - momenta[0], axis=1)
            figures["angular_momentum_drift"] = float(change.max() / HBAR)
    return figures


def _warm(atoms, temperature, rng, free):
    """Momenta of the temperature, without motion of the whole."""
    from ase import units
    from ase.md.velocitydistribution import Stationary, ZeroRotation

    width = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(width[:, None] * rng.standard_normal((len(atoms), 3)))
    if len(atoms) > 1:
        Stationary(atoms)
        if free:
            # Of atoms on a line, one moment of inertia is 0.
            with np.errstate(divide="ignore", invalid="ignore"):
                ZeroRotation(atoms)


def _dynamics(atoms, timestep, temperature, friction, rng, units):
    if friction is None:
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)
    from ase.md.langevin import Langevin

    return Langevin(
        atoms,
        timestep,
        temperature_K=temperature,
        friction=friction / units.fs,
        fixcm=False,  # the center is as warm as the rest
        rng=rng,
    )


@contextlib.contextmanager
def _bar(steps, verbose):
    with tqdm(
        total=steps, desc="Simulating", unit="step", disable=not verbose
    ) as bar:
        yield bar
