"""Effect sizes, several tools on the same participants, and two groups of participants: numbers in, numbers out."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from bids_refacer.statistics.bootstrap import draw_counts, percentile_interval
from bids_refacer.statistics.paired import PairedTest, holm, wilcoxon_paired


def rank_biserial(first: np.ndarray, second: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation of first - second (Kerby 2014, doi:10.2466/11.IT.3.1, equation 5).

    (R+ - R-) / (R+ + R-) over the ranks of the absolute differences that are not 0: 1 when first is always the larger,
    -1 when it is always the smaller, 0 when no pair differs. Pairs with a NaN are dropped; NaN when none is left.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        return float("nan")
    difference = difference[difference != 0]
    if not len(difference):
        return 0.0
    ranks = stats.rankdata(np.abs(difference))
    return float((ranks[difference > 0].sum() - ranks[difference < 0].sum()) / ranks.sum())


@dataclass(frozen=True)
class ToolsTest:
    """Result of `friedman`.

    Attributes
    ----------
    statistic : float, chi-squared with k - 1 degrees of freedom
    p_value : float
    kendall_w : float, agreement of the participants about the order of the tools, 0 to 1
    n : int, participants with a value for every tool
    """

    statistic: float
    p_value: float
    kendall_w: float
    n: int


def friedman(values: np.ndarray) -> ToolsTest:
    """Friedman's test of k tools on the same participants (Friedman 1937, doi:10.1080/01621459.1937.10503522).

    Parameters
    ----------
    values : (n, k) float; participants with a NaN are dropped

    Returns
    -------
    ToolsTest
        With NaN figures for fewer than three tools or two complete participants; with a p value of 1 when every
        participant has the same value for all tools.
    """
    complete = values[~np.isnan(values).any(axis=1)]
    n, k = complete.shape
    nan = float("nan")
    if k < 3 or n < 2:
        return ToolsTest(nan, nan, nan, n)
    if np.all(complete == complete[:, :1]):
        return ToolsTest(0.0, 1.0, 0.0, n)
    found = stats.friedmanchisquare(*complete.T)
    return ToolsTest(float(found.statistic), float(found.pvalue), float(found.statistic) / (n * (k - 1)), n)


def post_hoc(values: np.ndarray) -> list[tuple[int, int, PairedTest, float]]:
    """Every pair of tools by the Wilcoxon signed-rank test, Holm over the pairs.

    Not by differences of mean ranks, which depend on which other tools are in the table (Benavoli, Corani and Mangili
    2016, jmlr.org/papers/v17/benavoli16a.html).

    Parameters
    ----------
    values : (n, k) float; for each pair, participants with a NaN are dropped

    Returns
    -------
    list of (first, second, test, adjusted p), first and second being columns; pairs without two participants are absent
    """
    found = []
    for first, second in combinations(range(values.shape[1]), 2):
        if np.sum(~np.isnan(values[:, first] - values[:, second])) > 1:
            found.append((first, second, wilcoxon_paired(values[:, first], values[:, second])))
    adjusted = holm(np.array([test.p_value for *_, test in found]))
    return [(*pair, float(p)) for pair, p in zip(found, adjusted, strict=True)]


@dataclass(frozen=True)
class GroupsTest:
    """Result of `two_groups`.

    Attributes
    ----------
    difference, low, high : float, mean of the first group minus the second, with its bootstrap interval
    statistic, p_value : float, of the Mann-Whitney U test, two-sided
    rank_biserial : float, 2 U / (n1 n2) - 1: 1 when every value of the first group is the larger
    n_first, n_second : int
    """

    difference: float
    low: float
    high: float
    statistic: float
    p_value: float
    rank_biserial: float
    n_first: int
    n_second: int


def two_groups(first: np.ndarray, second: np.ndarray, seed: int, resamples: int = 10_000) -> GroupsTest:
    """Compare two groups of different participants (Mann and Whitney 1947, doi:10.1214/aoms/1177730491).

    Parameters
    ----------
    first : (n1,) float, second : (n2,) float; NaN values are dropped
    seed : int, each group is drawn with replacement by itself

    Returns
    -------
    GroupsTest
        With NaN figures when a group has fewer than two values.
    """
    ours, theirs = (np.asarray(group, dtype=np.float64) for group in (first, second))
    ours, theirs = ours[~np.isnan(ours)], theirs[~np.isnan(theirs)]
    nan = float("nan")
    if min(len(ours), len(theirs)) < 2:
        return GroupsTest(nan, nan, nan, nan, nan, nan, len(ours), len(theirs))
    means = [
        np.concatenate([counts @ group / len(group) for counts in draw_counts(len(group), seed + number, resamples)])
        for number, group in enumerate((ours, theirs))
    ]
    low, high = percentile_interval(means[0] - means[1])
    found = stats.mannwhitneyu(ours, theirs)
    effect = 2 * float(found.statistic) / (len(ours) * len(theirs)) - 1
    difference = float(ours.mean() - theirs.mean())
    figures = (difference, float(low), float(high), float(found.statistic), float(found.pvalue), effect)
    return GroupsTest(*figures, len(ours), len(theirs))
