"""How much a defacer took from head and brain, in ml."""

from __future__ import annotations

import numpy as np

from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.masks import head_mask, voxel_volume


def removed_volumes(original: Volume, removed: np.ndarray, brain_mask: np.ndarray) -> dict[str, float]:
    """Volumes that a tool removed or replaced: what sidecars call QualityControl.

    Parameters
    ----------
    original : above air
    removed : (i, j, k) bool, what the tool removed or replaced
    brain_mask : (i, j, k) bool

    Returns
    -------
    dict
        ``removed_ml``: whole region, air included. ``removed_head_ml``: its part in the head.
        ``removed_head_fraction``: the same over the volume of the head. ``brain_removed_ml`` and
        ``brain_removed_percent``: brain lost; zero for a good defacer.
    """
    head = head_mask(original) | brain_mask
    ml = voxel_volume(original.affine) / 1000
    brain_lost, brain = int((removed & brain_mask).sum()), int(brain_mask.sum())
    return {
        "removed_ml": round(float(removed.sum() * ml), 3),
        "removed_head_ml": round(float((removed & head).sum() * ml), 3),
        "removed_head_fraction": round(float((removed & head).sum() / max(int(head.sum()), 1)), 5),
        "brain_removed_ml": round(float(brain_lost * ml), 3),
        "brain_removed_percent": round(100.0 * brain_lost / max(brain, 1), 4),
    }
