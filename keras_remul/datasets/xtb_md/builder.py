"""The TFDS builder `xtb_md`."""

import numpy as np

from keras_remul.datasets import molecules
from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.datasets.xtb_md import simulator

STEPS = 100_000


def _config(name, molecule, **kwargs):
    heavy = sum(n > 1 for n in simulator.MOLECULES[molecule]["numbers"])
    return molecules.MoleculeConfig(
        name=name,
        description=f"{molecule}, {heavy} atoms other than hydrogen.",
        molecule=molecule,
        heavy_atoms=heavy,
        **kwargs,
    )


class XtbMd(ArrayBuilder):
    """Eight molecules at 500 K, simulated with GFN2-xTB when prepared."""

    DESCRIPTION = """
Where are the atoms of a molecule 1.5 ps later? The molecules of MD17, simulated
here with the semi-empirical method GFN2-xTB.

After 2 ps of Langevin equilibration, 50 ps of velocity Verlet with a time step
of 0.5 fs at constant energy (that of 3 N - 6 harmonic oscillators at 500 K),
without momentum and angular momentum. Inputs are positions x_t and velocities
v_t of the atoms other than hydrogen, and their atomic numbers; targets are
x_{t+3000}. Windows are split by time, 40 / 30 / 30 %, with a gap of 1.5 ps,
such that no test frame neighbours a training frame; 500 / 2000 / 2000 of them
are chosen at random. `tiny` is ethanol, 50 fs ahead, for tests.

The law is symmetric under E(3) and permutations of equal atoms. Simulating
needs `pip install keras-remul[md]` and takes 3 (ethanol) to 30 (aspirin)
minutes on one core; it goes on where it was stopped. A trajectory that is there
already, in the folder of manual downloads, is used as it is.
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
    UNITS = {
        "positions, targets": "Angstrom",
        "velocities": "Angstrom/fs",
        "atomic_numbers": "proton number",
    }
    BUILDER_CONFIGS = [
        *(_config(name, name) for name in sorted(simulator.MOLECULES)),
        _config(
            "tiny", "ethanol", horizon=100, train=20, validation=10, test=10
        ),
    ]

    @property
    def horizon(self):
        return self.builder_config.horizon * simulator.TIME_STEP

    def _shapes(self):
        return molecules.shapes(self.builder_config)

    def _steps(self):
        return simulator.CHUNK if self.builder_config.name == "tiny" else STEPS

    def _arrays(self, dl_manager):
        config, steps = self.builder_config, self._steps()
        folder = self.manual_path(dl_manager, f"xtb_md/{config.molecule}")
        x, v = simulator.trajectory(
            config.molecule, folder, steps, verbose=self.verbose
        )
        numbers = np.array(simulator.MOLECULES[config.molecule]["numbers"])
        mask = molecules.heavy(numbers, config, folder)
        x, v, numbers = x[:, mask], v[:, mask], numbers[mask]
        horizon = config.horizon // simulator.SAVE_EVERY
        chosen = molecules.windows_by_time(
            len(x), horizon, config.sizes(), config.seed
        )
        return {
            split: molecules.features(
                x[rows], v[rows], x[rows + horizon], numbers
            )
            for split, rows in zip(self.SPLITS, chosen, strict=True)
        }
