"""Rank correlations against scipy, a published example and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bids_refacer.statistics.correlation import (
    bootstrap_spearman,
    compare_dependent,
    meng,
    permutation_interval,
    spearman,
)


def test_spearman_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (15, 3)).astype(float), rng.normal(size=(15, 3))
    expected = [stats.spearmanr(first[:, column], second[:, column]).statistic for column in range(3)]
    assert spearman(first, second) == pytest.approx(expected)
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_replicates_are_correlations_of_resampled_participants() -> None:
    rng = np.random.default_rng(1)
    observed, predicted = rng.normal(size=20), rng.normal(size=20)
    found = bootstrap_spearman(observed, predicted, seed=7, resamples=30)
    drawn = np.random.default_rng(7).integers(0, 20, (30, 20))
    assert found == pytest.approx([stats.spearmanr(observed[rows], predicted[rows]).statistic for rows in drawn])
    assert bootstrap_spearman(observed, -predicted, seed=7, resamples=30) == pytest.approx(-found), "paired"


def test_an_interval_from_permutations_is_fishers_where_chance_is_normal() -> None:
    null = np.tanh(stats.norm.ppf((np.arange(9999) + 0.5) / 9999) / np.sqrt(47))
    low, high = permutation_interval(0.5, null)
    half = 1.959964 / np.sqrt(47)
    assert (low, high) == pytest.approx((np.tanh(np.arctanh(0.5) - half), np.tanh(np.arctanh(0.5) + half)), abs=2e-4)
    assert permutation_interval(0.5, null, 0.5)[0] == pytest.approx(
        np.tanh(np.arctanh(0.5) - 0.67449 / np.sqrt(47)), abs=2e-4
    )


def test_an_interval_from_permutations_holds_0_where_the_test_finds_nothing() -> None:
    rng = np.random.default_rng(2)
    null = rng.normal(-0.06, 0.12, 999)  # lopsided, as of cross-validation
    for rho in np.linspace(-0.5, 0.5, 101):
        low, high = permutation_interval(float(rho), null)
        upper, lower = ((1 + np.sum(tail)) / 1000 for tail in (null >= rho, null <= rho))
        if abs(min(upper, lower) - 0.025) > 0.002:  # but at the very bound, where quantiles are interpolated
            assert (low <= 0 <= high) == (min(upper, lower) > 0.025), rho
        assert low < high


def test_an_interval_needs_permutations_beyond_both_bounds() -> None:
    null = np.linspace(-0.2, 0.2, 39)
    assert np.isfinite(permutation_interval(0.3, null)).all()
    assert np.isnan(permutation_interval(0.3, null[:38])).all()
    assert permutation_interval(0.0, np.zeros(39)) == (0.0, 0.0), "everyone looks the same"
    low, high = permutation_interval(1.0, null)
    assert 0.99 < low <= high <= 1


def test_meng_has_the_example_of_its_paper() -> None:
    """Meng, Rosenthal and Rubin 1992, page 173: N = 15, r 0.63 and -0.03, -0.19 between them: Z = 1.68."""
    z, p = meng(0.63, -0.03, -0.19, 15)
    assert z == pytest.approx(1.68, abs=0.005) and p / 2 == pytest.approx(0.047, abs=0.001)


def test_meng_caps_f_at_1() -> None:
    """Of predictions that contradict each other f would be 1.95 / 1.83; with f = 1, h is 1."""
    change = np.arctanh(0.4) - np.arctanh(0.1)
    z, p = meng(0.4, 0.1, -0.95, 30)
    assert z == pytest.approx(change * np.sqrt(27 / (2 * 1.95)), abs=1e-12)
    assert p == pytest.approx(2 * stats.norm.sf(z), abs=1e-12)


def test_meng_of_what_cannot_be_compared() -> None:
    assert meng(0.4, 0.4, 1.0, 30) == (0.0, 1.0)
    assert np.isnan(meng(0.5, 0.4, 0.3, 3)).all()
    z, p = meng(1.0, 0.2, 0.2, 30)
    assert z > 5 and p < 1e-5


def test_p_values_keep_their_rate_and_those_over_replicates_do_not() -> None:
    """Two predictions, equally good: Meng's test is wrong in about 5 %, Wilcoxon over replicates nearly always."""
    rng = np.random.default_rng(5)
    found = []
    for seed in range(100):
        truth = rng.normal(size=50)
        first, second = (truth + rng.normal(size=50) + shared for shared in [0.5 * rng.normal(size=50)] * 2)
        found.append(compare_dependent(truth, first, second, seed, resamples=100))
    wrong = {name: np.mean([getattr(test, name) < 0.05 for test in found]) for name in ("p_value", "replicates_p")}
    assert wrong["p_value"] <= 0.12 and np.mean([test.bootstrap_p < 0.05 for test in found]) <= 0.13
    assert wrong["replicates_p"] > 0.6


def test_a_difference_and_its_interval() -> None:
    rng = np.random.default_rng(6)
    truth = rng.normal(size=200)
    good, bad = truth + rng.normal(size=200), rng.normal(size=200)
    test = compare_dependent(truth, good, bad, seed=0)
    expected = stats.spearmanr(truth, good).statistic - stats.spearmanr(truth, bad).statistic
    assert test.difference.estimate == pytest.approx(expected)
    assert 0 < test.difference.low < expected < test.difference.high
    assert test.bootstrap_p == pytest.approx(2 / 1001) and test.p_value < 1e-6
    swapped = compare_dependent(truth, bad, good, seed=0)
    assert swapped.difference.estimate == -test.difference.estimate and swapped.p_value == pytest.approx(test.p_value)
    same = compare_dependent(truth, good, good, seed=0)
    assert (same.difference.estimate, same.p_value, same.bootstrap_p) == (0, 1, 1)
    nothing = compare_dependent(truth, good, np.zeros(200), seed=0)
    assert nothing.difference.estimate == pytest.approx(stats.spearmanr(truth, good).statistic)
    assert nothing.p_value < 1e-6 and nothing.n == 200
