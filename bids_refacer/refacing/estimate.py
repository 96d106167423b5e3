"""Estimates of a head's fields that need no network: the linear one, and the one moved by kriging."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from bids_refacer.refacing.conditioning import tissue_share
from bids_refacer.refacing.fields import SKIN_LIMIT, SKIN_UNIT_MM, Fields, skin_certain, tissue_field
from bids_refacer.refacing.kriging import VIEW_MM, ErrorCovariance, krige
from bids_refacer.refacing.prior import FIELD_SPACING, LinearPrior
from bids_refacer.refacing.unknown import Level
from bids_refacer.volumes.intensity import MODEL_AIR

Estimate = Literal["linear", "kriged"]
"""What the fields are estimated by: the known intensities alone, or moved to agree with the skin beside the region."""

ANCHOR_MM = 1.5
"""Voxels this near to known skin show how wrong the linear estimate is there."""
WORST_MM = 6.0
"""An estimate that seems to be wrong by more has met an artefact and not the skin: no anchor."""
SHARE = 0.1
"""A voxel's share of tissue by its intensity and by its distance to the skin agree within this where the skin is real.
The surface that was measured was smoothed, and mixes what is known with what is estimated: beside a cut it may lie
millimetres off (docs/model-card.md)."""
LEAST_REAL = 0.2
"""With a smaller share of such voxels, the surface beside the unknown region is that of noise, and the few that agree
do so by chance: the linear estimate is not moved (docs/model-card.md)."""
_LEAST_TISSUE = 0.2  # above air, model intensities


def linear_fields(prior: LinearPrior, level: Level) -> Fields:
    """The fields that the prior expects from the known voxels.

    Parameters
    ----------
    level : on the grid of the prior
    """
    return prior.conditional_fields(level.values, level.known, level.unknown)


def kriged_fields(prior: LinearPrior, level: Level, skin: np.ndarray, *, shares: bool = True) -> tuple[Fields, Fields]:
    """The linear estimate, moved to agree with the skin and the tissue seen beside the unknown region (`krige`).

    Not moved where that skin is lost in noise (`LEAST_REAL`).

    Parameters
    ----------
    level : on the grid of the prior
    skin : (i, j, k) float, the `skin` field of the head, used at known voxels next to the skin alone
    shares : whether to compute `left_open`, which takes most of the time; 1 everywhere if not

    Returns
    -------
    fields : the estimate
    left_open : share of its variance that what was seen leaves open, 0 to 1; 1 where it was not moved
    """
    fit = prior.fitted(level.values, level.known, level.unknown)
    estimate = prior.fields_at(fit.scores)
    seen = Fields(skin, tissue_field(level.values, skin, level.known))
    errors = seen - estimate
    real = _real_skin(level, seen)
    if real is None:
        everything = np.ones(skin.shape, np.float32)
        return estimate, Fields(everything, everything)
    anchors = real & (np.abs(errors.skin) * SKIN_UNIT_MM <= WORST_MM)
    moving = np.abs(estimate.skin) < SKIN_LIMIT
    covariance = ErrorCovariance(prior.blocks["skin"], prior.blocks["tissue"], fit.covariance)
    expected, left_open = krige(errors, anchors, level.unknown, moving, covariance, shares=shares)
    return (estimate + expected).within_limits(), left_open


def _real_skin(level: Level, seen: Fields) -> np.ndarray | None:
    """(i, j, k) bool, known voxels at skin that their intensities confirm; None where that skin is lost in noise."""
    near = level.known & skin_certain(seen.skin, level.known | level.unknown, FIELD_SPACING)
    near &= np.abs(seen.skin) * SKIN_UNIT_MM <= ANCHOR_MM
    near &= ndimage.distance_transform_edt(~level.unknown, sampling=FIELD_SPACING) < VIEW_MM
    share = (level.values - MODEL_AIR) / np.maximum(seen.tissue - MODEL_AIR, _LEAST_TISSUE)
    real = near & (np.abs(share - tissue_share(seen.skin, FIELD_SPACING)) < SHARE)
    return None if real.sum() < LEAST_REAL * near.sum() else np.asarray(real)
