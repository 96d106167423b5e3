"""Seams: painted intensities brought to meet the known ones around them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_refacer.volumes.smoothing import masked_mean

RING_MM = 4.0
FADE_MM = 8.0


def seam_correction(
    difference: np.ndarray, zone: np.ndarray, spacing: np.ndarray, known: np.ndarray | None = None
) -> np.ndarray:
    """What to add inside the zone so that intensities meet at its border.

    The difference in a ring just outside the zone is carried inwards by normalised convolution, and fades with depth.

    Parameters
    ----------
    difference : (i, j, k) float, image minus what is painted; read outside the zone only
    zone : (i, j, k) bool, not empty
    spacing : (3,) voxel size in mm
    known : (i, j, k) bool, voxels that may be read; all outside the zone when omitted

    Returns
    -------
    (i, j, k) float32, zero outside the zone
    """
    margin = np.ceil(4 * RING_MM / spacing).astype(int)  # as far as the convolution reaches: the rest costs time only
    where = [np.flatnonzero(zone.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(w[0] - m, 0), w[-1] + m + 1) for w, m in zip(where, margin, strict=True))
    depth = ndimage.distance_transform_edt(zone[box], sampling=spacing)
    ring = ~zone[box] & (ndimage.distance_transform_edt(~zone[box], sampling=spacing) <= RING_MM)
    ring &= True if known is None else known[box]
    around, _ = masked_mean(difference[box].astype(np.float32), ring.astype(np.float32), RING_MM / spacing, 1e-4)
    carried = around * np.exp(-((depth / FADE_MM) ** 2))
    correction = np.zeros(zone.shape, dtype=np.float32)
    correction[box] = np.where(zone[box], carried, 0)
    return correction
