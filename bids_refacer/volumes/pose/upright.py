"""The brain of a head that is turned: found in copies of the head that are turned upright."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bids_refacer.volumes.grid import Volume, resample
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


def turned_brain(volume: Volume, extract: Callable[[Volume], np.ndarray | None]) -> TurnedBrain | None:
    """Look for the brain in the poses in which the head resembles the average head; None when none shows a brain.

    Parameters
    ----------
    volume : intensities above air
    extract : image -> (i, j, k) bool mask of a plausible size, or None
    """
    for pose in likely_poses(volume, _POSES):
        if pose.agreement < _LEAST_AGREEMENT:
            return None
        turned = upright(volume, pose.turn)
        found = extract(turned)
        if found is None:
            continue
        if not overlaps_upright(Volume(found, turned.affine)) and turned_degrees(turned, found) is None:
            continue
        mask = resample(Volume(found.astype(np.float32), turned.affine), volume.grid, pose.turn) > 0.5
        if pose.degrees > MOST_DEGREES:
            return TurnedBrain(mask, pose.degrees, pose)
        if mask.any() and (degrees := turned_degrees(volume, mask)) is not None:
            return TurnedBrain(mask, degrees, pose)
    return None


def misoriented(volume: Volume) -> Pose | None:
    """The pose that a head has by its image, when its header says another; None when that may be right.

    Parameters
    ----------
    volume : intensities above air
    """
    best = likely_poses(volume, 1)
    return best[0] if best and best[0].degrees > MOST_DEGREES and best[0].agreement >= _LEAST_AGREEMENT else None
