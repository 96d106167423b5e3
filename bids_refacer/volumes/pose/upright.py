"""The brain of a head that is turned: found in copies of the head that are turned upright."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bids_refacer.volumes.grid import Grid, resample
from bids_refacer.volumes.pose.brain_agreement import overlaps_upright, turned_degrees
from bids_refacer.volumes.pose.poses import Pose, likely_poses, upright

MOST_DEGREES = 70.0
"""Heads are tilted by less; beyond, the orientation in the header is wrong."""

_POSES = 3
_LEAST_AGREEMENT = 0.85  # with the average head; below, no pose shows a head (docs/tools.md)


@dataclass(frozen=True)
class TurnedBrain:
    """A brain that was found in a turned copy of a head.

    Attributes
    ----------
    mask : (i, j, k) bool, on the grid of the image
    degrees : by how much the head is turned
    pose : in which it was found
    """

    mask: np.ndarray
    degrees: float
    pose: Pose


def turned_brain(
    values: np.ndarray, affine: np.ndarray, extract: Callable[[np.ndarray, np.ndarray], np.ndarray | None]
) -> TurnedBrain | None:
    """Look for the brain in the poses in which the head resembles the average head; None when none shows a brain.

    Parameters
    ----------
    values : (i, j, k) float array, above air
    affine : (4, 4) float, voxel -> RAS+ mm
    extract : image and affine -> (i, j, k) bool mask of a plausible size, or None
    """
    i, j, k = values.shape
    for pose in likely_poses(values, affine, _POSES):
        if pose.agreement < _LEAST_AGREEMENT:
            return None
        turned, frame = upright(values, affine, pose.turn)
        found = extract(turned, frame)
        if found is None or not (overlaps_upright(found, frame) or turned_degrees(turned, frame, found) is not None):
            continue
        mask = resample(found.astype(np.float32), frame, Grid((i, j, k), affine), pose.turn) > 0.5
        if pose.degrees > MOST_DEGREES:
            return TurnedBrain(mask, pose.degrees, pose)
        if mask.any() and (degrees := turned_degrees(values, affine, mask)) is not None:
            return TurnedBrain(mask, degrees, pose)
    return None


def misoriented(values: np.ndarray, affine: np.ndarray) -> Pose | None:
    """The pose that a head has by its image, when its header says another; None when that may be right.

    Parameters
    ----------
    values : (i, j, k) float array, above air
    affine : (4, 4) float, voxel -> RAS+ mm
    """
    best = likely_poses(values, affine, 1)
    return best[0] if best and best[0].degrees > MOST_DEGREES and best[0].agreement >= _LEAST_AGREEMENT else None
