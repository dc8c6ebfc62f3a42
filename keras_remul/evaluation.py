"""How equivariant a model is, measured over the orbit of each input."""

import keras
import numpy as np
from keras import ops

from keras_remul.metrics import centred, sample_norms


def evaluate_equivariance(
    model,
    x,
    symmetry,
    y=None,
    samples=20,
    seed=0,
    batch_size=256,
    reference=None,
):
    """Measures how far f(phi(g) x) is from rho(g) f(x).

    With M = `samples` elements g per input and norms over all that one sample
    outputs (padding left out):

        error            E' = mean_x 1/M sum_m ||f(phi(g_m) x) - rho(g_m) f(x)||
        average_error    E = mean_x ||1/M sum_m rho(g_m) f(x)
                                      - 1/M sum_m f(phi(g_m) x)||
        relative_error   E' / mean_x ||f(x) - reference||
        orbit_variance   Var_g[rho(g)^-1 f(phi(g) x)], mean over x and over
                         the components of the output

    E' is the primary measure: E can be small for a badly non-equivariant f,
    because the errors of the samples cancel.

    For the squared error the average over the orbit splits,

        E_g ||rho(g)^-1 f(phi(g) x) - y||^2 = ||fbar(x) - y||^2 + Var_g,

    into the error of the symmetrised model fbar and the orbit variance, which
    symmetrising would remove. With labels the dictionary holds these too.

    Args:
        model: a Keras model (of a `RemulModel`, the wrapped model counts), or
            a function from arrays to arrays.
        x: inputs, NumPy arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        y: labels, for the three figures on the squared error. Optional.
        samples: M, elements g per input, at least 2. Defaults to 20.
        seed: integer seed of the draws. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.
        reference: what is subtracted from f(x) before its norm is taken in
            `relative_error`, in the structure of the outputs; the input
            positions, say, make the error relative to the displacement. By
            default the centre of the nodes is subtracted where an output is a
            `Point`, and nothing elsewhere: the origin is arbitrary, and
            distance from it would flatter the ratio.

    Returns:
        Dictionary of floats: `error`, `relative_error`, `average_error`,
        `orbit_variance`; with y also `mse` (mean over the orbit),
        `symmetrized_mse` and `orbit_variance_share` (of `mse`).

    Raises:
        ValueError: where x does not fit the symmetry or `samples` < 2.

    Example:

    >>> evaluate_equivariance(model, x_test, symmetry)["relative_error"]
    0.031

    Reference: arXiv 2410.17878 for E and E'.
    """
    if samples < 2:
        raise ValueError(
            f"Argument `samples` must be at least 2. Received: {samples}"
        )
    symmetry.check_inputs(x)
    f = as_function(model, batch_size)
    mask = symmetry.get_mask(x)
    output = f(x)
    symmetry.check_outputs(output, name="f(x)")
    orbit = Moments()  # of rho(g)^-1 f(phi(g) x)
    difference = Moments()  # of f(phi(g) x) - rho(g) f(x)
    norms, squared_errors = [], []
    for g, of_moved, back in walk_orbit(f, x, symmetry, samples, seed):
        moved = symmetry.transform_outputs(g, output, mask)
        gap = _subtract(of_moved, to_numpy(moved))
        norms.append(_norms(gap, mask).mean())
        difference.update(gap)
        orbit.update(back)
        if y is not None:
            squared_errors.append(
                _masked_mean(_square(_subtract(back, y)), mask)
            )
    error = float(np.mean(norms))
    if reference is None:
        relative = to_numpy(centred(output, symmetry, mask))
    else:
        relative = _subtract(output, reference)
    scale = _norms(relative, mask).mean()
    result = {
        "error": error,
        "relative_error": error / float(scale) if scale else float("nan"),
        "average_error": float(_norms(difference.mean, mask).mean()),
        "orbit_variance": _masked_mean(orbit.variance(), mask),
    }
    if y is not None:
        mse = float(np.mean(squared_errors))
        result["mse"] = mse
        result["symmetrized_mse"] = mse - result["orbit_variance"]
        result["orbit_variance_share"] = result["orbit_variance"] / mse
    return result


def walk_orbit(f, x, symmetry, samples, seed):
    """Yields g, f(phi(g) x) and rho(g)^-1 f(phi(g) x), `samples` times."""
    n = len(keras.tree.flatten(x)[0])
    mask = symmetry.get_mask(x)
    seeds = np.random.default_rng(seed).integers(2**31, size=samples)
    for seed_of_sample in seeds:
        g = symmetry.sample(n, seed=int(seed_of_sample))
        of_moved = f(to_numpy(symmetry.transform_inputs(g, x)))
        inverse = symmetry.group.inverse(g)
        back = symmetry.transform_outputs(inverse, of_moved, mask)
        yield g, of_moved, to_numpy(back)


def as_function(model, batch_size):
    """The model as a function from arrays to arrays."""
    wrapped = getattr(model, "model", None)
    if isinstance(model, keras.Model):
        if isinstance(wrapped, keras.Model):  # a RemulModel
            model = wrapped
        return lambda x: to_numpy(
            model.predict(x, batch_size=batch_size, verbose=0)
        )
    return lambda x: to_numpy(model(x))


def to_numpy(data):
    """The leaves as NumPy arrays."""
    return keras.tree.map_structure(ops.convert_to_numpy, data)


def _subtract(a, b):
    return keras.tree.map_structure(
        lambda u, v: np.asarray(u, "float64") - np.asarray(v, "float64"), a, b
    )


def _square(a):
    return keras.tree.map_structure(np.square, a)


def _norms(data, mask):
    return ops.convert_to_numpy(sample_norms(data, mask))


def _masked_mean(data, mask):
    """The mean over samples, nodes and components of all leaves."""
    total = count = 0.0
    for leaf in keras.tree.flatten(data):
        weight = np.ones_like(leaf)
        if mask is not None and leaf.ndim >= 3:
            valid = np.asarray(ops.convert_to_numpy(mask), leaf.dtype)
            weight *= valid.reshape(valid.shape + (1,) * (leaf.ndim - 2))
        total += (leaf * weight).sum()
        count += weight.sum()
    return float(total / count)


class Moments:
    """Running mean and variance of nested arrays (Welford's method)."""

    def __init__(self):
        self.count, self.mean, self._m2 = 0, None, None

    def update(self, data):
        data = keras.tree.map_structure(
            lambda a: np.asarray(a, "float64"), data
        )
        self.count += 1
        if self.mean is None:
            self.mean = data
            self._m2 = keras.tree.map_structure(np.zeros_like, data)
            return
        delta = _subtract(data, self.mean)
        self.mean = keras.tree.map_structure(
            lambda mean, d: mean + d / self.count, self.mean, delta
        )
        self._m2 = keras.tree.map_structure(
            lambda m2, d, new, mean: m2 + d * (new - mean),
            self._m2,
            delta,
            data,
            self.mean,
        )

    def variance(self):
        """The unbiased variance of each component."""
        return keras.tree.map_structure(
            lambda m2: m2 / (self.count - 1), self._m2
        )
