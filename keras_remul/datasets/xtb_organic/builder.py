"""The TFDS builder `xtb_organic`."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from keras_remul.datasets import archives, potentials
from keras_remul.datasets.potentials import PotentialBuilder
from keras_remul.datasets.xtb_md.builder import XtbMd
from keras_remul.datasets.xtb_md.simulator import read_chunk
from keras_remul.datasets.xtb_organic import simulator
from keras_remul.utils.validation import check_count

ATOMS = 29  # of the largest molecule


@dataclasses.dataclass(kw_only=True)
class XtbOrganicConfig(tfds.core.BuilderConfig):
    """How many of the molecules, and how often.

    Args:
        molecules: `{split: number of its first molecules}`. Defaults to all.
        conformers: runs of each molecule. Defaults to 2.
    """

    molecules: dict | None = None
    conformers: int = 2

    def __post_init__(self):
        check_count("conformers", self.conformers)

    def runs(self):
        """The runs of this configuration, see `simulator.runs`."""
        lists = simulator.molecules()
        counts = {split: len(smiles) for split, smiles in lists.items()}
        return simulator.runs(self.molecules or counts, self.conformers)


class XtbOrganic(PotentialBuilder):
    """Small organic molecules with GFN2-xTB, simulated when prepared."""

    DESCRIPTION = """
What are the energy of an organic molecule and the forces on its atoms? 3380
molecules of H, C, N, O and F, with at most 29 atoms, simulated here with the
semi-empirical method GFN2-xTB.

The molecules grow from 129 parents (chains, rings, aromatics, carbonyls)
by random substitutions; `molecules.txt` lists them as SMILES. Splits are by
molecule: 2799 / 141 / 280 with up to 9 atoms other than hydrogen; `test_large`
are 160 with 10 to 14; `test_hot` are the molecules of `test` at higher
temperature. Molecules that differ only in hydrogen atoms and the orders of
bonds, such as tautomers, are in the same split. Ethanol, acetylacetone, 3BPA
and whatever differs from them only so are in none, for fine-tuning.

Each run starts from a conformer of its own (RDKit: ETKDG, MMFF), goes at most
25 steps towards the minimum, which is kept, and then along Langevin dynamics at
a temperature between 300 and 1000 K (`test_hot`: 1000 and 1500 K), from which 5
frames, 12 fs apart, are kept. A run ends where a bond breaks. Energies are
total energies; atoms are padded to 29, `mask` is 1 for atoms.

`first` has one run of each molecule, the default, `all`, two, about 43,000
frames; `small` has one run of the first 500 / 25 / 50 / 30 / 50 molecules,
`tiny` of the first 3 / 1 / 1 / 1 / 1. Simulating needs `pip install
keras-remul[md]` and takes 70 minutes on one core, `small` 6, `tiny` some
seconds; an interrupted simulation is resumed. Runs in the folder of manual
downloads, in `xtb_organic`, are used as they are.

The law is symmetric under E(3) and permutations of equal atoms.
"""
    CITATION = XtbMd.CITATION
    LIMITS = """
Other elements than H, C, N, O and F, charged or open-shell molecules,
reactions, crystals and liquids. Its labels are GFN2-xTB, not DFT.
"""
    HOMEPAGE = XtbMd.HOMEPAGE
    LICENSE = XtbMd.LICENSE
    SPLITS = ("train", "validation", "test", "test_large", "test_hot")
    BUILDER_CONFIGS = [
        XtbOrganicConfig(name="all", description="3380 molecules, two runs."),
        XtbOrganicConfig(
            name="first", description="3380 molecules, one run.", conformers=1
        ),
        XtbOrganicConfig(
            name="small",
            description="605 molecules, one run.",
            molecules=dict(zip(SPLITS, (500, 25, 50, 30, 50), strict=True)),
            conformers=1,
        ),
        XtbOrganicConfig(
            name="tiny",
            description="6 molecules, one run.",
            molecules=dict(zip(SPLITS, (3, 1, 1, 1, 1), strict=True)),
            conformers=1,
        ),
    ]
    padded = True

    @property
    def atoms(self):
        return ATOMS

    def _arrays(self, dl_manager):
        runs = self.builder_config.runs()
        folder = self.manual_path(dl_manager, "xtb_organic")
        simulator.simulate(folder, runs, verbose=self.verbose)
        parts = {split: [] for split in self.SPLITS}
        empty = 0
        for run in runs:
            frames = _read(folder / run.file, run)
            if frames is None:
                empty += 1
            else:
                parts[run.split].append(frames)
        self.info.metadata["runs without a frame"] = empty
        return {
            split: {
                key: np.concatenate([frames[key] for frames in found])
                for key in self._shapes()
            }
            for split, found in parts.items()
        }


def _read(path, run):
    """The features of the frames of a run, padded; None if it has none."""
    arrays = read_chunk(path) or {}  # of a file that is damaged
    for key in ("smiles", "split"):
        if str(arrays.get(key)) != getattr(run, key):
            raise ValueError(
                f"{path} holds another run: {key} is {arrays.get(key)}, not "
                f"{getattr(run, key)!r}. Remove it, and it will be simulated "
                "again."
            )
    if "energy" not in arrays or not len(arrays["energy"]):
        return None
    missing = [key for key in simulator.KEYS if key not in arrays]
    if missing or "atomic_numbers" not in arrays:
        raise ValueError(
            f"{path} lacks arrays. Remove it, and it will be simulated again."
        )
    x, numbers = arrays["positions"], arrays["atomic_numbers"]
    archives.check_array(path, "atomic_numbers", numbers, "iu", (None,))
    archives.check_array(path, "positions", x, "f", (None, len(numbers), 3))
    archives.check_array(path, "energy", arrays["energy"], "f", (len(x),))
    archives.check_array(path, "forces", arrays["forces"], "f", x.shape)
    frames = potentials.features(x, numbers, arrays["energy"], arrays["forces"])
    frames["mask"] = np.ones(x.shape[:2])
    rest = ATOMS - len(numbers)
    return {
        key: array if key == "energy" else _longer(array, rest)
        for key, array in frames.items()
    }


def _longer(array, rest):
    """An array `(F, N, ...)` with zeros for `rest` more nodes."""
    zeros = np.zeros((len(array), rest, *array.shape[2:]), array.dtype)
    return np.concatenate([array, zeros], axis=1)
