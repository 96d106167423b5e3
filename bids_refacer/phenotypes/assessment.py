"""How well a phenotype is predicted from one kind of image, and whether from another it is predicted less well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.phenotypes.cross_validation import Folds, cross_validate, left_by_covariates
from bids_refacer.phenotypes.models import Learner
from bids_refacer.statistics.bootstrap import percentile_interval
from bids_refacer.statistics.correlation import bootstrap_spearman, permutation_interval, spearman
from bids_refacer.statistics.paired import Interval

PERMUTATIONS = 1000
RESAMPLES = 1000


@dataclass(frozen=True)
class Assessment:
    """What `assess` found.

    Attributes
    ----------
    observed, predicted : (n,) float64, residual of each participant and its prediction, units of the target
    rho : Interval, Spearman's correlation of both, with its bootstrap interval over participants
    calibrated : Interval, the same correlation with its interval from permutations (`permutation_interval`)
    rho_mean : float, mean of the bootstrap replicates
    null_rho : (p,) float64, correlation in each permutation
    permutation_p : float, one-sided (more than chance), of the whole procedure
    r2 : float, share of what the covariates left that is explained; negative when their model alone is nearer
    mae : float, mean absolute error, units of the target
    """

    observed: np.ndarray
    predicted: np.ndarray
    rho: Interval
    calibrated: Interval
    rho_mean: float
    null_rho: np.ndarray
    permutation_p: float
    r2: float
    mae: float


def permute(design: np.ndarray, target: np.ndarray, seed: int, permutations: int = PERMUTATIONS) -> np.ndarray:
    """What the covariates left of the target, exchanged among all participants (Freedman and Lane 1983).

    Adding back the covariates' part would change nothing, as each training fold takes it off again.

    Parameters
    ----------
    design : (n, c) float, covariates with a column of ones
    target : (n,) float

    Returns
    -------
    (n, permutations) float64
    """
    residual = left_by_covariates(design, target)
    rng = np.random.default_rng(seed)
    return np.stack([residual[rng.permutation(len(target))] for _ in range(permutations)], axis=1)


def assess(
    learn: Learner,
    design: np.ndarray,
    target: np.ndarray,
    permuted: np.ndarray,
    folds: Folds,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Assessment:
    """Cross-validated prediction of one target from one kind of image.

    On each permuted target everything is done again, in the same folds: fits of covariates, tuning and predictions.

    Parameters
    ----------
    learn : Learner of these participants
    design : (n, c) float, covariates with a column of ones
    target : (n,) float
    permuted : (n, p) float, p >= 1, of `permute`; may be the rows of some participants out of more
    folds : Folds of these participants
    """
    observed, predicted = cross_validate(learn, design, np.column_stack([target, permuted]), folds)
    rho = spearman(observed, predicted)
    ours, theirs = observed[:, 0], predicted[:, 0]
    drawn = bootstrap_spearman(ours, theirs, seed, resamples)
    low, high = percentile_interval(drawn)
    error = ours - theirs
    return Assessment(
        observed=ours,
        predicted=theirs,
        rho=Interval(float(rho[0]), float(low), float(high)),
        calibrated=Interval(float(rho[0]), *permutation_interval(float(rho[0]), rho[1:])),
        rho_mean=float(np.mean(drawn)),
        null_rho=rho[1:],
        permutation_p=float((1 + np.sum(rho[1:] >= rho[0])) / len(rho)),
        r2=float(1 - np.sum(error**2) / np.sum(ours**2)),
        mae=float(np.abs(error).mean()),
    )


def difference_p(original: Assessment, other: Assessment, difference: float) -> float:
    """How often two images of which neither predicts anything differ as much: two-sided permutation p.

    Tests of two correlations take predictions as given. Cross-validated ones are made of the other participants'
    targets, and their correlations scatter more than those of independent pairs, so that such a test alone finds too
    much where there is nothing (tests/test_muscle_figures.py measures it).

    Parameters
    ----------
    original, other : of the same permutations
    difference : rho of the original minus rho of the other
    """
    null = original.null_rho - other.null_rho
    centre = null.mean()
    reached = np.sum(np.abs(null - centre) >= abs(difference - centre) - 1e-12)
    return float((1 + reached) / (1 + len(null)))
