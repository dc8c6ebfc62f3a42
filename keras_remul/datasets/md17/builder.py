"""The TFDS builders `md17` and `rmd17`."""

import numpy as np

from keras_remul.datasets import archives, molecules
from keras_remul.datasets.builder import ArrayBuilder
from keras_remul.utils import npz

LARGEST = 2**31  # bytes of a file
REVISED_URL = "https://figshare.com/ndownloader/files/23950376"  # .tar.bz2
# Name: (heavy atoms, file of MD17, file of rMD17).
MOLECULES = {
    "aspirin": (13, "md17_aspirin.npz", "rmd17_aspirin.npz"),
    "azobenzene": (14, "azobenzene_dft.npz", "rmd17_azobenzene.npz"),
    "benzene": (6, "md17_benzene2017.npz", "rmd17_benzene.npz"),
    "ethanol": (3, "md17_ethanol.npz", "rmd17_ethanol.npz"),
    "malonaldehyde": (5, "md17_malonaldehyde.npz", "rmd17_malonaldehyde.npz"),
    "naphthalene": (10, "md17_naphthalene.npz", "rmd17_naphthalene.npz"),
    "paracetamol": (11, "paracetamol_dft.npz", "rmd17_paracetamol.npz"),
    "salicylic_acid": (10, "md17_salicylic.npz", "rmd17_salicylic.npz"),
    "toluene": (7, "md17_toluene.npz", "rmd17_toluene.npz"),
    "uracil": (8, "md17_uracil.npz", "rmd17_uracil.npz"),
}
_TASK = """
Inputs are the positions x_t of the atoms other than hydrogen, their velocities
x_{t+1} - x_t and atomic numbers; targets are x_{t+3000}. A step is 0.5 fs.
500 / 2000 / 2000 windows are chosen at random from the whole trajectory, as in
the published comparisons (GMN, EGNO), but with a seed of our own; frames of
different splits can thus be neighbors in time. The law is symmetric under
E(3) and permutations of equal atoms.
"""


def _configs():
    return [
        molecules.MoleculeConfig(
            name=name,
            description=f"{name}, {count} atoms other than hydrogen.",
            molecule=name,
            atoms=count,
        )
        for name, (count, _, _) in MOLECULES.items()
    ]


def read(path, keys, energies, forces):
    """Arrays of an npz file by their keys.

    Args:
        path: path of the file.
        keys: names of the positions `(T, N, 3)`, the proton numbers `(N,)`
            and further arrays.
        energies, forces: names of the labels of the frames, `(T,)` or `(T, 1)`
            and `(T, N, 3)`. They are not used, but if they are present they
            must fit the positions.

    Returns:
        A list of arrays, those of `keys`.

    Raises:
        ValueError: an array of `keys` is missing or not real, shapes do not
            fit, a frame is not in Angstrom, or two atoms are at one place.
    """
    arrays = npz.read_npz(path, keys, optional=(*energies, *forces))
    positions, numbers = arrays[keys[0]], arrays[keys[1]]
    molecules.check_trajectory(path, keys[0], positions, keys[1], numbers)
    size = len(positions)
    for key in energies:
        if key in arrays:
            tail = arrays[key].shape[1:]
            shape = (size, 1) if tail == (1,) else (size,)
            archives.check_array(path, key, arrays[key], "f", shape)
    for key in forces:
        if key in arrays:
            shape = (size, len(numbers), 3)
            archives.check_array(path, key, arrays[key], "f", shape)
    return [arrays[key] for key in keys]


def revised_file(builder, dl_manager, name, member):
    """Path of a file of revised MD17, put there by hand or downloaded.

    Args:
        builder: an `ArrayBuilder`.
        dl_manager: the download manager of TFDS.
        name: of the file in the folder of manual downloads.
        member: of the file in the archive, in its folder `rmd17`.
    """
    path = builder.manual_path(dl_manager, name)
    if path.exists():
        return path
    archive = builder.download(
        dl_manager, REVISED_URL, "rmd17.tar.bz2", LARGEST
    )
    return archives.extract(archive, f"rmd17/{member}", archive.parent)


class _Trajectory(ArrayBuilder, skip_registration=True):
    """The common part of MD17 and revised MD17."""

    UNITS = {
        "positions, targets": "Angstrom",
        "velocities": "Angstrom per step of 0.5 fs",
        "atomic_numbers": "proton number",
    }
    LICENSE = "See the homepage."

    def _shapes(self):
        return molecules.shapes(self.builder_config)

    def _read(self, dl_manager):
        """`(path, positions, atomic numbers, time of each frame)`."""
        raise NotImplementedError

    def _arrays(self, dl_manager):
        config = self.builder_config
        path, x, numbers, times = self._read(dl_manager)
        mask = molecules.kept(numbers, config, path)
        x, numbers = x[:, mask], numbers[mask]
        order = np.argsort(times)
        x, times = x[order], times[order]

        def place(shift):
            rows = np.searchsorted(times, times + shift)
            rows = np.minimum(rows, len(times) - 1)
            return rows, times[rows] == times + shift

        (after, has_after), (later, has_later) = place(1), place(config.horizon)
        chosen = molecules.random_windows(
            np.flatnonzero(has_after & has_later), config.sizes(), config.seed
        )
        return {
            split: molecules.features(
                x[rows], x[after[rows]] - x[rows], x[later[rows]], numbers
            )
            for split, rows in zip(self.SPLITS, chosen, strict=True)
        }


class Md17(_Trajectory):
    """Trajectories of ten molecules at 500 K, PBE+vdW-TS."""

    DESCRIPTION = f"""
MD17: where are the atoms of a molecule 1.5 ps later?
{_TASK}"""
    CITATION = """
@article{chmiela2017machine,
  title={Machine learning of accurate energy-conserving molecular force fields},
  author={Chmiela, Stefan and Tkatchenko, Alexandre and Sauceda, Huziel E. and
          Poltavsky, Igor and Sch{\\"u}tt, Kristof T. and M{\\"u}ller,
          Klaus-Robert},
  journal={Science Advances},
  year={2017}
}
"""
    HOMEPAGE = "https://www.sgdml.org"
    # The site of the authors; its files are on a server without encryption.
    URL = "https://sgdml.org/secure_proxy.php?file=data/npz"
    BUILDER_CONFIGS = _configs()

    def _read(self, dl_manager):
        name = MOLECULES[self.builder_config.molecule][1]
        path = self.files(dl_manager, [name], self.URL, LARGEST)[name]
        x, numbers = read(path, ("R", "z"), ("E",), ("F",))
        return path, x, numbers, np.arange(len(x))


class Rmd17(_Trajectory):
    """Frames of MD17, computed again; a part of each trajectory."""

    DESCRIPTION = f"""
Revised MD17: where are the atoms of a molecule 1.5 ps later?

The 100,000 frames of each molecule are a part of its MD17 trajectory. Windows
are those whose three frames (t, t + 1, t + 3000) are all there; where these
are too few, as for the longest trajectories, preparing is refused: use `md17`,
whose positions are the same.
{_TASK}"""
    CITATION = """
@article{christensen2020role,
  title={On the role of gradients for machine learning of molecular energies and
         forces},
  author={Christensen, Anders S. and von Lilienfeld, O. Anatole},
  journal={Machine Learning: Science and Technology},
  year={2020}
}
"""
    HOMEPAGE = "https://doi.org/10.6084/m9.figshare.12672038.v3"
    BUILDER_CONFIGS = _configs()

    def _read(self, dl_manager):
        name = MOLECULES[self.builder_config.molecule][2]
        path = revised_file(self, dl_manager, name, f"npz_data/{name}")
        key = "old_indices"
        x, numbers, times = read(
            path,
            ("coords", "nuclear_charges", key),
            ("energies", "old_energies"),
            ("forces", "old_forces"),
        )
        archives.check_array(path, key, times, "iu", (len(x),))
        if times.min() < 0 or len(np.unique(times)) < len(times):
            raise ValueError(
                f"Expected the place of each frame in its trajectory as "
                f"{key!r} in {path}, at least 0, none twice. Get the file "
                "again."
            )
        times = times.astype("int64")
        return path, x, numbers, times
