"""Whether the distribution of the data is the same in all orientations."""

import keras
import numpy as np

from keras_remul.evaluation.search.data import Data

_MOST_PAIRED = 400  # samples between which all distances are taken


def shared_orientation(data, num_permutations, seed):
    """How far samples share an orientation, and the p-value of "not at all".

    Both are NaN if all samples that are compared are of one trial.
    """
    from scipy.spatial import distance  # slow to import: where it is needed

    n = len(data.trials)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(n)[:_MOST_PAIRED])
    x, y = (
        keras.tree.map_structure(lambda a: np.asarray(a)[chosen], part)
        for part in (data.x, data.y)
    )
    few = Data(
        x,
        y,
        data.symmetry,
        np.unique(data.trials[chosen], return_inverse=True)[1],
        data.center,
    )
    apart = few.trials[:, None] != few.trials[None]
    if not apart.any():  # one long trial hides the others
        return float("nan"), float("nan")

    def mean_distance(matrices):
        z = matrices[-1]
        return distance.cdist(z, z)[apart].mean()

    observed = mean_distance(few.matrices(few.x, few.y))
    turned = few.turned(num_permutations, rng.integers(2**31), by_trial=True)
    drawn = np.array([mean_distance(matrices) for matrices in turned])
    # Ties in all but rounding, as under a group that does nothing, count.
    as_low = np.sum(drawn <= observed * (1 + 1e-6))
    p_value = (1 + as_low) / (1 + num_permutations)
    mean = drawn.mean()
    share = 1 - observed / mean if mean else 0.0
    return float(share), float(p_value)
