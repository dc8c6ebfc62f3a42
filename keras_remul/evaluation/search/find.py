"""Which of several symmetries a model or a data set has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_remul.evaluation import evaluate_equivariance
from keras_remul.evaluation.search.data import Data
from keras_remul.evaluation.search.orientation import shared_orientation
from keras_remul.evaluation.search.power import detectable
from keras_remul.evaluation.search.proposals import with_negations
from keras_remul.evaluation.search.relation import (
    cross_validate,
    mean_by_trial,
    ridge,
)
from keras_remul.evaluation.search.report import Evidence, SymmetryReport
from keras_remul.symmetry import Symmetry
from keras_remul.utils.leaves import count_samples
from keras_remul.utils.typing import ArrayLike, Tree

_BOOTSTRAPS = 2000


def find_symmetry(
    model_or_data: Any,
    candidates: Symmetry | Sequence[Symmetry],
    x: Tree | None = None,
    trials: ArrayLike | None = None,
    tolerance: float = 0.05,
    level: float = 0.95,
    num_samples: int = 8,
    num_permutations: int = 199,
    center: bool = True,
    regressor: Callable[..., Any] | None = None,
    seed: int = 0,
) -> SymmetryReport:
    """Tests which of the candidate symmetries a model, or data, have.

    For a model there is one figure, with a bootstrap interval over the inputs:

        relative_equivariance_error
                         E' / mean ||f(x)||, see `evaluate_equivariance`;
                         the largest of several outputs

    The verdict is "kept" if the interval is below `tolerance`, "broken" if it
    is above, and "undecided" if the interval contains it.

    For data (x, y) there are two tests, which may give different answers.

    1. Does the *relation* of y to x have the symmetry, so that it can be used
       in training? "Moved" data are data transformed by random g. A regressor
       is fitted to the data, another one to moved data, and both are tested on
       held-out trials:

        cost       mse of the regressor fitted to moved data / mse of the one
                   fitted to the data, with a bootstrap interval over trials
        transfer   mse of the latter on moved held-out data / its mse on
                   held-out data

       If the relation has the symmetry, moved copies are as good as new data,
       and the cost is about 1 or less. If not, the regressor has to average
       over different relations. The verdict is "broken" if the interval is
       above 1 + `tolerance`, "undecided" if the interval contains it, and "not
       detected" if it is below. "Not detected" says less than "kept": a
       violation that the regressor cannot express does not raise the cost. For
       that verdict, two figures say which violations would have been found:

        detectable_linear      the smallest violation of first order in the
                               features that would have been found "broken"
        detectable_quadratic   that of second order

       A random term of first or second order in the features, without its
       symmetric part, is added to the targets, with a root mean square of 1/64
       to 1 in units of the spread of the targets; infinity means that even the
       largest is not found. The default regressor, `ridge`, cannot see
       quadratic terms; `keras_remul.evaluation.search.quadratic_ridge` can, and
       takes several times as long. A cost above 1 may also mean that the
       regressor is too simple for a relation that has the symmetry: it is the
       cost of imposing the symmetry on *that* regressor. The transfer is 1 only
       if the data also hold all orientations.

    2. Is the *distribution* of (x, y) the same in all orientations?

        alignment   1 - D(z) / mean_k D(g_k z), with D the mean distance of
                    two samples z = (x, y) of different trials: about 0 for an
                    invariant one, more where the data share an orientation
        p           P(D(g z) <= D(z)), from `num_permutations` draws

       Each draw moves every trial by its own g. If the distribution is
       invariant, moved data and data have the same distribution. So the test is
       exact for compact groups and independent trials, even if the samples of
       one trial depend on each other. The verdict is "broken" if p <= 1 -
       `level`, otherwise "not detected". It is a statement about the data: the
       cause may be physics (gravity) or the recording (one heading).

    Data in which all samples have one orientation hold no evidence about the
    relation in other orientations. These tests then cannot separate a direction
    that physics prefers from one that the recording prefers. If you know that a
    direction is arbitrary (for example the heading in a room), first rotate
    each trial by a random angle, and test again. Candidates are tested one by
    one, without a correction for their number.

    Args:
        model_or_data: a Keras model or a function from arrays to arrays, with
            `x`; or a pair `(x, y)`, NumPy arrays in the structure of the
            candidates' inputs and outputs.
        candidates: list of `Symmetry`; or one `Symmetry`, which stands for
            itself, and with `Negation` as one more factor for each input with
            values of both signs that no group changes, such as charges: a
            candidate for each, under which that input is odd.
        x: the inputs, where the first argument is a model.
        trials: array `(n,)` of labels; samples of one trial were recorded
            together and are not independent: a trajectory, a subject.
            Uncertainties are over trials. By default each sample is a trial.
        tolerance: relative error, or cost above 1, that counts as kept.
            Defaults to 0.05.
        level: of the intervals and of the second test. Defaults to 0.95.
        num_samples: elements g per sample. Defaults to 8.
        num_permutations: draws for the p-value, which is at least
            1 / (num_permutations + 1). Defaults to 199.
        center: take each `Point` relative to the center of the nodes of the
            first `Point` among the inputs, before and after each
            transformation, so that the origin does not matter. Defaults to
            True.
        regressor: function of features `(n, p)`, targets `(n, q)` and trials
            `(n,)` that returns a function from features to targets. Defaults
            to `ridge`. With several outputs, each is in units of its spread.
        seed: integer seed of all draws. Defaults to 0.

    Returns:
        A `SymmetryReport`.

    Raises:
        ValueError: the data do not fit a candidate or hold NaN, the targets or
            the outputs of a model are all zero, `candidates` is empty or holds
            translations that `center` removes, or there are fewer than three
            trials.

    Example:

    >>> candidates = [
    ...     Symmetry(group, {"positions": "point"}, "point")
    ...     for group in (groups.SO2(axis="y"), groups.SO3())
    ... ]
    >>> print(find_symmetry((x, y), candidates, trials=recording))
    >>> print(find_symmetry(model, candidates[0], x))

    Reference: for randomisation tests of invariance, Chiu and Bloem-Reddy,
    arXiv 2307.15834; for D, the energy distance of Szekely and Rizzo,
    J. Stat. Plan. Inference 143 (2013).
    """
    if isinstance(candidates, Symmetry):
        inputs = model_or_data[0] if x is None else x
        candidates = [candidates, *with_negations(candidates, inputs)]
    candidates = list(candidates)
    if not candidates or not all(isinstance(c, Symmetry) for c in candidates):
        raise ValueError(
            "Argument `candidates` must be a list of one Symmetry or more. "
            f"Received: candidates={candidates!r}"
        )
    is_model = callable(model_or_data)
    if is_model == (x is None):
        raise ValueError(
            "Give a model and `x`, or the pair (x, y) without `x`. Received: "
            f"{type(model_or_data).__name__}, x={type(x).__name__}"
        )
    inputs = x if is_model else model_or_data[0]
    n = count_samples(inputs)
    trials = np.arange(n) if trials is None else np.asarray(trials)
    if trials.shape != (n,):
        raise ValueError(
            f"Argument `trials` must have the shape ({n},), one label per "
            f"sample. Received: shape {trials.shape}"
        )
    names, trials = np.unique(trials, return_inverse=True)
    if len(names) < 3:
        raise ValueError(
            "Uncertainties need three trials or more. Received: "
            f"{len(names)} in `trials`"
        )
    if is_model:
        return _of_model(
            model_or_data,
            candidates,
            x,
            trials,
            tolerance,
            level,
            num_samples,
            seed,
        )
    x, y = model_or_data
    if count_samples(y) != n:
        raise ValueError(
            f"`x` and `y` must hold the same number of samples. Received: {n} "
            f"and {count_samples(y)}"
        )
    evidence = []
    for symmetry in candidates:
        data = Data(x, y, symmetry, trials, center)

        def compare(data):
            plain, turned, transferred = cross_validate(
                data, regressor or ridge, num_samples, seed
            )
            cost, low, high = _ratio(turned, plain, level, seed)
            figures: dict[str, Any] = {
                "cost": cost,
                "cost_low": low,
                "cost_high": high,
            }
            figures["transfer"] = float(transferred.mean() / plain.mean())
            verdict = _verdict(low, high, 1 + tolerance, "not detected")
            return figures, verdict

        figures, verdict = compare(data)
        for name, degree in (("linear", 1), ("quadratic", 2)):
            figures[f"detectable_{name}"] = None
            if verdict == "not detected":
                figures[f"detectable_{name}"] = detectable(
                    data, degree, lambda d: compare(d)[1] == "broken", seed
                )
        share, p_value = shared_orientation(data, num_permutations, seed)
        figures["shared_orientation"] = share
        figures["p"] = p_value
        of_distribution = (
            "broken" if p_value <= 1 - level + 1e-9 else "not detected"
        )
        if np.isnan(p_value):
            of_distribution = "undecided"
        evidence.append(Evidence(symmetry, figures, verdict, of_distribution))
    return SymmetryReport(evidence)


def _of_model(
    model, candidates, x, trials, tolerance, level, num_samples, seed
):
    evidence = []
    for symmetry in candidates:
        errors = evaluate_equivariance(
            model,
            x,
            symmetry,
            num_samples=num_samples,
            seed=seed,
            per_sample=True,
        )["relative_equivariance_error"]
        if np.isnan(errors).any():
            raise ValueError(
                "An output of the model is zero for all `x`: there is no "
                "relative error."
            )
        errors = mean_by_trial(errors, trials)
        mean, low, high = _ratio(errors, np.ones_like(errors), level, seed)
        figures = {
            "relative_equivariance_error": mean,
            "low": low,
            "high": high,
        }
        verdict = _verdict(low, high, tolerance, "kept")
        evidence.append(Evidence(symmetry, figures, verdict))
    return SymmetryReport(evidence)


def _verdict(low, high, threshold, below):
    if low > threshold:
        return "broken"
    return below if high < threshold else "undecided"


def _ratio(a, b, level, seed):
    """mean a / mean b, and its bootstrap interval over trials."""
    from scipy import stats  # slow to import: where it is needed

    def ratio(a, b, axis=-1):
        return a.mean(axis=axis) / b.mean(axis=axis)

    low, high = stats.bootstrap(
        (a, b),
        ratio,
        paired=True,
        n_resamples=_BOOTSTRAPS,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(ratio(a, b)), float(low), float(high)
