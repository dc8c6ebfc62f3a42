"""How a tagger tells signal from background, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_remul.evaluation.comparison import standard_error
from keras_remul.evaluation.orbit import as_function
from keras_remul.utils.leaves import count_samples, to_numpy
from keras_remul.utils.typing import Array, ArrayLike

if TYPE_CHECKING:
    import keras

    from keras_remul.symmetry import Symmetry


EFFICIENCIES = (0.5, 0.3)  # shares of the signal at which background counts


def evaluate_tagger(
    model: keras.Model | Callable[..., Any],
    x: dict[str, Array],
    y: ArrayLike,
    symmetry: Symmetry | None = None,
    seed: int = 0,
    batch_size: int = 250,
) -> dict[str, float]:
    """Figures of a model that tells signal (1) from background (0).

        auc            probability that a random 1 scores above a random 0
        accuracy       share of samples on the right side of a logit of 0
        rejection_50   1 / share of the 0 above the score of half of the 1
        rejection_30   the same, above that of 30 % of the 1

    Each has its `_standard_error` over the samples: that of the area by DeLong;
    those of rejections are of the number of background samples that pass, the
    threshold as it is.

    Args:
        model: a Keras model, or a function from arrays to arrays; it gives one
            logit `(B, 1)`.
        x: inputs, dict of arrays.
        y: labels 0 or 1, `(B,)` or `(B, 1)`.
        symmetry: a `Symmetry`: each sample is first moved by a random element
            of its group. Defaults to None: the samples as they are.
        seed: integer seed of the elements. Defaults to 0.
        batch_size: samples in one pass. Defaults to 250.

    Returns:
        Dict of floats. Infinite where no background passes.

    Raises:
        ValueError: the labels or outputs have other shapes or values, there is
            no sample of one kind, or an output is not finite.

    Example:
        >>> evaluate_tagger(model, x_test, y_test)["auc"]
        0.981

    Reference: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837.
    """
    labels = _labels(y, count_samples(x))
    if symmetry is not None:
        symmetry.check_inputs(x)
        g = symmetry.sample(len(labels), seed=seed)
        x = to_numpy(symmetry.transform_inputs(g, x))
    scores = _scores(as_function(model, batch_size)(x), len(labels))
    right = (scores > 0) == labels
    figures = {
        "auc": area_under_curve(scores, labels),
        "auc_standard_error": auc_standard_error(scores, labels),
        "accuracy": float(right.mean()),
        "accuracy_standard_error": standard_error(right),
    }
    zeros = int((~labels).sum())
    for share in EFFICIENCIES:
        rejection = background_rejection(scores, labels, share)
        key = f"rejection_{100 * share:.0f}"
        figures[key] = rejection
        # Of 1 / p, with p a share of n: p (1 - p) / n is its variance.
        error = rejection * math.sqrt((rejection - 1) / zeros)
        figures[f"{key}_standard_error"] = error
    return figures


def are_tags(y):
    """Whether labels say signal or background: 0 and 1, one for each sample.

    Args:
        y: labels of any kind.
    """
    return (
        not isinstance(y, dict)
        and y.shape[1:] == (1,)
        and bool(((y == 0) | (y == 1)).all())
    )


def _labels(y, count):
    y = np.asarray(y)
    if y.shape not in ((count,), (count, 1)) or not np.isin(y, (0, 1)).all():
        raise ValueError(
            f"Argument `y` must hold a 0 or 1 for each of {count} samples. "
            f"Received: shape {y.shape}, {np.unique(y)[:5].tolist()}"
        )
    if y.min() == y.max():
        raise ValueError(
            "Expected signal (1) and background (0) in `y`. Received: only "
            f"{y.min():g}"
        )
    return y.reshape(count) == 1


def _scores(outputs, count):
    shape = getattr(outputs, "shape", type(outputs).__name__)
    if shape != (count, 1):
        raise ValueError(
            f"Expected one logit of each sample, ({count}, 1). Received: "
            f"outputs {shape}"
        )
    if not np.isfinite(outputs).all():
        raise ValueError("The model gives NaN or infinity.")
    return outputs[:, 0].astype("float64")


def _parts(scores, labels):
    """Of each 1 the number of 0 below it, of each 0 that of the 1 above."""
    from scipy import stats  # slow to import: where it is needed

    positive = labels > 0
    ones, zeros = scores[positive], scores[~positive]
    ranks = stats.rankdata(np.concatenate([ones, zeros]))  # ties: their mean
    below = ranks[: len(ones)] - stats.rankdata(ones)
    above = len(ones) - (ranks[len(ones) :] - stats.rankdata(zeros))
    return below, above


def area_under_curve(scores, labels):
    """Probability that a random 1 scores above a random 0; ties count half.

    Exact: `keras.metrics.AUC` puts the scores into bins.

    Args:
        scores: `(S,)`.
        labels: 0 or 1, `(S,)`.
    """
    below, above = _parts(scores, labels)
    return float(below.sum() / len(below) / len(above))


def auc_standard_error(scores, labels):
    """The standard error of `area_under_curve`, by DeLong.

    Args:
        scores: `(S,)`.
        labels: 0 or 1, `(S,)`.

    Returns:
        A float; NaN where there are fewer than two samples of one kind.
    """
    below, above = _parts(scores, labels)
    return math.hypot(
        standard_error(below / len(above)), standard_error(above / len(below))
    )


def background_rejection(scores, labels, efficiency):
    """1 / share of the 0 that score above this share of the 1.

    Args:
        scores: `(S,)`.
        labels: 0 or 1, `(S,)`.
        efficiency: the share of the 1 that is kept, above 0 and below 1.

    Returns:
        A number; infinity where no 0 scores so high.
    """
    positive = labels > 0
    threshold = np.quantile(scores[positive], 1 - efficiency)
    share = np.mean(scores[~positive] >= threshold)
    return float(1 / share) if share else float("inf")
