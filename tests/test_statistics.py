"""Paired statistics against closed forms and scipy."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bids_refacer.statistics.paired import holm, wilcoxon_paired


def test_five_pairs_all_one_way():
    """The smallest two-sided p of five pairs is 2 / 2^5."""
    found = wilcoxon_paired(np.array([2.0, 3.1, 4.2, 5.3, 6.4]), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert found.p_value == pytest.approx(2 / 32)
    assert found.statistic == 0
    assert found.median_difference == pytest.approx(1.2)
    assert found.n_pairs == 5


def test_many_pairs_agree_with_the_normal_approximation():
    rng = np.random.default_rng(0)
    first = rng.normal(0.2, 1, 200)
    found = wilcoxon_paired(first, np.zeros(200))
    ranks = stats.rankdata(np.abs(first))
    smaller = min(ranks[first > 0].sum(), ranks[first < 0].sum())
    z = (smaller - 200 * 201 / 4) / np.sqrt(200 * 201 * 401 / 24)
    assert found.statistic == pytest.approx(smaller)
    assert found.p_value == pytest.approx(2 * stats.norm.cdf(z), rel=1e-6)


def test_direction_is_first_minus_second():
    assert wilcoxon_paired(np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0, 8.0])).median_difference == -4.0


def test_equal_pairs_differ_by_nothing():
    found = wilcoxon_paired(np.ones(6), np.ones(6))
    assert found.p_value == 1.0 and np.isnan(found.statistic) and found.median_difference == 0.0


def test_pairs_with_a_gap_are_dropped():
    nan = np.nan
    found = wilcoxon_paired(np.array([2.0, nan, 3.1, 4.2, 9.0]), np.array([1.0, 5.0, 2.0, 3.0, nan]))
    assert found.n_pairs == 3
    assert found == wilcoxon_paired(np.array([2.0, 3.1, 4.2]), np.array([1.0, 2.0, 3.0]))


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, made monotone: 0.04, 0.06, 0.06, 0.06."""
    np.testing.assert_allclose(holm(np.array([0.03, 0.01, 0.04, 0.02])), [0.06, 0.04, 0.06, 0.06])


def test_holm_is_that_of_statsmodels():
    """By ``statsmodels.stats.multitest.multipletests(p, method="holm")`` of statsmodels 0.15.0, ties included."""
    p = np.array([0.0213, 0.00047, 0.31, 0.0213, 0.049, 0.00102, 0.88, 0.0071])
    theirs = [0.1065, 0.00376, 0.62, 0.1065, 0.147, 0.00714, 0.88, 0.0426]
    np.testing.assert_allclose(holm(p), theirs, rtol=0, atol=1e-9)


def test_holm_stays_below_one_and_skips_gaps():
    np.testing.assert_allclose(holm(np.array([0.9, np.nan, 0.6])), [1.0, np.nan, 1.0])
    np.testing.assert_allclose(holm(np.array([0.2, np.nan])), [0.2, np.nan])


def test_holm_agrees_with_statsmodels_on_many():
    p = np.random.default_rng(0).beta(0.3, 2, 200).round(3)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=0, atol=1e-12)


def test_equal_pairs_are_ranked_and_do_not_vote():
    """Pratt ranks the two zeros first: of 3, 4, -5, 6, 7, 8 the negative sum is 5. Wilcoxon ranks without: 3."""
    difference = np.array([0.0, 0.0, 1.0, 2.0, -3.0, 4.0, 5.0, 6.0])
    found = wilcoxon_paired(difference, np.zeros(8))
    totals = np.array([[(number >> bit) & 1 for bit in range(6)] for number in range(64)]) @ np.arange(3, 9)
    exact = np.mean((totals <= 5) | (totals >= 28))
    z = (5 - (8 * 9 - 2 * 3) / 4) / np.sqrt((8 * 9 * 17 - 2 * 3 * 5) / 24)
    approximate = 2 * stats.norm.cdf(z)  # what scipy had before it counted in the presence of zeros
    assert found.statistic == 5
    assert stats.wilcoxon(difference, zero_method="wilcox").statistic == 3
    assert min(abs(found.p_value - exact), abs(found.p_value - approximate)) < 1e-9


def test_refusals():
    with pytest.raises(ValueError, match="give two lists of equal length"):
        wilcoxon_paired(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="There is no complete pair"):
        wilcoxon_paired(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match="A p value lies outside 0 to 1"):
        holm(np.array([0.1, 1.2]))


def test_holm_takes_certain_values():
    np.testing.assert_array_equal(holm(np.array([1.0, 0.0])), [1.0, 0.0])
    with pytest.raises(ValueError, match="A p value lies outside 0 to 1"):
        holm(np.array([0.1, -0.01]))
    with pytest.raises(ValueError, match="give two lists of equal length"):
        wilcoxon_paired(np.ones((2, 2)), np.ones((2, 2)))


def test_equal_differences_of_few_pairs_are_tested_as_scipy_does() -> None:
    """Which tries all signs, and takes seconds for it."""
    rng = np.random.default_rng(3)
    for size in (2, 5, 8):
        for _ in range(4):
            ours, theirs = rng.integers(0, 4, (2, size)).astype(float)
            if np.array_equal(ours, theirs):
                continue
            expected = stats.wilcoxon(ours, theirs, zero_method="pratt", method=stats.PermutationMethod())
            found = wilcoxon_paired(ours, theirs)
            assert found.p_value == pytest.approx(expected.pvalue)
            assert found.statistic == pytest.approx(expected.statistic)
