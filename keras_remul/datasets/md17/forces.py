"""The TFDS builder `rmd17_forces`."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from keras_remul.datasets import molecules, potentials
from keras_remul.datasets.md17 import builder as md17
from keras_remul.datasets.potentials import PotentialBuilder
from keras_remul.utils import npz
from keras_remul.utils.plain_files import read_plain

EV = 4184 / 96485.33212  # of 1 kcal/mol
VALIDATION = 50  # frames, of the training set
SIZE = 1000  # frames of the training set and of the test set
# Atoms of the molecules, with hydrogen.
ATOMS = {
    "aspirin": 21,
    "azobenzene": 24,
    "benzene": 12,
    "ethanol": 9,
    "malonaldehyde": 9,
    "naphthalene": 18,
    "paracetamol": 20,
    "salicylic_acid": 16,
    "toluene": 15,
    "uracil": 12,
}


@dataclasses.dataclass(kw_only=True)
class Rmd17ForcesConfig(tfds.core.BuilderConfig):
    """The molecule and the split.

    Args:
        molecule: name of the molecule.
        number: of the published split, 1 to 5, or None for random frames with
            a fixed seed. Defaults to 1.
    """

    molecule: str
    number: int | None = 1


class Rmd17Forces(PotentialBuilder):
    """Energies and forces of ten molecules at 500 K, PBE/def2-SVP."""

    DESCRIPTION = """
What are the energy of a molecule and the forces on its atoms? Frames of MD17 at
500 K, computed again with ORCA, PBE/def2-SVP, converted from kcal/mol to eV.

The first published split: 950 / 50 / 1000 frames, where the validation set are
50 fixed, random frames of the published training set. It is read from the files
`splits/index_train_01.csv` and `splits/index_test_01.csv` of the archive, or in
the folder of manual downloads, beside `rmd17_ethanol.npz` and the like. Frames
of different splits can be neighbors in time. The law is symmetric under E(3)
and permutations of equal atoms.
"""
    CITATION = md17.Rmd17.CITATION
    HOMEPAGE = md17.Rmd17.HOMEPAGE
    LICENSE = "See the homepage."
    BUILDER_CONFIGS = [
        Rmd17ForcesConfig(
            name=name, description=f"{name}, {atoms} atoms.", molecule=name
        )
        for name, atoms in ATOMS.items()
    ]

    @property
    def atoms(self):
        return ATOMS[self.builder_config.molecule]

    def _arrays(self, dl_manager):
        name = md17.MOLECULES[self.builder_config.molecule][2]
        path = md17.revised_file(self, dl_manager, name, f"npz_data/{name}")
        keys = ("coords", "nuclear_charges", "energies", "forces")
        arrays = npz.read_npz(path, keys)
        x, numbers, energy, forces = (arrays[key] for key in keys)
        potentials.check(path, x, numbers, energy, forces)
        if len(numbers) != self.atoms:
            raise ValueError(
                f"Expected {self.atoms} atoms in {path}. Received: "
                f"{len(numbers)}"
            )
        train, test = self._split(dl_manager, len(x))
        if np.isin(train, test).any():
            raise ValueError(
                "Expected splits without common frames. Get the csv files of "
                "revised MD17 again."
            )
        parts = potentials.without_validation(len(train), VALIDATION)
        rows = [train[parts[0]], train[parts[1]], test]
        return {
            split: potentials.features(
                x[i], numbers, energy[i] * EV, forces[i] * EV
            )
            for split, i in zip(self.SPLITS, rows, strict=True)
        }

    def _split(self, dl_manager, size):
        """The frames for training and for the test."""
        number = self.builder_config.number
        if number is None:
            order = range(size)
            return molecules.random_windows(order, (SIZE, SIZE), seed=0)
        return [
            self._rows(dl_manager, kind, number, size)
            for kind in ("train", "test")
        ]

    def _rows(self, dl_manager, kind, number, size):
        """The frames of a published split."""
        name = f"splits/index_{kind}_{number:02}.csv"
        path = md17.revised_file(self, dl_manager, name, name)
        try:
            text = read_plain(path, 2**20).decode("ascii")
            rows = np.array([int(word) for word in text.split()])
        except ValueError as error:
            raise ValueError(
                f"Expected one number in each line of {path}: {error}"
            ) from error
        if (
            len(set(rows)) != SIZE
            or len(rows) != SIZE
            or not (0 <= rows.min() and rows.max() < size)
        ):
            raise ValueError(
                f"Expected {SIZE} different numbers from 0 to {size - 1} in "
                f"{path}. Received: {len(rows)}"
            )
        return rows
