"""Whether the difference of two errors is more than chance."""

from __future__ import annotations

import math

import numpy as np

from keras_remul.utils.typing import ArrayLike
from keras_remul.utils.validation import check_count


def standard_error(errors: ArrayLike) -> float:
    """Of the mean over independent samples: s / sqrt(n).

    Args:
        errors: array `(n,)`, one value per sample.

    Returns:
        A float; NaN of one sample.
    """
    errors = np.asarray(errors, "float64")
    if len(errors) < 2:
        return math.nan
    return float(errors.std(ddof=1) / math.sqrt(len(errors)))


def compare_errors(
    first: ArrayLike,
    second: ArrayLike,
    trials: ArrayLike | None = None,
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Paired bootstrap of the errors of two models on the same samples.

        ratio = mean(first) / mean(second),  median_ratio likewise

    Samples, or whole trials, are drawn with replacement, the same ones for both
    models, so that what makes a sample hard for both cancels. The uncertainty
    is that of the samples alone: another seed of the training gives other
    models, which is a matter of `welch`.

    Args:
        first, second: arrays `(n,)` of errors that are not negative, such as
            the squared error of each sample; row i of both is the same sample.
        trials: array `(n,)` of labels; samples of one trial were recorded
            together and are drawn together. By default each sample is a trial.
        num_resamples: number of draws, at least 100. Defaults to 2000.
        level: of the intervals. Defaults to 0.95.
        seed: integer seed of the draws. Defaults to 0.

    Returns:
        Dictionary of floats: `first`, `second`, the means, with
        `first_standard_error` and `second_standard_error` (over trials), and
        `first_median`, `second_median`; `ratio`, `ratio_low`, `ratio_high`;
        `median_ratio`, `median_ratio_low`, `median_ratio_high`, medians over
        samples; and `p`, the two-sided p-value of equal means: twice the share
        of the draws on the side of 1 with fewer.

    Raises:
        ValueError: the arrays differ in shape, hold NaN or negative numbers,
            are zero everywhere, or there are fewer than three trials.

    Example:

    >>> compare_errors(errors_remul, errors_augmented)["ratio_high"]
    0.97
    """
    first, second = _checked(first, "first"), _checked(second, "second")
    if first.shape != second.shape:
        raise ValueError(
            "Expected the errors of two models on the same samples. Received: "
            f"shapes {first.shape} and {second.shape}"
        )
    num_resamples = check_count("num_resamples", num_resamples, least=100)
    if not 0 < level < 1:
        raise ValueError(
            f"Argument `level` must be between 0 and 1. Received: {level}"
        )
    trials = np.arange(len(first)) if trials is None else np.asarray(trials)
    if trials.shape != first.shape:
        raise ValueError(
            f"Argument `trials` must have the shape {first.shape}. Received: "
            f"shape {trials.shape}"
        )
    _, trials = np.unique(trials, return_inverse=True)
    members = [np.flatnonzero(trials == t) for t in range(trials.max() + 1)]
    if len(members) < 3:
        raise ValueError(
            "Uncertainties need three trials or more. Received: "
            f"{len(members)} in `trials`"
        )
    means, medians = _resampled(first, second, members, num_resamples, seed)
    result = {}
    for name, errors in (("first", first), ("second", second)):
        result[name] = float(errors.mean())
        result[f"{name}_standard_error"] = _clustered(errors, members)
        result[f"{name}_median"] = float(np.median(errors))
    low, high = (1 - level) / 2, (1 + level) / 2
    for name, whole, draws in (
        ("ratio", np.mean, means),
        ("median_ratio", np.median, medians),
    ):
        result[name] = _ratio(whole(first), whole(second))
        ratios = [_ratio(a, b) for a, b in draws]
        result[f"{name}_low"], result[f"{name}_high"] = np.quantile(
            ratios, [low, high]
        ).tolist()
    below = np.mean(means[:, 0] <= means[:, 1])
    above = np.mean(means[:, 0] >= means[:, 1])
    least = 1 / (num_resamples + 1)
    result["p"] = float(min(1.0, 2 * max(min(below, above), least)))
    return result


def _checked(errors, name):
    errors = np.asarray(errors, "float64")
    if errors.ndim != 1 or not (np.isfinite(errors) & (errors >= 0)).all():
        raise ValueError(
            f"Argument `{name}` must be an array (samples,) of finite errors "
            f"that are not negative. Received: shape {errors.shape}"
        )
    if not errors.any():
        raise ValueError(f"The errors in `{name}` are all zero.")
    return errors


def _ratio(a, b):
    return float(a / b) if b else math.inf


def _clustered(errors, members):
    """The standard error of the mean, of sums over trials of any size."""
    size = len(errors) / len(members)
    residual = errors - errors.mean()
    sums = np.array([residual[rows].sum() for rows in members]) / size
    return standard_error(sums)


def _resampled(first, second, members, count, seed):
    """Means and medians of both on draws of trials: two arrays `(count, 2)`."""
    rng = np.random.default_rng(seed)
    means, medians = np.empty((count, 2)), np.empty((count, 2))
    for i in range(count):
        drawn = rng.integers(len(members), size=len(members))
        rows = np.concatenate([members[t] for t in drawn])
        both = np.stack([first[rows], second[rows]])
        means[i], medians[i] = both.mean(axis=1), np.median(both, axis=1)
    return means, medians


def welch(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p-value of equal means, by Welch's t-test.

    Of a figure of two trainings, each with several seeds. It assumes that the
    figures scatter like normal variates; with three seeds only large
    differences are distinguished.

    Args:
        first, second: lists of floats, one for each seed; the two need not be
            of one length.

    Returns:
        A float; NaN if one list has fewer than two values.
    """
    from scipy import stats  # slow to import: where it is needed

    a, b = np.asarray(first, "float64"), np.asarray(second, "float64")
    if min(len(a), len(b)) < 2:
        return math.nan
    if not a.std() and not b.std():  # scipy warns of such data
        return 1.0 if a[0] == b[0] else 0.0
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)
