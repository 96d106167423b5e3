"""Whether a defaced head is like those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bids_refacer.refacing.defaced_head import DefacedHead
from bids_refacer.refacing.prior import FIELD_SPACING, LinearPrior
from bids_refacer.volumes.grid import Alignment

Ranges = Mapping[str, tuple[float, float]]
"""Measure -> lowest and highest value among the heads that a model was trained on."""

UNLIKE_TRAINING = (
    "This head differs from those the attack was trained on; a large distance is no sign of protection here."
)

WORDS = {
    "brain_scale": "size of the brain",
    "shape": "distance of the linear estimate from the average head",
    "misfit": "of the linear estimate to what lies beside the cut: another contrast or scanner, a wrong registration",
}


def measures(head: DefacedHead, alignment: Alignment, prior: LinearPrior) -> dict[str, float]:
    """What a head is judged by; found in the defaced head alone.

    Parameters
    ----------
    head : on a canonical grid
    alignment : of the image
    prior : the model's

    Returns
    -------
    dict
        ``brain_scale`` geometric mean of the stretches to the average brain; ``shape`` mean squared score of the linear
        estimate (1 for heads as variable as those of the prior, less the less is known); ``misfit`` weighted root mean
        square of what the estimate leaves of the known voxels, model intensities.
    """
    level = head.level.at(FIELD_SPACING)
    fit = prior.fitted(level.values, level.known, level.unknown)
    scale = float(np.prod(alignment.scales) ** (1 / 3))
    return {"brain_scale": scale, "shape": float(np.mean(fit.scores**2)), "misfit": fit.misfit}


def extremes(rows: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Lowest and highest of each measure over heads."""
    return {name: (min(row[name] for row in rows), max(row[name] for row in rows)) for name in WORDS}


def unusual(measured: Mapping[str, float], ranges: Ranges) -> list[str]:
    """Each measure outside its range, in words; none where all are inside, or a model states no range.

    ``shape`` and ``misfit`` are judged on the high side alone: no head is too ordinary.
    """
    outside = []
    for name, (low, high) in ranges.items():
        value = measured[name]
        if value > high or (name == "brain_scale" and value < low):
            outside.append(f"{name} {value:.3g}, in training {low:.3g} to {high:.3g} ({WORDS[name]})")
    return outside
