"""Figures of taggers and their standard errors."""

import numpy as np
import pytest

from keras_remul import Symmetry, groups
from keras_remul.evaluation import evaluate_tagger, tagging

pytestmark = pytest.mark.backend_independent


def energy(x):
    """A score that boosts change."""
    return x["p"][:, :1]


def momenta(rng, size):
    y = rng.integers(0, 2, size=(size, 1)).astype("float32")
    p = np.pad(rng.normal(size=(size, 1)) + y, ((0, 0), (0, 3)))
    return {"p": p + [0, 0, 0, 0.5]}, y


def test_figures(rng):
    x, y = momenta(rng, 400)
    scores, labels = x["p"][:, 0], y[:, 0] > 0
    found = evaluate_tagger(energy, x, y)
    pairs = scores[labels][:, None] - scores[~labels]
    assert found["auc"] == pytest.approx((pairs > 0).mean())
    assert found["accuracy"] == np.mean((scores > 0) == labels)
    above = scores[~labels] >= np.quantile(scores[labels], 0.7)
    assert found["rejection_30"] == pytest.approx(1 / above.mean())
    assert evaluate_tagger(energy, x, y[:, 0]) == found
    # The same element for each call, which moves the scores.
    boosts = Symmetry(groups.Boosts("z"), {"p": "four_vector"}, "scalar")
    moved = evaluate_tagger(energy, x, y, boosts)
    assert moved == evaluate_tagger(energy, x, y, boosts)
    assert 0.5 < moved["auc"] < found["auc"]


def test_standard_errors_are_the_scatter_of_other_samples(rng):
    draws = [evaluate_tagger(energy, *momenta(rng, 400)) for _ in range(300)]
    for key in ("auc", "accuracy"):
        scatter = np.std([found[key] for found in draws])
        said = np.mean([found[f"{key}_standard_error"] for found in draws])
        assert said == pytest.approx(scatter, rel=0.15), key
    # That of 1 / p, to first order; the threshold scatters as well.
    shares = [1 / found["rejection_50"] for found in draws]
    said = [
        found["rejection_50_standard_error"] / found["rejection_50"] ** 2
        for found in draws
    ]
    assert 0.6 < np.mean(said) / np.std(shares) < 1.0


def test_ties_count_half():
    labels = np.array([0, 0, 1, 1])
    assert tagging.area_under_curve(np.array([0, 1, 1, 1]), labels) == 0.75
    constant = np.zeros(4)
    assert tagging.area_under_curve(constant, labels) == 0.5
    assert tagging.auc_standard_error(constant, labels) == 0.0


def test_errors(rng):
    x, y = momenta(rng, 40)
    for labels in (y[:-1], y + 1, np.eye(2)[y[:, 0].astype(int)]):
        with pytest.raises(ValueError, match="a 0 or 1 for each of 40"):
            evaluate_tagger(energy, x, labels)
    with pytest.raises(ValueError, match="only 1"):
        evaluate_tagger(energy, x, np.ones((40, 1)))
    with pytest.raises(ValueError, match=r"one logit.*\(40, 4\)"):
        evaluate_tagger(lambda x: x["p"], x, y)
    with pytest.raises(ValueError, match="NaN"):
        evaluate_tagger(lambda x: np.nan * energy(x), x, y)
