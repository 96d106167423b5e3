"""Bootstrap of many columns, effect sizes, Friedman, two groups, calibration: against scipy, twins and theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bids_refacer.statistics import bootstrap
from bids_refacer.statistics.bootstrap import bootstrap_means, draw_counts, percentile_interval
from bids_refacer.statistics.calibration import EDGES, calibration_bins, inside_intervals, predicted_error
from bids_refacer.statistics.comparison import friedman, post_hoc, rank_biserial, two_groups
from bids_refacer.statistics.paired import holm, wilcoxon_paired


def test_many_columns_are_the_same_bootstrap_as_one() -> None:
    values = np.random.default_rng(0).gamma(2, 3, (40, 3))
    low, high = bootstrap_means(values, seed=5)
    for column in range(3):
        draws = np.random.default_rng(5).integers(0, 40, (10_000, 40))
        one = np.quantile(values[draws, column].mean(axis=1), [0.025, 0.975])
        assert (low[column], high[column]) == pytest.approx(tuple(one), abs=1e-9)


def test_bootstrap_of_the_mean_has_the_width_of_theory() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    (low,), (high,) = bootstrap_means(values[:, None], seed=0)
    half = 1.96 * values.std() / np.sqrt(400)
    assert high - values.mean() == pytest.approx(half, rel=0.08)
    assert values.mean() - low == pytest.approx(half, rel=0.08)


def test_bootstrap_depends_on_the_seed_alone() -> None:
    values = np.random.default_rng(1).normal(size=(30, 1))
    assert bootstrap_means(values, seed=3) == bootstrap_means(values, seed=3)
    assert bootstrap_means(values, seed=3) != bootstrap_means(values, seed=4)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    whole = bootstrap_means(values, seed=1, resamples=500)
    monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 16 * 30 * 7)
    assert max(len(block) for block in draw_counts(30, 1, 500)) == 7
    np.testing.assert_allclose(bootstrap_means(values, seed=1, resamples=500), whole, atol=1e-12)


def test_gaps_add_nothing() -> None:
    values = np.full((200, 3), np.nan)
    values[:100, 0] = np.random.default_rng(1).normal(5, 2, 100)
    values[0, 1] = 3.0
    low, high = bootstrap_means(values, seed=0)
    half = 1.96 * np.nanstd(values[:, 0]) / 10
    assert (high[0] - low[0]) / 2 == pytest.approx(half, rel=0.1)
    assert np.isnan(low[1:]).all() and np.isnan(high[1:]).all()
    assert percentile_interval(np.array([1.0, np.nan, 3.0]))[0] == pytest.approx(1.05)


def test_two_values_have_an_interval() -> None:
    """Means of two draws of two values are 1, 2 or 3, at one half 2: the bounds are the values themselves."""
    low, high = bootstrap_means(np.array([[1.0], [3.0]]), seed=0)
    assert (low.tolist(), high.tolist()) == ([1.0], [3.0])
    low, high = bootstrap_means(np.array([[1.0, 5.0], [3.0, np.nan], [np.nan, np.nan]]), seed=0)
    assert (low[0], high[0]) == (1.0, 3.0) and np.isnan([low[1], high[1]]).all()


def test_rank_biserial_by_hand_and_by_scipy() -> None:
    # differences 1, -2, 3, 4: ranks 1..4, R+ = 8, R- = 2
    assert rank_biserial(np.array([2.0, 0.0, 4.0, 5.0]), np.array([1.0, 2.0, 1.0, 1.0])) == pytest.approx(0.6)
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, 1, 30), rng.normal(size=30)
    smaller = stats.wilcoxon(first, second).statistic
    assert rank_biserial(first, second) == pytest.approx(1 - 2 * smaller / (30 * 31 / 2), abs=1e-9)
    assert rank_biserial(second, first) == pytest.approx(-rank_biserial(first, second), abs=1e-9)
    assert rank_biserial(np.ones(3), np.ones(3)) == 0.0
    assert np.isnan(rank_biserial(np.array([np.nan]), np.ones(1)))
    assert rank_biserial(np.array([3.0, np.nan, 1.0]), np.array([1.0, 1.0, 1.0])) == 1.0


def slow_friedman(values: np.ndarray) -> float:
    """Friedman's chi-squared with the correction for ties (Conover 1999, equation 5.8.6)."""
    ranks = np.array([stats.rankdata(row) for row in values])
    n, k = values.shape
    a, c = np.sum(ranks**2), n * k * (k + 1) ** 2 / 4
    return float((k - 1) * np.sum((ranks.sum(0) - n * (k + 1) / 2) ** 2) / (a - c))


@pytest.mark.parametrize("digits", [8, 0])
def test_friedman_agrees_with_its_formula(digits: int) -> None:
    values = np.round(np.random.default_rng(3).normal(0, 2, (15, 4)) + [0, 0.5, 1, 1.5], digits)
    found = friedman(np.vstack([values, [[1.0, np.nan, 2.0, 3.0]]]))
    assert found.statistic == pytest.approx(slow_friedman(values), abs=1e-9)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 3), abs=1e-9)
    assert found.kendall_w == pytest.approx(found.statistic / 45, abs=1e-9) and found.n == 15


@pytest.mark.parametrize("digits", [8, 0])
def test_friedman_agrees_with_scipy(digits: int) -> None:
    values = np.round(np.random.default_rng(6).normal(0, 2, (12, 5)) + [0, 0.3, 0.6, 0.9, 1.2], digits)
    found, theirs = friedman(values), stats.friedmanchisquare(*values.T)
    assert (found.statistic, found.p_value) == pytest.approx((theirs.statistic, theirs.pvalue), abs=1e-12)


def test_friedman_needs_three_tools_and_two_participants() -> None:
    assert np.isnan(friedman(np.ones((9, 2))).p_value)
    assert np.isnan(friedman(np.ones((1, 3))).p_value)
    assert friedman(np.ones((5, 3))).p_value == 1.0
    perfect = friedman(np.tile([1.0, 2.0, 3.0], (6, 1)))
    assert perfect.kendall_w == pytest.approx(1.0)


def test_post_hoc_is_wilcoxon_with_holm() -> None:
    values = np.random.default_rng(4).normal(0, 1, (20, 3)) + [0, 0.3, 1]
    values[0, 2] = np.nan
    found = post_hoc(values)
    assert [(first, second) for first, second, *_ in found] == [(0, 1), (0, 2), (1, 2)]
    p = [stats.wilcoxon(values[:, i], values[:, j], nan_policy="omit").pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose([test.p_value for *_, test, _ in found], p, atol=1e-9)
    np.testing.assert_allclose([adjusted for *_, adjusted in found], holm(np.array(p)), atol=1e-9)
    assert post_hoc(np.full((3, 2), np.nan)) == []


def test_wilcoxon_is_exact_for_few() -> None:
    """All 2^8 signs, counted."""
    difference = np.array([1.1, -0.4, 2.5, 3.0, -0.2, 0.9, 1.7, 2.2])
    ranks = stats.rankdata(np.abs(difference))
    signs = np.array([[(number >> bit) & 1 for bit in range(8)] for number in range(256)])
    smaller = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    totals = signs @ ranks
    expected = np.mean((totals <= smaller) | (totals >= ranks.sum() - smaller))
    assert wilcoxon_paired(difference, np.zeros(8)).p_value == pytest.approx(expected, abs=1e-9)


def test_two_groups() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(2, 1, 80), np.append(rng.normal(1, 1, 60), np.nan)
    found = two_groups(first, second, seed=0)
    known = second[:-1]
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in known)
    assert found.statistic == pytest.approx(wins, abs=1e-9)
    assert found.rank_biserial == pytest.approx(2 * wins / 4800 - 1, abs=1e-9)
    assert found.p_value == pytest.approx(stats.mannwhitneyu(first, known).pvalue, abs=1e-9)
    half = 1.96 * np.sqrt(first.var() / 80 + known.var() / 60)
    assert found.difference == pytest.approx(first.mean() - known.mean(), abs=1e-9)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert (found.n_first, found.n_second) == (80, 60)
    assert np.isnan(two_groups(first, np.array([1.0]), seed=0).p_value)


def test_two_groups_are_drawn_each_by_itself() -> None:
    """The first with the seed, the second with the next one; two values are enough."""
    first, second = np.array([1.0, 4.0]), np.array([2.0, 3.0, 7.0])
    found = two_groups(first, second, seed=8, resamples=200)
    means = [
        group[np.random.default_rng(seed).integers(0, len(group), (200, len(group)))].mean(axis=1)
        for seed, group in ((8, first), (9, second))
    ]
    expected = np.quantile(means[0] - means[1], [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)
    assert (found.difference, found.n_first, found.n_second) == (-1.5, 2, 3)


def test_ten_thousand_draws_are_the_default() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 20))
    assert two_groups(first, second, seed=0) == two_groups(first, second, seed=0, resamples=10_000)
    assert two_groups(first, second, seed=0) != two_groups(first, second, seed=0, resamples=9_999)


def test_two_participants_are_enough_to_compare_tools() -> None:
    """All three tools in the same order for both: chi-squared is 2 * 2, and they agree."""
    found = friedman(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert (found.statistic, found.kendall_w, found.n) == (4.0, 1.0, 2)
    assert found.p_value == pytest.approx(np.exp(-2.0), abs=1e-12)  # of two degrees of freedom
    nan = np.nan
    pairs = post_hoc(np.array([[1.0, 2.0, nan], [3.0, 5.0, 1.0], [nan, nan, 4.0]]))
    assert [(first, second, test.n_pairs) for first, second, test, _ in pairs] == [(0, 1, 2)]


# calibration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "within"), [(2, 0.01), (3, 0.02), (8, 0.01), (9, 0.01)])
def test_honest_samples_are_calibrated(count: int, within: float) -> None:
    """Truth and mirrored guesses from one normal distribution of a spread that varies from place to place."""
    rng = np.random.default_rng(count)
    spread, centre = rng.uniform(0.2, 4, 60_000), rng.normal(0, 5, 60_000)
    deviation = rng.normal(0, spread, ((count + 1) // 2, 60_000))
    guesses = centre + np.stack([deviation, -deviation], axis=1).reshape(-1, 60_000)[:count]
    truth = rng.normal(centre, spread)
    np.testing.assert_allclose(inside_intervals(guesses, truth).mean(axis=0), [0.5, 0.9], atol=within)
    bins = calibration_bins(guesses, truth, np.ones(60_000))
    assert bins.weight.sum() == pytest.approx(60_000)
    squares = [np.nansum(part**2 * bins.weight) for part in (bins.error, bins.predicted)]
    total = np.sqrt(squares[0] / squares[1])
    assert total == pytest.approx(1.0, abs=0.03)


def test_the_last_of_an_odd_number_of_mirrored_samples_adds_an_error_of_its_own() -> None:
    """1, -1 and 2: squares about the mean 2/3 are 14/3; s^2 = 14/3 / (3 - 1/3) = 7/4, times 1 + 1/9; 2 free draws."""
    guesses = np.array([[1.0], [-1.0], [2.0]])
    error = predicted_error(guesses)[0]
    assert error == pytest.approx(np.sqrt(7 / 4 * 10 / 9), abs=1e-12)
    half, nine_tenths = error / np.sqrt(1.5), error * stats.t.ppf(0.95, 2)  # t of 2 degrees at 3/4 is 1 / sqrt 1.5
    for reach, inside in ((half, [True, True]), (nine_tenths, [False, True])):
        assert inside_intervals(guesses, np.array([2 / 3 + reach - 1e-6])).tolist() == [inside]
    assert inside_intervals(guesses, np.array([2 / 3 + half + 1e-6])).tolist() == [[False, True]]
    assert inside_intervals(guesses, np.array([2 / 3 - nine_tenths - 1e-6])).tolist() == [[False, False]]


def test_of_an_even_number_of_mirrored_samples_the_mean_has_no_error() -> None:
    """1, -1, 2 and -2: s^2 = 10 / 4, and a truth that is one more draw has that variance."""
    assert predicted_error(np.array([[1.0], [-1.0], [2.0], [-2.0]]))[0] == pytest.approx(np.sqrt(2.5), abs=1e-12)


def test_overconfident_samples_are_caught() -> None:
    rng = np.random.default_rng(0)
    guesses = rng.normal(0, 1, (5, 40_000))
    truth = rng.normal(0, 3, 40_000)
    assert inside_intervals(guesses, truth).mean(axis=0)[1] < 0.65
    bins = calibration_bins(guesses, truth, np.ones(40_000))
    full = bins.weight > 0
    assert np.average(bins.error[full], weights=bins.weight[full]) > 2 * np.average(
        bins.predicted[full], weights=bins.weight[full]
    )


def test_bins_agree_with_a_loop() -> None:
    rng = np.random.default_rng(1)
    guesses, truth, weights = rng.normal(0, 2, (3, 500)), rng.normal(0, 2, 500), rng.uniform(1, 2, 500)
    bins = calibration_bins(guesses, truth, weights)
    predicted, inside = predicted_error(guesses), inside_intervals(guesses, truth)
    for number, (low, high) in enumerate(zip(EDGES, EDGES[1:], strict=False)):
        here = (predicted >= low) & (predicted < high)
        if not here.any():
            assert np.isnan(bins.error[number]) and bins.weight[number] == 0
            continue
        error = (guesses.mean(axis=0) - truth)[here]
        assert bins.error[number] == pytest.approx(np.sqrt(np.average(error**2, weights=weights[here])), abs=1e-9)
        for level in range(2):
            share = np.average(inside[here, level], weights=weights[here])
            assert bins.covered[number, level] == pytest.approx(share, abs=1e-9)


def test_places_lie_in_the_bins_of_their_predicted_error() -> None:
    """Of a mirrored pair at d and -d it is d: a place or two in each bin, those on a border in the upper one."""
    wanted = np.array([0.1, 0.25, 0.6, 0.9, 1.2, 1.7, 2.5, 3.5, 5.0, 60.0, 0.75, 5.999])
    deviation = wanted * (1 + 1e-12)
    bins = calibration_bins(np.stack([deviation, -deviation]), np.zeros(12), np.arange(1.0, 13))
    np.testing.assert_allclose(bins.weight, [1, 2, 3, 4 + 11, 5, 6, 7, 8, 9 + 12, 10])
    np.testing.assert_allclose(bins.predicted[[0, 4, 9]], [0.1, 1.2, 60.0])
    np.testing.assert_array_equal(bins.error, np.zeros(10))
    np.testing.assert_array_equal(bins.covered, np.ones((10, 2)))


def test_calibration_refusals() -> None:
    with pytest.raises(ValueError, match="their spread needs two or more"):
        calibration_bins(np.ones((1, 3)), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="must have one value for each"):
        calibration_bins(np.ones((2, 3)), np.ones(3), np.ones(4))
