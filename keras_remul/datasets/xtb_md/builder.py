"""The TFDS builder `xtb_md`."""

import dataclasses

import numpy as np

from keras_remul.datasets import molecules
from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.datasets.xtb_md import simulator
from keras_remul.utils.validation import check_count


@dataclasses.dataclass(kw_only=True)
class XtbMdConfig(molecules.MoleculeConfig):
    """As `MoleculeConfig`, with hydrogen.

    Args:
        steps: length of the trajectory, in steps of 0.5 fs, a multiple of
            2000. Defaults to 100,000.
    """

    hydrogen: bool = True
    horizon: int = 100
    steps: int = 100_000

    def __post_init__(self):
        super().__post_init__()
        for key, unit in (
            ("horizon", simulator.SAVE_EVERY),
            ("steps", simulator.CHUNK),
        ):
            check_count(key, getattr(self, key))
            if getattr(self, key) % unit:
                raise ValueError(
                    f"Argument `{key}` must be a multiple of {unit}. Received: "
                    f"{key}={getattr(self, key)}"
                )


def _config(name, molecule, **kwargs):
    atoms = len(simulator.MOLECULES[molecule]["numbers"])
    config = XtbMdConfig(name=name, molecule=molecule, atoms=atoms, **kwargs)
    config.description = f"{molecule}, {atoms} atoms, {config.steps} steps."
    return config


class XtbMd(ArrayBuilder):
    """Eight molecules at 500 K, simulated with GFN2-xTB when prepared."""

    DESCRIPTION = """
Where are the atoms of a molecule 50 fs later? The molecules of MD17, simulated
here with the semi-empirical method GFN2-xTB.

After 2 ps of Langevin equilibration, 50 ps of velocity Verlet with a time step
of 0.5 fs at constant energy (that of 3 N - 6 harmonic oscillators at 500 K),
without momentum and angular momentum. Inputs are positions x_t, velocities v_t
and atomic numbers of all atoms; targets are x_{t+100}. Windows are split by
time, 40 / 30 / 30 %, with a gap of 50 fs, such that no test frame neighbors a
training frame; 500 / 2000 / 2000 of them are chosen at random. `small` is
ethanol for 10 ps, 500 / 500 / 500 windows; `tiny` is ethanol for 1 ps, 20 / 10
/ 10 windows.

The law is symmetric under E(3) and permutations of equal atoms. Simulating
needs `pip install keras-remul[md]` and takes 3 (ethanol) to 30 (aspirin)
minutes on one core, `small` less than one; an interrupted simulation is
resumed. A trajectory in the folder of manual downloads is used as it is.
`keras-remul datasets info` shows the drift of the energy.
"""
    CITATION = """
@article{bannwarth2019gfn2,
  title={{GFN2-xTB}: An accurate and broadly parametrized self-consistent
         tight-binding quantum chemical method with multipole electrostatics
         and density-dependent dispersion contributions},
  author={Bannwarth, Christoph and Ehlert, Sebastian and Grimme, Stefan},
  journal={Journal of Chemical Theory and Computation},
  year={2019}
}
"""
    HOMEPAGE = "https://tblite.readthedocs.io"
    LICENSE = "Apache-2.0 (simulated by keras_remul)"
    LIMITS = """
Other molecules, temperatures or times ahead: the model knows one molecule at
500 K. It gives no energies or forces; for these take a `Potential`.
"""
    UNITS = {
        "positions, targets": "Angstrom",
        "velocities": "Angstrom/fs",
        "atomic_numbers": "proton number",
    }
    BUILDER_CONFIGS = [
        *(_config(name, name) for name in sorted(simulator.MOLECULES)),
        _config("small", "ethanol", steps=20_000, validation=500, test=500),
        _config(
            "tiny", "ethanol", steps=2000, train=20, validation=10, test=10
        ),
    ]

    @property
    def horizon(self):
        return self.builder_config.horizon * simulator.TIME_STEP

    def _shapes(self):
        return molecules.shapes(self.builder_config)

    def _arrays(self, dl_manager):
        config = self.builder_config
        folder = self.manual_path(dl_manager, f"xtb_md/{config.molecule}")
        x, v, energy = simulator.trajectory(
            config.molecule, folder, config.steps, verbose=self.verbose
        )
        numbers = np.array(simulator.MOLECULES[config.molecule]["numbers"])
        molecules.check_trajectory(
            folder, "positions", x, "atomic_numbers", numbers
        )
        self.info.metadata.update(_energy(energy, len(numbers)))
        mask = molecules.kept(numbers, config, folder)
        x, v, numbers = x[:, mask], v[:, mask], numbers[mask]
        frames = config.horizon // simulator.SAVE_EVERY
        chosen = molecules.windows_by_time(
            len(x), frames, config.sizes(), config.seed
        )
        return {
            split: molecules.features(
                x[rows], v[rows], x[rows + frames], numbers
            )
            for split, rows in zip(self.SPLITS, chosen, strict=True)
        }


def _energy(energy, atoms):
    """Drift and spread of the total energy of a trajectory."""
    time = np.arange(len(energy)) * simulator.SAVE_EVERY * simulator.TIME_STEP
    drift = np.polyfit(time / 1000, energy, 1)[0]
    scale = 1000 / atoms
    return {
        "energy drift, meV per atom and ps": float(f"{drift * scale:.3g}"),
        "energy spread, meV per atom": float(f"{energy.std() * scale:.3g}"),
    }
