"""Energies and forces of molecules: features and splits of the data sets."""

import numpy as np

from keras_remul.datasets import archives, molecules
from keras_remul.datasets.builder import ArrayBuilder


class PotentialBuilder(ArrayBuilder, skip_registration=True):
    """A builder of configurations with their energies and forces.

    A subclass defines `atoms`, and `padded` if some molecules have fewer.
    """

    UNITS = {
        "positions": "Angstrom",
        "atomic_numbers": "proton number, 0 for padding",
        "energy": "eV, of all atoms and electrons (float64)",
        "forces": "eV/Angstrom",
    }
    DTYPES = {"atomic_numbers": "int32", "energy": "float64"}
    padded = False

    @property
    def atoms(self):
        """Number of atoms of the largest molecule."""
        raise NotImplementedError

    def _shapes(self):
        shapes = {
            "positions": (self.atoms, 3),
            "atomic_numbers": (self.atoms, 1),
            "energy": (1,),
            "forces": (self.atoms, 3),
        }
        return {**shapes, "mask": (self.atoms,)} if self.padded else shapes


def features(positions, numbers, energy, forces):
    """The features of frames of one molecule.

    Args:
        positions, forces: `(F, N, 3)`.
        numbers: `(N,)`.
        energy: `(F,)`.
    """
    shape = (*positions.shape[:2], 1)
    return {
        "positions": positions,
        "atomic_numbers": np.broadcast_to(numbers[:, None], shape),
        "energy": energy[:, None],
        "forces": forces,
    }


def check(path, positions, numbers, energy, forces):
    """Raises ValueError unless these are frames of one molecule with labels.

    Args:
        path: their file, for the errors.
        positions, numbers, energy, forces: as for `features`.
    """
    molecules.check_trajectory(
        path, "positions", positions, "atomic_numbers", numbers
    )
    archives.check_array(path, "energy", energy, "f", (len(positions),))
    archives.check_array(path, "forces", forces, "f", positions.shape)


def without_validation(size, validation, seed=0):
    """Rows of `size` frames for training, and `validation` random ones.

    Returns:
        `(train, validation)`, sorted.
    """
    order = np.random.default_rng(seed).permutation(size)
    return np.sort(order[validation:]), np.sort(order[:validation])
