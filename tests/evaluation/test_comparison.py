"""Comparisons against distributions that are known."""

import math

import numpy as np
import pytest

from keras_remul.evaluation import (
    compare_errors,
    quantile_bound,
    standard_error,
    welch,
)

pytestmark = pytest.mark.backend_independent


def test_standard_error_by_hand():
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(standard_error([1.0]))


def test_pairs_cancel_what_is_hard_for_both(rng):
    hard = rng.exponential(size=300) ** 3
    first, second = hard * 0.9, hard * rng.uniform(0.9, 1.1, size=300)
    found = compare_errors(first, second, num_resamples=400)
    assert found["ratio"] == pytest.approx(first.mean() / second.mean())
    assert found["ratio_high"] < 1 and found["p"] == pytest.approx(2 / 401)
    assert found["first_median"] == np.median(first)
    assert found["first_standard_error"] == pytest.approx(standard_error(first))
    # Not paired, the same numbers tell nothing.
    apart = compare_errors(first, rng.permutation(second), num_resamples=400)
    assert apart["p"] > 0.1 and apart["ratio_high"] > 1
    same = compare_errors(first, first, num_resamples=100)
    assert same["p"] == 1.0 and same["ratio_low"] == same["ratio_high"] == 1


def test_level_of_the_interval(rng):
    """Of equal means, about 95 % of the intervals hold 1."""
    outside = 0
    for seed in range(200):
        a, b = rng.exponential(size=(2, 60))
        found = compare_errors(a, b, num_resamples=200, seed=seed)
        outside += not found["ratio_low"] <= 1 <= found["ratio_high"]
    assert 2 <= outside <= 24


def test_samples_of_one_trial_are_drawn_together(rng):
    trials = np.repeat(np.arange(20), 15)
    noise = rng.uniform(0.9, 1.1, size=300)
    first = rng.exponential(size=20)[trials] * noise
    second = rng.exponential(size=20)[trials]
    alone = compare_errors(first, second, num_resamples=300)
    whole = compare_errors(first, second, trials, num_resamples=300)
    for name in ("ratio", "median_ratio", "first", "second_median"):
        assert alone[name] == whole[name]
    width = [f["ratio_high"] - f["ratio_low"] for f in (alone, whole)]
    assert width[1] > 2 * width[0]
    key = "first_standard_error"
    assert whole[key] == pytest.approx(3.9 * alone[key], rel=0.05)


def test_welch_by_hand():
    # t = -2 / sqrt(1/3 + 4/3) with 50/17 degrees of freedom.
    assert welch([1, 2, 3], [2, 4, 6]) == pytest.approx(0.2208, abs=1e-4)
    assert math.isnan(welch([1.0], [1.0, 2.0]))
    assert welch([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert welch([1.0, 1.0], [2.0, 2.0]) == 0.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([1.0, 2.0], [1.0]), "same samples"),
        (([1.0, math.nan], [1.0, 2.0]), "`first` must be"),
        (([1.0, 2.0], [-1.0, 2.0]), "`second` must be"),
        (([0.0, 0.0], [1.0, 2.0]), "`first` are all zero"),
        (([1.0, 2.0], [1.0, 2.0]), "three trials"),
        (([1.0] * 4, [1.0] * 4, [0, 1]), "`trials` must have the shape"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare_errors(*arguments)


def test_errors_of_numbers():
    with pytest.raises(ValueError, match="num_resamples"):
        compare_errors([1.0] * 4, [1.0] * 4, num_resamples=10)
    with pytest.raises(ValueError, match="`level`"):
        compare_errors([1.0] * 4, [1.0] * 4, level=95)


def test_a_bound_holds_as_often_as_it_says():
    rng, truth = np.random.default_rng(0), np.exp(1.2815515655446004)
    draws = np.exp(rng.normal(size=(2000, 150)))  # 0.9 of them are below
    held = np.mean([quantile_bound(row, 0.9, 0.8) >= truth for row in draws])
    # As often, and, as an order statistic is coarse, hardly more often.
    assert 0.77 < held < 0.88
    # By hand: of 59 samples the largest, 1 - 0.95^59 = 0.9515.
    values = rng.normal(size=59)
    assert quantile_bound(values) == values.max()
    with pytest.raises(ValueError, match="needs 59 samples.*58"):
        quantile_bound(values[:58])
    with pytest.raises(ValueError, match="`values`.*finite"):
        quantile_bound([*values, math.nan])
    with pytest.raises(ValueError, match="`confidence`.*1.5"):
        quantile_bound(values, confidence=1.5)
