"""How well a phenotype is predicted from one kind of image, and whether from another it is predicted less well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.muscle.models import Path
from bids_refacer.muscle.validation import Folds, cross_validate, left_by_covariates
from bids_refacer.statistics.bootstrap import percentile_interval
from bids_refacer.statistics.correlation import bootstrap_spearman, spearman
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
    rho_mean : float, mean of the bootstrap replicates
    permutation_p : float, one-sided (more than chance), of the whole procedure; NaN without permutations
    r2 : float, share of what the covariates left that is explained; negative when their model alone is nearer
    mae : float, mean absolute error, units of the target
    """

    observed: np.ndarray
    predicted: np.ndarray
    rho: Interval
    rho_mean: float
    permutation_p: float
    r2: float
    mae: float


def assess(
    kernel: np.ndarray,
    design: np.ndarray,
    target: np.ndarray,
    folds: Folds,
    path: Path,
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
) -> Assessment:
    """Cross-validated prediction of one target from one kind of image.

    The p value permutes what the covariates left of the target among all participants (Freedman and Lane 1983) and
    runs everything after it again: fits of covariates, tuning and predictions, in the same folds. Adding back the
    covariates' part would change nothing, as each training fold takes it off again.

    Parameters
    ----------
    kernel : (n, n) float, inner products of the participants' voxels
    design : (n, c) float, covariates with a column of ones
    target : (n,) float
    folds : Folds of these participants
    path : of `models.MODELS`
    """
    residual = left_by_covariates(design, target)
    rng = np.random.default_rng(seed)
    columns = [target] + [residual[rng.permutation(len(target))] for _ in range(permutations)]
    observed, predicted = cross_validate(kernel, design, np.stack(columns, axis=1), folds, path)
    rho = spearman(observed, predicted)
    ours, theirs = observed[:, 0], predicted[:, 0]
    drawn = bootstrap_spearman(ours, theirs, seed, resamples)
    low, high = percentile_interval(drawn)
    # a permutation with a constant prediction says nothing for the target: it counts against it
    reached = int(np.sum(~(rho[1:] < rho[0])))
    error = ours - theirs
    return Assessment(
        observed=ours,
        predicted=theirs,
        rho=Interval(float(rho[0]), float(low), float(high)),
        rho_mean=float(np.nanmean(drawn)) if np.isfinite(drawn).any() else float("nan"),
        permutation_p=(1 + reached) / (1 + permutations) if permutations else float("nan"),
        r2=float(1 - np.sum(error**2) / np.sum(ours**2)),
        mae=float(np.abs(error).mean()),
    )
