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
    per_sample=False,
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

    Exact models score about 1e-7 (relative) in float32. For a sharper test
    set `keras.config.set_floatx("float64")` before the model is built, on JAX
    with the variable JAX_ENABLE_X64=1: the elements, the inputs and the
    measures then have that precision, and exact models score about 1e-16.

    Args:
        model: a Keras model (of a `RemulModel`, the wrapped model counts), or
            a function from arrays to arrays.
        x: inputs, NumPy arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        y: labels, for the three figures on the squared error. Optional.
        samples: M, elements g per input, at least 2. A finite group with a
            method `elements()` and M elements or fewer is gone through
            whole, and the measures are exact. Defaults to 20.
        seed: integer seed of the draws. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.
        reference: what is subtracted from f(x) before its norm is taken in
            `relative_error`, in the structure of the outputs; the input
            positions, say, make the error relative to the displacement. By
            default the centre of the nodes is subtracted where an output is a
            `Point`, and nothing elsewhere: the origin is arbitrary, and
            distance from it would flatter the ratio.
        per_sample: return arrays `(B,)`, one value per input, in place of
            their means. Defaults to False.

    Returns:
        Dictionary of floats: `error`, `relative_error`, `average_error`,
        `orbit_variance`; with y also `mse` (mean over the orbit),
        `symmetrized_mse` and `orbit_variance_share` (of `mse`). With
        `per_sample`, the dictionary of the values of each input; its
        `relative_error` is E' of the input over the mean norm of all, so that
        the mean is the one figure. Where a mask leaves inputs of several
        sizes, the means of the last four weigh each input by its size.

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
        norms.append(_norms(gap, symmetry, mask))
        difference.update(gap)
        orbit.update(back)
        if y is not None:
            squared_errors.append(_sums(_square(_subtract(back, y)), mask))
    if reference is None:
        relative = to_numpy(centred(output, symmetry, mask))
    else:
        relative = _subtract(output, reference)
    scale = _norms(relative, symmetry, mask).mean()
    error = np.mean(norms, axis=0)
    exact = finite_elements(symmetry.group, samples) is not None
    size = _sums(keras.tree.map_structure(np.ones_like, output), mask)
    weight = size / size.mean()  # of each sample in means over components
    variance = _sums(orbit.variance(exact), mask) / size
    # Values of each sample, and the weights of the samples in the mean.
    result = {
        "error": (error, 1.0),
        "relative_error": (error / scale if scale else error * np.nan, 1.0),
        "average_error": (_norms(difference.mean, symmetry, mask), 1.0),
        "orbit_variance": (variance, weight),
    }
    if y is not None:
        mse = np.mean(squared_errors, axis=0) / size
        result["mse"] = (mse, weight)
        result["symmetrized_mse"] = (mse - variance, weight)
    if not per_sample:
        result = {k: float(np.mean(v * w)) for k, (v, w) in result.items()}
    else:
        result = {key: value for key, (value, _) in result.items()}
    if y is not None:
        share = result["orbit_variance"] / result["mse"]
        result["orbit_variance_share"] = share
    return result


def finite_elements(group, at_most):
    """All elements of a small finite group, or None."""
    count = group.num_elements
    return group.elements() if count and count <= at_most else None


def walk_orbit(f, x, symmetry, samples, seed):
    """Yields g, f(phi(g) x) and rho(g)^-1 f(phi(g) x), `samples` times.

    A finite group of `samples` elements or fewer is gone through once.
    """
    n = len(keras.tree.flatten(x)[0])
    mask = symmetry.get_mask(x)
    for g in draw(symmetry.group, n, samples, seed):
        of_moved = f(to_numpy(symmetry.transform_inputs(g, x)))
        inverse = symmetry.group.inverse(g)
        back = symmetry.transform_outputs(inverse, of_moved, mask)
        yield g, of_moved, to_numpy(back)


def draw(group, n, samples, seed):
    """Batches of n elements: `samples` random ones, or each element once."""
    elements = finite_elements(group, samples)
    if elements is None:
        seeds = np.random.default_rng(seed).integers(2**31, size=samples)
        for seed_of_batch in seeds:
            yield group.sample(n, seed=int(seed_of_batch))
        return
    for i in range(group.num_elements):
        yield keras.tree.map_structure(
            lambda a, i=i: ops.stack([a[i]] * n), elements
        )


def as_function(model, batch_size):
    """The model as a function from arrays to arrays."""
    if isinstance(model, keras.Model):
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


def _norms(data, symmetry, mask):
    return ops.convert_to_numpy(sample_norms(data, symmetry, mask))


def _sums(data, mask):
    """The sum over the nodes and components of each sample, `(B,)`."""
    total = 0.0
    for leaf in keras.tree.flatten(data):
        if mask is not None and leaf.ndim >= 3:
            valid = np.asarray(ops.convert_to_numpy(mask), leaf.dtype)
            leaf = leaf * valid.reshape(valid.shape + (1,) * (leaf.ndim - 2))
        total = total + leaf.reshape(len(leaf), -1).sum(axis=1)
    return total


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

    def variance(self, exact=False):
        """The variance of each component.

        Args:
            exact: whether all there is was seen; else the unbiased estimate
                from a sample.
        """
        divisor = self.count if exact else self.count - 1
        return keras.tree.map_structure(lambda m2: m2 / divisor, self._m2)
