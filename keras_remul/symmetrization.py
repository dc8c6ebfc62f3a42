"""Test-time averaging over the group."""

import keras
import numpy as np

from keras_remul.evaluation import (
    Moments,
    as_function,
    finite_elements,
    walk_orbit,
)


class Symmetrized:
    """What `symmetrize` returns: a model averaged over the group."""

    def __init__(self, model, symmetry, samples, seed, batch_size):
        self.model = model
        self.symmetry = symmetry
        self.samples = samples
        self.seed = seed
        self.batch_size = batch_size

    def predict(self, x):
        """The mean over the group and its spread.

        Args:
            x: inputs, NumPy arrays in the structure of `symmetry.inputs`.

        Returns:
            (mean, spread), each in the structure of the outputs. The spread is
            the standard deviation over g of single predictions
            rho(g)^-1 f(phi(g) x), zero for an equivariant model; the standard
            error of the mean is the spread over the root of `samples`, or
            zero where a finite group was gone through whole.

        Raises:
            ValueError: where x does not fit the symmetry.
        """
        self.symmetry.check_inputs(x)
        moments = Moments()
        f = as_function(self.model, self.batch_size)
        for _, _, back in walk_orbit(
            f, x, self.symmetry, self.samples, self.seed
        ):
            moments.update(back)
        exact = finite_elements(self.symmetry.group, self.samples) is not None
        spread = keras.tree.map_structure(np.sqrt, moments.variance(exact))
        return moments.mean, spread

    def __call__(self, x):
        """The mean alone, in the structure of the outputs."""
        mean, _ = self.predict(x)
        return mean

    def __repr__(self):
        return f"Symmetrized({self.symmetry!r}, samples={self.samples})"


def symmetrize(model, symmetry, samples=16, seed=0, batch_size=256):
    """Averages a model over a group at test time.

    fbar(x) = 1/M sum_m rho(g_m)^-1 f(phi(g_m) x)

    is equivariant in the limit of large M, at the cost of M forward passes.
    Its squared error is that of f on the orbit less the orbit variance (see
    `evaluate_equivariance`), plus the orbit variance over M. Translations
    have no uniform average: there the mean is over the distribution that the
    group draws from.

    Args:
        model: a Keras model (of a `RemulModel`, the wrapped model counts), or
            a function from arrays to arrays.
        symmetry: the `Symmetry` to average over.
        samples: M, at least 2. For a finite group with a method `elements()`
            and M elements or fewer the average is over all of them, once each:
            exactly equivariant. Defaults to 16.
        seed: integer seed of the draws, the same at each call. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.

    Returns:
        A `Symmetrized`: `predict(x)` gives (mean, spread), a call the mean.

    Raises:
        ValueError: where `samples` < 2.

    Example:

    >>> mean, spread = symmetrize(model, symmetry).predict(x)

    Reference: Murphy et al., "Janossy pooling", arXiv 1811.01900, for averages
    over a sampled group.
    """
    if samples < 2:
        raise ValueError(
            f"Argument `samples` must be at least 2. Received: {samples}"
        )
    return Symmetrized(model, symmetry, samples, seed, batch_size)
