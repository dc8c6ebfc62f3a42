"""Prediction tasks from the trajectory of a molecule."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

BOND = (0.7, 1.7)  # Angstrom, of an atom and its nearest neighbour


@dataclasses.dataclass(kw_only=True)
class MoleculeConfig(tfds.core.BuilderConfig):
    """Which molecule, how far ahead, how many windows.

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

    def sizes(self):
        """Numbers of windows of the splits, in their order."""
        return self.train, self.validation, self.test


def check_angstrom(positions, where):
    """Raises ValueError where the atoms of a frame `(N, 3)` lie too far."""
    d = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    nearest = float(np.median(np.sort(d, axis=1)[:, 1]))
    if not BOND[0] < nearest < BOND[1]:
        hint = " This looks like bohr." if 1.7 <= nearest < 3.2 else ""
        raise ValueError(
            "Expected positions in Angstrom, with a neighbour of each atom "
            f"within {BOND[0]} to {BOND[1]}. Received: a median distance of "
            f"{nearest:.3g} in {where}.{hint}"
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
    apart, so that no test frame neighbours a training frame.
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
