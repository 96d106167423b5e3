"""The solid head behind a thresholded image: loose pieces dropped, inner air spaces filled."""

import numpy as np

from bids_refacer.volumes.masks import CLOSING_MM, OPENING_MM, SLICES, VOLUME, holes_filled, largest_component


def solid_head(bright: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The head without inner spaces: opening, largest component, closing, filling in 3-D and slice by slice.

    `volumes.masks.head_mask` has the same steps, but finds its threshold itself and gives no rims back.

    Parameters
    ----------
    bright : (i, j, k) bool, brighter than the skin
    spacing : (3,) float, mm
    """
    core = _eroded(bright, spacing, OPENING_MM)
    core = largest_component(core if core.any() else bright)
    # One voxel more than the opening lost: a nose wing or an ear rim, rounded off by the ball, comes back.
    solid = _dilated(core, spacing, OPENING_MM + float(spacing.max())) & bright
    solid |= _closed(solid, spacing, CLOSING_MM)
    return largest_component(holes_filled(solid, (VOLUME, *SLICES[::-1])))


def _dilated(mask: np.ndarray, spacing: np.ndarray, radius: float) -> np.ndarray:
    """Dilation by a ball of ``radius`` mm, as an OR of shifted copies: many times faster than a distance transform.

    The copies along the last axis are grown step by step, so that a ball costs one OR per column and not one per voxel.
    """
    reach = np.floor(radius / spacing).astype(int)
    around = np.pad(mask, [(r, r) for r in reach])
    columns = [around]
    for step in range(1, reach[2] + 1):
        longer = columns[-1].copy()
        longer[:, :, step:] |= around[:, :, :-step]
        longer[:, :, :-step] |= around[:, :, step:]
        columns.append(longer)
    grown = np.zeros_like(mask)
    ni, nj, nk = mask.shape
    for i in range(-reach[0], reach[0] + 1):
        for j in range(-reach[1], reach[1] + 1):
            left = radius**2 - (i * spacing[0]) ** 2 - (j * spacing[1]) ** 2
            if left >= 0:
                run = columns[int(np.sqrt(left) / spacing[2])]
                at = run[reach[0] + i :][:ni, reach[1] + j :][:, :nj, reach[2] :][:, :, :nk]
                np.logical_or(grown, at, out=grown)
    return grown


def _eroded(mask: np.ndarray, spacing: np.ndarray, radius: float) -> np.ndarray:
    return ~_dilated(~mask, spacing, radius)


def _closed(mask: np.ndarray, spacing: np.ndarray, radius: float) -> np.ndarray:
    """Closing by a ball; the padding lets the dilated head reach beyond the array."""
    reach = np.ceil(radius / spacing).astype(int) + 1
    wide = np.pad(mask, [(r, r) for r in reach])
    closed = _eroded(_dilated(wide, spacing, radius), spacing, radius)
    return closed[tuple(slice(r, -r) for r in reach)]
