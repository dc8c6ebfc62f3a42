"""A promise about samples that nobody has seen yet, and its confidence."""

from __future__ import annotations

import math

import numpy as np

from keras_remul.utils.typing import ArrayLike


def quantile_bound(
    values: ArrayLike, quantile: float = 0.95, confidence: float = 0.95
) -> float:
    """A number that most new samples stay below, with a known confidence.

    With probability `confidence` over the samples that were measured, a share
    `quantile` of all samples has at most this value. It is the smallest order
    statistic for which that is true, whatever the distribution, and needs
    samples that are independent, as new ones will be: not frames of one
    recording, and none that the model or a tolerance was chosen on.

    Args:
        values: array `(n,)` of what was measured of each sample, such as
            `"equivariance_error"` of `evaluate_equivariance` with
            `per_sample=True`.
        quantile: share of the samples, between 0 and 1. Defaults to 0.95.
        confidence: between 0 and 1. Defaults to 0.95.

    Returns:
        A float, one of `values`.

    Raises:
        ValueError: the values are not an array of finite numbers, or are too
            few for the promise (59 are enough for 0.95 and 0.95).

    Example:

    >>> errors = evaluate_equivariance(
    ...     model, x_unseen, symmetry, per_sample=True
    ... )["equivariance_error"]
    >>> quantile_bound(errors)    # of 95 % of new samples, 95 % confidence
    0.083

    Reference: Wilks, "Determination of sample sizes for setting tolerance
    limits", Ann. Math. Statist. 12, 91 (1941).
    """
    from scipy import stats  # slow to import: where it is needed

    for name, share in (("quantile", quantile), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ValueError(
                f"Argument `{name}` must be between 0 and 1. Received: {share}"
            )
    values = np.asarray(values, "float64")
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            "Argument `values` must be an array (samples,) of finite numbers. "
            f"Received: shape {values.shape}"
        )
    # The k-th smallest is below the quantile where k or more of n samples are.
    k = int(stats.binom.ppf(confidence, len(values), quantile)) + 1
    if k > len(values):
        least = math.ceil(math.log1p(-confidence) / math.log(quantile))
        raise ValueError(
            f"A bound of {quantile:g} of the samples with a confidence of "
            f"{confidence:g} needs {least} samples or more. Received: "
            f"{len(values)}"
        )
    return float(np.sort(values)[k - 1])
