"""The solid head behind a thresholded image: loose pieces dropped, inner air spaces filled."""

import math

import numpy as np

from bids_refacer.volumes.masks import CLOSING_MM, OPENING_MM, SLICES, VOLUME, holes_filled, largest_component
from bids_refacer.volumes.shapes.morphology import dilated, eroded


def solid_head(bright: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The head without inner spaces: opening, largest component, closing, filling in 3-D and slice by slice.

    `volumes.masks.head_mask` has the same steps, but finds its threshold itself and gives no rims back.

    Parameters
    ----------
    bright : (i, j, k) bool, brighter than the skin
    spacing : (3,) float, mm
    """
    core = eroded(bright, _ball(spacing, OPENING_MM), outside=True)
    core = largest_component(core if core.any() else bright)
    # One voxel more than the opening lost: a nose wing or an ear rim, rounded off by the ball, comes back.
    solid = dilated(core, _ball(spacing, OPENING_MM + float(spacing.max()))) & bright
    solid |= _closed(solid, spacing, CLOSING_MM)
    return largest_component(holes_filled(solid, (VOLUME, *SLICES[::-1])))


def _closed(mask: np.ndarray, spacing: np.ndarray, radius: float) -> np.ndarray:
    """Closing by a ball; the padding lets the dilated head reach beyond the array."""
    reach = np.ceil(radius / spacing).astype(int) + 1
    wide = dilated(np.pad(mask, [(r, r) for r in reach]), _ball(spacing, radius))
    return eroded(wide, _ball(spacing, radius), outside=True)[tuple(slice(r, -r) for r in reach)]


def _ball(spacing: np.ndarray, radius: float) -> np.ndarray:
    """Structuring element: columns along the last axis that lie within a ball of `radius` mm."""
    reach = np.floor(radius / spacing).astype(int)
    element = np.zeros(2 * reach + 1, dtype=bool)
    for i, j in np.ndindex(*element.shape[:2]):
        left = radius**2 - ((i - reach[0]) * spacing[0]) ** 2 - ((j - reach[1]) * spacing[1]) ** 2
        if left >= 0:
            length = int(math.sqrt(left) / spacing[2])
            element[i, j, reach[2] - length : reach[2] + length + 1] = True
    return element
