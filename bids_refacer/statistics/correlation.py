"""Rank correlations: intervals, and two that share a variable. Numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from bids_refacer.statistics.bootstrap import percentile_interval
from bids_refacer.statistics.paired import Interval, wilcoxon_paired

_NONE = float("nan")


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of columns, ties sharing their mean rank (Spearman 1904).

    Parameters
    ----------
    first, second : (n, p) float; a column of the one with the same column of the other

    Returns
    -------
    (p,) float64; 0 where a column is constant, as its order agrees with none and contradicts none: an image that
        shows the same of everyone predicts nothing
    """
    ranks = [stats.rankdata(values, axis=0) - (len(values) + 1) / 2 for values in (first, second)]
    spread = np.sqrt(np.sum(ranks[0] ** 2, axis=0) * np.sum(ranks[1] ** 2, axis=0))
    shared = np.sum(ranks[0] * ranks[1], axis=0)
    return np.asarray(np.divide(shared, spread, out=np.zeros_like(spread), where=spread > 0))


def bootstrap_spearman(observed: np.ndarray, predicted: np.ndarray, seed: int, resamples: int = 1000) -> np.ndarray:
    """Correlation of the observed values with their prediction in resamples of participants.

    Parameters
    ----------
    observed, predicted : (n,) float
    seed : int, the same seed and n draw the same participants, whatever the values: replicates of two predictions are
        paired

    Returns
    -------
    (resamples,) float64
    """
    drawn = np.random.default_rng(seed).integers(0, len(observed), (resamples, len(observed))).T
    return spearman(np.asarray(observed)[drawn], np.asarray(predicted)[drawn])


def permutation_interval(rho: float, null_rho: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a correlation by inversion of its permutation test: those shifts that the test would not refuse.

    What a true correlation does to the estimate is taken to be a shift of Fisher's z, and its scatter to be that of
    chance (on inverting such tests: Garthwaite 1996, Biometrics 52:1387). So it holds 0 exactly where the two-sided
    permutation test finds nothing, and has the scatter of cross-validated predictions, which a bootstrap that takes
    them as given has not.

    Parameters
    ----------
    rho : the estimate
    null_rho : (p,) float, its values in permutations
    confidence : of the interval

    Returns
    -------
    low, high : NaN where permutations are too few to lie beyond both bounds (39 are needed for 95 %)
    """
    beyond = (1 - confidence) / 2
    if (len(null_rho) + 1) * beyond < 1 - 1e-9:
        return _NONE, _NONE
    limit = 1 - 1e-12  # a perfect correlation has no Fisher transform
    low, high = np.quantile(np.arctanh(np.clip(null_rho, -limit, limit)), [beyond, 1 - beyond])
    found = np.arctanh(np.clip(rho, -limit, limit))
    return float(np.tanh(found - high)), float(np.tanh(found - low))


@dataclass(frozen=True)
class DependentTest:
    """Two correlations with one variable, of the same participants.

    Attributes
    ----------
    difference : Interval, first minus second, with its paired bootstrap percentiles
    bootstrap_p : float, two-sided, by how often the resampled difference changes its sign
    z, p_value : float, of Meng's test, two-sided
    replicates_p : float, Wilcoxon's test over the bootstrap replicates. **No test of the correlations**: replicates are
        not independent observations, and their number is chosen freely; with enough of them any difference is
        "significant". Here because a paper reports it
    n : int
    """

    difference: Interval
    bootstrap_p: float
    z: float
    p_value: float
    replicates_p: float
    n: int


def compare_dependent(
    observed: np.ndarray, first: np.ndarray, second: np.ndarray, seed: int, resamples: int = 1000
) -> DependentTest:
    """Whether `observed` is correlated more with the first prediction than with the second (Spearman).

    Parameters
    ----------
    observed, first, second : (n,) float, of the same participants
    seed, resamples : of the paired bootstrap over participants
    """
    columns = np.stack([observed, observed, first], axis=1), np.stack([first, second, second], axis=1)
    ours, theirs, between = spearman(*columns)
    drawn = [bootstrap_spearman(observed, predicted, seed, resamples) for predicted in (first, second)]
    change = drawn[0] - drawn[1]
    z, p_value = meng(float(ours), float(theirs), float(between), len(observed))
    low, high = percentile_interval(change)
    tail = (1 + min(int(np.sum(change <= 0)), int(np.sum(change >= 0)))) / (1 + len(change))
    replicates = wilcoxon_paired(*drawn).p_value
    difference = Interval(float(ours - theirs), float(low), float(high))
    return DependentTest(difference, min(2 * tail, 1.0), z, p_value, replicates, len(observed))


def meng(first: float, second: float, between: float, count: int) -> tuple[float, float]:
    """Test of two dependent correlations (Meng, Rosenthal and Rubin 1992, doi:10.1037/0033-2909.111.1.172, eq. 1-3).

    Parameters
    ----------
    first, second : correlations of two predictions with the same variable
    between : correlation of the predictions
    count : number of participants

    Returns
    -------
    z, p : two-sided; 0 and 1 when the predictions have the same ranks; NaN for fewer than four participants
    """
    if count < 4:
        return _NONE, _NONE
    if between > 1 - 1e-12:
        return 0.0, 1.0
    square = (first**2 + second**2) / 2
    if square > 1 - 1e-12:
        return _NONE, _NONE
    f = min((1 - between) / (2 * (1 - square)), 1.0)
    h = (1 - f * square) / (1 - square)
    limit = 1 - 1e-12  # a perfect correlation has no Fisher transform
    change = np.arctanh(np.clip(first, -limit, limit)) - np.arctanh(np.clip(second, -limit, limit))
    z = float(change * np.sqrt((count - 3) / (2 * (1 - between) * h)))
    return z, float(2 * stats.norm.sf(abs(z)))
