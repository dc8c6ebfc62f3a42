"""Prediction tasks from the trajectory of a molecule."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds
from scipy.spatial.distance import cdist

from keras_remul.datasets import archives
from keras_remul.utils.elements import CLOSEST, ELEMENTS
from keras_remul.utils.validation import check_count

BOND = (0.7, 1.7)  # Angstrom, of an atom and its nearest neighbor
# Of its median over the atoms, from the first frame to another one: at 600 K
# within 0.93 to 1.09 in the molecules that were looked at.
CHANGE = (0.7, 1.4)
_PAIRS = 2**20  # of atoms, in memory at once


@dataclasses.dataclass(kw_only=True)
class MoleculeConfig(tfds.core.BuilderConfig):
    """The molecule, the time to predict, and the number of windows.

    Args:
        molecule: name of the molecule.
        atoms: number of atoms that are kept.
        hydrogen: whether hydrogen is kept too. Defaults to False.
        horizon: steps of 0.5 fs from input to target. Defaults to 3000.
        train, validation, test: numbers of windows. Default to 500, 2000 and
            2000.
        seed: of the choice of windows. Defaults to 0.
    """

    molecule: str
    atoms: int
    hydrogen: bool = False
    horizon: int = 3000
    train: int = 500
    validation: int = 2000
    test: int = 2000
    seed: int = 0

    def __post_init__(self):
        for key in ("atoms", "horizon", "train", "validation", "test"):
            check_count(key, getattr(self, key))

    def sizes(self):
        """Numbers of windows of the splits, in their order."""
        return self.train, self.validation, self.test


def check_trajectory(path, key, positions, numbers_key, numbers):
    """Raises ValueError unless these are the frames of one molecule.

    Args:
        path: their file, for the errors.
        key, numbers_key: names of the two arrays there.
        positions: `(T, N, 3)`, in Angstrom in each frame.
        numbers: `(N,)`, proton numbers.
    """
    archives.check_array(path, numbers_key, numbers, "iu", (None,))
    if len(numbers) < 2 or numbers.min() < 1 or numbers.max() > ELEMENTS:
        raise ValueError(
            f"Expected the proton numbers of at least two atoms, 1 to "
            f"{ELEMENTS}, as {numbers_key!r} in {path}. Received: "
            f"{numbers.tolist()}"
        )
    archives.check_array(path, key, positions, "f", (None, len(numbers), 3))
    check_angstrom(positions, path)


def _distances(positions):
    """Distances of all pairs, `(T, N, N)`, infinite to an atom itself."""
    distances = np.stack([cdist(frame, frame) for frame in positions])
    atoms = np.arange(positions.shape[1])
    distances[:, atoms, atoms] = np.inf
    return distances


def check_angstrom(positions, where):
    """Raises ValueError where the unit of a frame is not Angstrom.

    This is judged by the distance of each atom to its nearest neighbor, the
    median over the atoms, in each frame `(T, N, 3)`, and by the change of this
    median.
    """
    first, block = None, max(1, _PAIRS // positions.shape[1] ** 2)
    for start in range(0, len(positions), block):
        distances = _distances(positions[start : start + block])
        nearest = distances.min(axis=2)
        close = np.argwhere(nearest < CLOSEST)
        medians = np.median(nearest, axis=1)
        first = medians[0] if first is None else first
        low = max(BOND[0], CHANGE[0] * first)
        high = min(BOND[1], CHANGE[1] * first)
        wrong = np.flatnonzero(~((low < medians) & (medians < high)))
        if wrong.size:
            frame = wrong[0]
            median = float(medians[frame])
            hint = " This looks like bohr." if 1.7 <= median < 3.2 else ""
            if not BOND[0] < median < BOND[1] or start + frame == 0:
                expected = f"{BOND[0]} to {BOND[1]}"
            else:
                expected = f"{low:.3g} to {high:.3g}, as in frame 0"
            raise ValueError(
                "Expected positions in Angstrom, with a neighbor of each atom "
                f"within {expected}. Received: a median distance of "
                f"{median:.3g} in frame {start + frame} of {where}.{hint} "
                "Convert the file, all of it."
            )
        if close.size:
            frame, atom = close[0]
            other = int(distances[frame, atom].argmin())
            raise ValueError(
                f"Atoms {atom} and {other} of frame {start + frame} of {where} "
                f"are {distances[frame, atom, other]:.3g} Angstrom apart. Get "
                "the file again, or take out the atom that is there twice."
            )


def random_windows(starts, sizes, seed):
    """Disjoint random choices among `starts`, one for each size."""
    if len(starts) < sum(sizes):
        raise ValueError(
            f"Expected at least {sum(sizes)} windows for splits of {sizes}. "
            f"Received: a trajectory with {len(starts)}."
        )
    order = np.random.default_rng(seed).permutation(starts)
    return np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])


def windows_by_time(frames, horizon, sizes, seed):
    """Windows of three stretches of time, 40, 30 and 30 % of the frames.

    All frames of a window lie in its stretch, and stretches are `horizon`
    apart, so that no test frame neighbors a training frame.
    """
    ends = np.round(np.array([0, 0.4, 0.7, 1]) * frames).astype(int)
    result = []
    for i, size in enumerate(sizes):
        first = ends[i] + (horizon if i else 0)
        starts = np.arange(first, max(first, ends[i + 1] - horizon))
        result += random_windows(starts, [size], [seed, i])
    return result


def kept(numbers, config, where):
    """Mask of the atoms that are kept."""
    mask = numbers > (0 if config.hydrogen else 1)
    if mask.sum() != config.atoms:
        kind = "" if config.hydrogen else " other than hydrogen"
        raise ValueError(
            f"Expected {config.atoms} atoms{kind} in {config.molecule}. "
            f"Received: {int(mask.sum())} in {where}"
        )
    return mask


def features(positions, velocities, targets, numbers):
    """The features of a split from arrays `(S, N, 3)` and `(N,)`."""
    shape = (*positions.shape[:2], 1)
    return {
        "positions": positions,
        "velocities": velocities,
        "atomic_numbers": np.broadcast_to(numbers[:, None], shape),
        "targets": targets,
    }


def shapes(config):
    """Shape of each feature."""
    vectors = (config.atoms, 3)
    return {
        "positions": vectors,
        "velocities": vectors,
        "atomic_numbers": (config.atoms, 1),
        "targets": vectors,
    }
