"""Paired comparisons of tools and images, subject by subject: numbers in, numbers out."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

_FEW = 13  # pairs up to which scipy tries all signs where differences are equal


@dataclass(frozen=True)
class PairedTest:
    """Result of `wilcoxon_paired`.

    Attributes
    ----------
    statistic : float, the smaller sum of signed ranks (NaN when no pair differs)
    p_value : float, two-sided
    median_difference : float, median of first - second, in the units of the input
    n_pairs : int, pairs with both values
    """

    statistic: float
    p_value: float
    median_difference: float
    n_pairs: int


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, in the units of the input."""

    estimate: float
    low: float
    high: float


def wilcoxon_paired(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Two-sided Wilcoxon signed-rank test of paired values; pairs with a NaN are dropped.

    Equal pairs are ranked and their ranks shared out (Pratt 1959, doi:10.1080/01621459.1959.10501526); when all are
    equal the p value is 1.

    Parameters
    ----------
    first, second : (n,) float, the same subject at the same place

    Raises
    ------
    ValueError
        If the lengths differ or no complete pair is left.
    """
    ours, theirs = _complete_pairs(first, second)
    difference = ours - theirs
    if not np.any(difference):
        return PairedTest(float("nan"), 1.0, 0.0, len(difference))
    median, size = float(np.median(difference)), len(difference)
    if size <= _FEW and _has_ties(difference):
        return PairedTest(*_exact_test(difference), median, size)
    result = stats.wilcoxon(ours, theirs, zero_method="pratt")
    return PairedTest(float(result.statistic), float(result.pvalue), median, size)


def _has_ties(difference: np.ndarray) -> bool:
    """Whether any difference is 0, or as large as another."""
    return 0 in difference or len(np.unique(np.abs(difference))) < len(difference)


def _exact_test(difference: np.ndarray) -> tuple[float, float]:
    """The smaller sum of signed ranks, and its chance over all signs: what scipy finds by trying all, in no time."""
    ranks = np.rint(2 * stats.rankdata(np.abs(difference))).astype(int)  # twice, as ties have half ranks
    moving = difference != 0
    chances = np.ones(1)
    for rank in ranks[moving]:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    positive, negative = int(ranks[difference > 0].sum()), int(ranks[difference < 0].sum())
    tails = chances[: positive + 1].sum(), chances[positive:].sum()
    return min(positive, negative) / 2, min(1.0, 2 * float(min(tails)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """P values adjusted for the number of tests by Holm's step-down procedure (1979, jstor.org/stable/4615733).

    Parameters
    ----------
    p_values : (m,) float in 0..1; NaN stays NaN and counts for no test

    Returns
    -------
    (m,) float64, in the order of the input

    Raises
    ------
    ValueError
        If a value lies outside 0..1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if np.any((p < 0) | (p > 1)):
        raise ValueError("A p value lies outside 0 to 1; give probabilities.")
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: int(np.sum(~np.isnan(p)))]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _complete_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"Paired values have shapes {ours.shape} and {theirs.shape}; give two lists of equal length.")
    complete = ~(np.isnan(ours) | np.isnan(theirs))
    if not complete.any():
        raise ValueError("There is no complete pair; give at least one subject with both values.")
    return ours[complete], theirs[complete]
