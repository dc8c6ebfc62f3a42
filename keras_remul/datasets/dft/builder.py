"""The TFDS builders `dft_acac`, `dft_ethanol` and `dft_3bpa`."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from keras_remul.datasets import potentials, structures
from keras_remul.datasets.potentials import PotentialBuilder
from keras_remul.utils import npz
from keras_remul.utils.plain_files import sha256

# The last commit of davkovacs/BOTNet-datasets.
URL = (
    "https://raw.githubusercontent.com/davkovacs/BOTNet-datasets/"
    "29e6d467317e4b5967b7ea5cbee54de953fa0d45"
)
LARGEST = 2**26  # bytes of a file
VALIDATION = 50  # frames, of the training set


@dataclasses.dataclass(kw_only=True)
class DftConfig(tfds.core.BuilderConfig):
    """The files of the splits.

    Args:
        files: `{split: file}`, where "train" also gives the validation set.
        disjoint: whether frames of the training file are left out of the other
            files. Defaults to False: test sets are as published.
    """

    files: dict
    disjoint: bool = False


class _Dft(PotentialBuilder, skip_registration=True):
    """The common part of the three data sets.

    Attributes:
        FOLDER: folder of the files.
        PACKED: name of one npz file with the arrays of several of them, and its
            sha256.
        SETS: `{file: prefix of its arrays in the npz file}`.
        ISOLATED: energies of isolated atoms in eV, by the same method.
    """

    HOMEPAGE = "https://github.com/davkovacs/BOTNet-datasets"
    LICENSE = "MIT"
    CITATION = """
@article{batatia2025design,
  title={The design space of {E(3)}-equivariant atom-centred interatomic
         potentials},
  author={Batatia, Ilyes and Batzner, Simon and Kov{\\'a}cs, D{\\'a}vid
          P{\\'e}ter and Musaelian, Albert and Simm, Gregor N. C. and Drautz,
          Ralf and Ortner, Christoph and Kozinsky, Boris and Cs{\\'a}nyi,
          G{\\'a}bor},
  journal={Nature Machine Intelligence},
  year={2025}
}
"""
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The extended-xyz files of davkovacs/BOTNet-datasets, in their folders."
    )

    @property
    def atoms(self):
        return self.ATOMS

    @property
    def split_names(self):
        train, *others = self.builder_config.files
        return (train, "validation", *others)

    def _read(self, dl_manager, file):
        """Positions, atomic numbers, energies and forces of a file."""
        packed, digest = self.PACKED
        path = self.manual_path(dl_manager, packed)
        if path.exists() and file in self.SETS:
            if sha256(path) != digest:
                raise ValueError(
                    f"{path} has the sha256 {sha256(path)}; expected {digest}. "
                    "Get it again, or use the extended-xyz files."
                )
            arrays = _unpacked(path, self.SETS[file])
        else:
            name = f"{self.FOLDER}/{file}"
            path = self.files(dl_manager, [name], URL, LARGEST)[name]
            arrays = _from_xyz(path)
        potentials.check(path, *arrays)
        if len(arrays[1]) != self.ATOMS:
            raise ValueError(
                f"Expected {self.ATOMS} atoms in {path}. Received: "
                f"{len(arrays[1])}"
            )
        return arrays

    def _arrays(self, dl_manager):
        for element, energy in self.ISOLATED.items():
            key = f"energy of an isolated {element} atom, eV"
            self.info.metadata[key] = energy
        config = self.builder_config
        files = dict(config.files)
        x, numbers, energy, forces = self._read(dl_manager, files.pop("train"))
        rows = potentials.without_validation(len(x), VALIDATION)
        splits = {
            split: potentials.features(x[i], numbers, energy[i], forces[i])
            for split, i in zip(("train", "validation"), rows, strict=True)
        }
        for split, file in files.items():
            x, numbers, other, forces = self._read(dl_manager, file)
            keep = ~(config.disjoint & np.isin(other, energy))
            splits[split] = potentials.features(
                x[keep], numbers, other[keep], forces[keep]
            )
        return splits


def _unpacked(path, prefix):
    """The arrays of a set in an npz file."""
    keys = [f"{prefix}_R", "z", f"{prefix}_E", f"{prefix}_F"]
    arrays = npz.read_npz(path, keys)
    return [arrays[key] for key in keys]


def _from_xyz(path):
    """The arrays of an extended-xyz file of one molecule."""
    x, y = structures.from_ase(path)
    lacking = {"energy", "forces"} - set(y)
    if lacking:
        raise ValueError(
            f"Expected energies and forces in {path}. Missing: "
            f"{sorted(lacking)}. Get the file again."
        )
    numbers = x["atomic_numbers"][..., 0]
    if (numbers != numbers[0]).any():
        raise ValueError(
            f"Expected the same atoms in all frames of {path}. Get the file "
            "again."
        )
    return x["positions"], numbers[0], y["energy"][:, 0], y["forces"]


class DftEthanol(_Dft):
    """Ethanol, PBE/def2-SVP."""

    DESCRIPTION = """
What are the energy of ethanol and the forces on its atoms? 2000 configurations
of revised MD17, computed again with ORCA 4.2, PBE/def2-SVP: 950 / 50 / 1000,
where the validation set are 50 fixed, random frames of the published training
set. The law is symmetric under E(3) and permutations of equal atoms.
"""
    ATOMS = 9
    FOLDER = "dataset_ethanol"
    PACKED = (
        "ethanol.npz",
        "ab83755bf6654aea70cc854aaeaa2c7243e3443959a90c480425d21b8082391e",
    )
    SETS = {"train.xyz": "train", "test_MD.xyz": "test"}
    ISOLATED = {
        "H": -13.568422383046626,
        "C": -1025.2770951782686,
        "O": -2035.5709809589698,
    }
    BUILDER_CONFIGS = [
        DftConfig(
            name="standard",
            description="ethanol, 9 atoms, frames of revised MD17.",
            files={"train": "train.xyz", "test": "test_MD.xyz"},
        )
    ]


class DftAcac(_Dft):
    """Acetylacetone at 300 and 600 K, PBE-D3/def2-SVP."""

    DESCRIPTION = """
What are the energy of acetylacetone and the forces on its atoms? Uncorrelated
configurations of molecular dynamics with GFN-xTB, computed with ORCA 5,
PBE-D3/def2-SVP. Training is at 300 K: 450 / 50, where the validation set are 50
fixed, random frames of the published training set. `test` are 650 frames at 300
K, `test_600K` 650 at 600 K. The law is symmetric under E(3) and permutations of
equal atoms.
"""
    ATOMS = 15
    FOLDER = "dataset_acac"
    PACKED = (
        "acac.npz",
        "d732f7254cc52ba59138dfa9f9af5e0610d9745e16f35f79cb9b5b5ccbdd6198",
    )
    SETS = {
        "train_300K.xyz": "train300",
        "test_MD_300K.xyz": "test300",
        "test_MD_600K.xyz": "test600",
    }
    ISOLATED = {
        "H": -13.568422178253735,
        "C": -1026.8538996116154,
        "O": -2037.796869412825,
    }
    BUILDER_CONFIGS = [
        DftConfig(
            name="standard",
            description="acetylacetone, 15 atoms, trained at 300 K.",
            files={
                "train": "train_300K.xyz",
                "test": "test_MD_300K.xyz",
                "test_600K": "test_MD_600K.xyz",
            },
        )
    ]


class Dft3bpa(_Dft):
    """3-(benzyloxy)pyridin-2-amine at 300 to 1200 K, wB97X/6-31G(d)."""

    name = "dft_3bpa"
    DESCRIPTION = """
What are the energy of 3-(benzyloxy)pyridin-2-amine and the forces on its atoms?
Configurations of molecular dynamics, wB97X/6-31G(d). Training is at 300 K: 450
/ 50, where the validation set are 50 fixed, random frames of the published
training set.

`standard` has the published test sets at 300 K (`test`), 600 K (`test_600K`)
and 1200 K (`test_1200K`). In `mixed`, `test` are those of the 500 frames
published for training at mixed temperatures (300, 600 and 1200 K) that are not
in the training set at 300 K, 469.

The law is symmetric under E(3) and permutations of equal atoms.
"""
    ATOMS = 27
    FOLDER = "dataset_3BPA"
    PACKED = (
        "threebpa.npz",
        "d815709d17d08914236d40ac8a0de9c5947233cbbdecc95b47647118edf1f4d1",
    )
    SETS = {"train_300K.xyz": "train300", "train_mixedT.xyz": "train_mixed"}
    ISOLATED = {
        "H": -13.587222780835477,
        "C": -1029.4889999855063,
        "N": -1484.9814568572233,
        "O": -2041.9816003861047,
    }
    BUILDER_CONFIGS = [
        DftConfig(
            name="standard",
            description="3BPA, 27 atoms, trained at 300 K.",
            files={
                "train": "train_300K.xyz",
                "test": "test_300K.xyz",
                "test_600K": "test_600K.xyz",
                "test_1200K": "test_1200K.xyz",
            },
        ),
        DftConfig(
            name="mixed",
            description="3BPA, trained at 300 K, tested at 300 to 1200 K.",
            files={"train": "train_300K.xyz", "test": "train_mixedT.xyz"},
            disjoint=True,
        ),
    ]
