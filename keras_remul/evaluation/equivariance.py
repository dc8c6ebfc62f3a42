"""How equivariant a model is, measured over the orbit of each input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_remul.evaluation.orbit import (
    as_function,
    finite_elements,
    walk_orbit,
)
from keras_remul.training.metrics import centered
from keras_remul.utils.leaves import Leaves, count_samples, nest, sums, to_numpy
from keras_remul.utils.moments import Moments
from keras_remul.utils.typing import Tree
from keras_remul.utils.validation import check_count

if TYPE_CHECKING:
    import keras

    from keras_remul.symmetry import Symmetry


def evaluate_equivariance(
    model: keras.Model | Callable[..., Any],
    x: Tree,
    symmetry: Symmetry,
    y: Tree | None = None,
    num_samples: int = 20,
    seed: int = 0,
    batch_size: int = 256,
    origin: Tree | None = None,
    per_sample: bool = False,
) -> dict[str, Any]:
    """Measures how far f(phi(g) x) is from rho(g) f(x).

    With M = `num_samples` elements g per input, and norms over all outputs of
    one sample (without padding):

        equivariance_error            E' = mean_x 1/M sum_m
                                      ||f(phi(g_m) x) - rho(g_m) f(x)||
        average_equivariance_error    E = mean_x ||1/M sum_m rho(g_m) f(x)
                                      - 1/M sum_m f(phi(g_m) x)||
        relative_equivariance_error   E' / mean_x ||f(x) - origin||
        orbit_variance   Var_g[rho(g)^-1 f(phi(g) x)], mean over x and over
                         the components of the output

    E', the equivariance error, is the primary measure. E can be small for an f
    that is far from equivariant, because errors cancel.

    The mean squared error over the orbit is a sum,

        E_g ||rho(g)^-1 f(phi(g) x) - y||^2 = ||fbar(x) - y||^2 + Var_g,

    of the error of the symmetrised model fbar and the orbit variance, which
    fbar does not have. With labels the dictionary also holds these two.

    With several outputs, for example an energy and forces, `"outputs"` holds
    all of these figures for each, in its own units. The other figures treat all
    outputs as one vector, whatever their units, like those that `RemulModel`
    logs; but `relative_equivariance_error` is the largest of the outputs.

    Exact models score about 1e-7 (relative) in float32. For a sharper test
    set `keras.config.set_floatx("float64")` before the model is built, on JAX
    with the variable JAX_ENABLE_X64=1: the elements, the inputs and the
    measures then have that precision, and exact models score about 1e-16.

    Args:
        model: a Keras model (of a `RemulModel`, the model inside), or
            a function from arrays to arrays or tensors.
        x: inputs, NumPy arrays in the structure of `symmetry.inputs`.
        symmetry: the `Symmetry` to test.
        y: labels, for the three figures of the squared error, in the shapes of
            the outputs; `(B,)` is accepted for an output `(B, 1)`. With several
            outputs, None for one of them omits its three figures, and those of
            all outputs together; use it for class labels. Optional.
        num_samples: M, elements g per input, at least 2. If a finite group has
            no more than M elements, all are used, and the measures are exact.
            Defaults to 20.
        seed: integer seed of the draws. Defaults to 0.
        batch_size: inputs per forward pass. Defaults to 256.
        origin: what is subtracted from f(x) before its norm is taken in
            `relative_equivariance_error`, in structure and shapes as `y`. For
            example, the input positions make the error relative to the
            displacement. By default the center of the nodes is subtracted from
            a `Point`, since a large distance from an arbitrary origin would
            make the ratio small; nothing is subtracted from other outputs.
        per_sample: return arrays `(B,)`, one value per input, instead of their
            means. Defaults to False.

    Returns:
        Dictionary of floats: `equivariance_error`,
        `relative_equivariance_error`, `average_equivariance_error`,
        `orbit_variance`; with y also `mse` (mean over the orbit),
        `symmetrized_mse` and `orbit_variance_share` (of `mse`); with several
        outputs `outputs`, such dictionaries in the structure of
        `symmetry.outputs`. A ratio to zero is NaN. With
        `per_sample`, the dictionary of the values of each input; its
        `relative_equivariance_error` is E' of the input over the mean norm of
        all, so that the mean is the one figure. Where a mask leaves inputs of
        several sizes, the means of the last four weigh each input by its size.

    Raises:
        ValueError: x, y, `origin` or the outputs do not fit the symmetry or
            each other, the outputs or labels hold NaN or infinite numbers, or
            `num_samples` < 2.

    Example:

    >>> figures = evaluate_equivariance(model, x_test, symmetry)
    >>> figures["relative_equivariance_error"]
    0.031

    Reference: arXiv 2410.17878 for E and E'.
    """
    num_samples = check_count("num_samples", num_samples, least=2)
    symmetry.check_inputs(x)
    n = count_samples(x)
    f = as_function(model, batch_size)
    mask = symmetry.get_mask(x)
    leaves = Leaves(symmetry, mask)
    output = f(x)
    symmetry.check_outputs(output, name="f(x)", mask=mask)
    of_x = leaves.outputs(output, "f(x)")
    if any(len(leaf) != n for leaf in of_x.values()):
        shapes = {f"f(x){path}": leaf.shape for path, leaf in of_x.items()}
        raise ValueError(f"`x` holds {n} samples. Received: shapes {shapes}")
    labels = {} if y is None else leaves.labels(y, of_x, "y")
    if not all(leaf.size for leaf in of_x.values()):
        shapes = {f"f(x){path}": leaf.shape for path, leaf in of_x.items()}
        raise ValueError(f"There is nothing to measure: shapes {shapes}")
    if origin is None:
        relative = centered(nest(symmetry.outputs, of_x), symmetry, mask)
        relative = leaves.outputs(to_numpy(relative), "f(x)")
    else:
        subtracted = leaves.labels(origin, of_x, "origin")
        relative = {p: a - subtracted.get(p, 0.0) for p, a in of_x.items()}
    orbit = Moments()  # of rho(g)^-1 f(phi(g) x)
    difference = Moments()  # of f(phi(g) x) - rho(g) f(x)
    gaps = {path: [] for path in of_x}
    squares = {path: [] for path in labels}
    for g, of_moved, back in walk_orbit(f, x, symmetry, num_samples, seed):
        moved = to_numpy(symmetry.transform_outputs(g, output, mask))
        moved = leaves.outputs(moved, "rho(g) f(x)")
        of_moved = leaves.outputs(of_moved, "f(phi(g) x)")
        back = leaves.outputs(back, "f(phi(g) x)")
        gap = {path: of_moved[path] - moved[path] for path in moved}
        difference.update(gap)
        orbit.update(back)
        for path in gaps:
            gaps[path].append(sums(gap[path] ** 2))
        for path in squares:
            squares[path].append(sums((back[path] - labels[path]) ** 2))
    exact = finite_elements(symmetry.group, num_samples) is not None
    variance, sizes = orbit.variance(exact), leaves.sizes(of_x)
    measured = {
        path: {
            "gap": np.array(gaps[path]),
            "mean_gap": sums(difference.mean[path] ** 2),
            "output": sums(relative[path] ** 2),
            "variance": sums(variance[path]),
            "size": sizes[path],
        }
        | ({"square": np.array(squares[path])} if path in squares else {})
        for path in of_x
    }
    figures = {p: _figures(m, per_sample) for p, m in measured.items()}
    if len(figures) == 1:
        return next(iter(figures.values()))
    known = [key for key in next(iter(measured.values())) if key != "square"]
    if len(squares) == len(measured):
        known.append("square")
    together = {k: sum(m[k] for m in measured.values()) for k in known}
    result: dict[str, Any] = _figures(together, per_sample)
    # Of one output: norms of outputs in several units would hide the small.
    relative = [one["relative_equivariance_error"] for one in figures.values()]
    worst = np.argmax([np.mean(error) for error in relative])  # NaN is first
    result["relative_equivariance_error"] = relative[worst]
    result["outputs"] = nest(symmetry.outputs, figures)
    return result


def _figures(measured, per_sample):
    """The figures from sums of squares, of one output or of several."""
    size = measured["size"]
    weight = size / size.mean()  # of each sample in means over components
    size = np.maximum(size, 1)
    error = np.sqrt(measured["gap"]).mean(axis=0)
    scale = np.sqrt(measured["output"]).mean()
    variance = measured["variance"] / size
    # Values of each sample, and the weights of the samples in the mean.
    values = {
        "equivariance_error": (error, 1.0),
        "relative_equivariance_error": (
            error / scale if scale else error * np.nan,
            1.0,
        ),
        "average_equivariance_error": (np.sqrt(measured["mean_gap"]), 1.0),
        "orbit_variance": (variance, weight),
    }
    if "square" in measured:
        mse = measured["square"].mean(axis=0) / size
        values["mse"] = (mse, weight)
        values["symmetrized_mse"] = (mse - variance, weight)
    result: dict[str, Any] = {key: value for key, (value, _) in values.items()}
    if not per_sample:
        result = {k: float(np.mean(v * w)) for k, (v, w) in values.items()}
    if "mse" in result:
        mse = np.asarray(result["mse"])
        share = result["orbit_variance"] / np.where(mse, mse, np.nan)
        result["orbit_variance_share"] = share if per_sample else float(share)
    return result
