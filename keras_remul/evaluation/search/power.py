"""Which violations of a symmetry a test on data would have found."""

import keras
import numpy as np

from keras_remul.evaluation.orbit import finite_elements
from keras_remul.utils.leaves import to_numpy

_SIZES = 2.0 ** np.arange(-6, 1)
_DRAWS = 32  # elements over which a term is averaged


def detectable(data, degree, is_broken, seed):
    """The smallest violation of one form that is found, or infinity.

    A random polynomial of the features, without its symmetric part, is added to
    the targets:

        b(x) - mean_g rho(g)^-1 b(phi(g) x),

    with a root mean square of 1/64, 1/32, ... 1, in units of the targets.

    Args:
        data: a `Data`.
        degree: 1 for linear terms, 2 for products of two.
        is_broken: function from `Data` to whether a violation was found.
        seed: integer seed of the polynomial.
    """
    term = _breaking_term(data, degree, seed)
    if term is None:
        return float("inf")
    low, high = 0, len(_SIZES)
    while low < high:
        middle = (low + high) // 2
        if is_broken(data.shifted(_SIZES[middle] * term)):
            high = middle
        else:
            low = middle + 1
    return float(_SIZES[low]) if low < len(_SIZES) else float("inf")


def _breaking_term(data, degree, seed):
    """b without its symmetric part `(n, q)`, or None if that is zero."""
    rng = np.random.default_rng(seed)
    features, targets, _ = data.matrices(data.x, data.y)
    shape = (degree, features.shape[1], targets.shape[1])
    factors = rng.normal(size=shape)

    def polynomial(features):
        return np.prod([features @ factor for factor in factors], axis=0)

    n = len(features)
    whole = polynomial(features)
    group = data.symmetry.group
    elements = finite_elements(group, _DRAWS)
    if elements is None:
        elements = group.sample(_DRAWS, seed=seed)
    elements = to_numpy(elements)
    count = len(keras.tree.flatten(elements)[0])
    kept = np.zeros_like(whole)
    for part in data.parts(count):
        copies = data.repeated(len(part))
        g = keras.tree.map_structure(
            lambda a, part=part: np.repeat(a[part.start : part.stop], n, 0),
            elements,
        )
        back = copies.turned_back(g, polynomial(copies.moved(g)[0]))
        kept += back.reshape(len(part), *whole.shape).sum(axis=0) / count
    broken = whole - kept
    size = np.sqrt(np.mean(broken**2))
    if size <= 1e-5 * np.sqrt(np.mean(whole**2)):
        return None
    return broken / size
