"""Canonical samples back into the native image: removed voxels alone change, and no seam shows."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_refacer.volumes.nifti import Scan, to_stored

_RING_MM = 4.0
_FADE_MM = 8.0


def compose(scan: Scan, painted: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Replace the unknown voxels of a scan.

    Parameters
    ----------
    scan : the defaced image
    painted : (i, j, k) float, native intensities; used inside `unknown`, and just outside it to match intensities
    unknown : (i, j, k) bool

    Returns
    -------
    (i, j, k) array of the on-disk dtype; equal to `scan.stored` outside `unknown`, bit for bit
    """
    matched = painted + border_correction(scan.values, painted, unknown, scan.affine)
    return np.where(unknown, to_stored(scan, np.maximum(matched, 0)), scan.stored)


def border_correction(
    values: np.ndarray, painted: np.ndarray, unknown: np.ndarray, affine: np.ndarray
) -> np.ndarray:
    """What to add to the painted intensities so that they meet the known ones at the border, fading inwards.

    The difference known - painted in a ring of known voxels is carried inwards by normalised convolution.

    Parameters
    ----------
    values, painted : (i, j, k) float
    unknown : (i, j, k) bool
    affine : (4, 4) float

    Returns
    -------
    (i, j, k) float32, 0 outside `unknown`
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    box = _bounding_box(unknown, np.ceil(2 * _FADE_MM / spacing).astype(int))
    inside, distance = unknown[box], ndimage.distance_transform_edt(unknown[box], sampling=spacing)
    ring = ~inside & (ndimage.distance_transform_edt(~inside, sampling=spacing) <= _RING_MM)
    difference = np.where(ring, values[box] - painted[box], 0).astype(np.float32)
    sigma = _RING_MM / spacing
    weight = ndimage.gaussian_filter(ring.astype(np.float32), sigma)
    carried = ndimage.gaussian_filter(difference, sigma) / np.maximum(weight, 1e-4)
    result = np.zeros(values.shape, np.float32)
    result[box] = np.where(inside, carried * np.exp(-((distance / _FADE_MM) ** 2)), 0)
    return result


def _bounding_box(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...]:
    where = np.argwhere(mask)
    if not len(where):
        return tuple(slice(0, side) for side in mask.shape)
    low, high = np.maximum(where.min(0) - margin, 0), where.max(0) + margin + 1
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
