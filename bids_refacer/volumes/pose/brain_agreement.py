"""Whether a brain mask has the shape of a brain: compared with the average brain, upright or once aligned."""

from __future__ import annotations

from functools import cache

import numpy as np
from nibabel.affines import apply_affine

from bids_refacer.volumes.grid import Grid, Volume, resample
from bids_refacer.volumes.masks import voxel_volume
from bids_refacer.volumes.registration import RegistrationError, align_brain
from bids_refacer.volumes.templates import asset

LEAST_OVERLAP = 0.85
"""Dice of a mask and the average brain, brought to one place and size but not turned (docs/tools.md)."""

LEAST_INSIDE, LEAST_COVERED = 0.87, 0.5
"""Once aligned: share of a mask that lies in the average brain, and of the average brain that it covers. A defacer may
have cut the brain, which leaves less; but no brain has much beside the average one (docs/tools.md)."""

_SPACING, _SIDE = 4.0, 56


def overlaps_upright(mask: Volume) -> bool:
    """Whether a mask has the shape of a brain that stands about upright; takes no registration.

    Parameters
    ----------
    mask : bool, not empty
    """
    grid, brain, centre, volume = _average_brain()
    size = (mask.values.sum() * voxel_volume(mask.affine) / volume) ** (1 / 3)
    to_mask = np.diag([size, size, size, 1.0])
    to_mask[:3, 3] = apply_affine(mask.affine, np.argwhere(mask.values).mean(axis=0)) - size * centre
    moved = resample(Volume(mask.values.astype(np.float32), mask.affine), grid, to_mask) > 0.5
    return bool(2 * (moved & brain).sum() >= LEAST_OVERLAP * (moved.sum() + brain.sum()))


def turned_degrees(volume: Volume, mask: np.ndarray) -> float | None:
    """By how much a head is turned, from the alignment of its brain; None when the aligned mask is no brain.

    Parameters
    ----------
    volume : the head
    mask : (i, j, k) bool, not empty
    """
    try:
        alignment = align_brain(volume, mask)
    except RegistrationError:
        return None
    grid, brain, _, _ = _average_brain()
    moved = resample(Volume(mask.astype(np.float32), volume.affine), grid, np.linalg.inv(alignment.affine)) > 0.5
    shared = (moved & brain).sum()
    if shared < LEAST_INSIDE * moved.sum() or shared < LEAST_COVERED * brain.sum():
        return None
    return float(np.degrees(np.arccos(np.clip((np.trace(alignment.rigid[:3, :3]) - 1) / 2, -1, 1))))


@cache
def _average_brain() -> tuple[Grid, np.ndarray, np.ndarray, float]:
    """A coarse grid around the average brain, its mask there (bool), its centre (3,) in mm, its volume in mm3."""
    average = asset("average_brain_mask.nii.gz")
    inside = average.values > 0
    centre = apply_affine(average.affine, np.argwhere(inside).mean(axis=0))
    frame = np.diag([_SPACING, _SPACING, _SPACING, 1.0])
    frame[:3, 3] = centre - _SPACING * (_SIDE - 1) / 2
    grid = Grid((_SIDE, _SIDE, _SIDE), frame)
    brain = resample(Volume(inside.astype(np.float32), average.affine), grid) > 0.5
    return grid, brain, centre, float(inside.sum() * voxel_volume(average.affine))
