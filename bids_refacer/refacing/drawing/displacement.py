"""Displacements: smooth maps of the canonical frame, every 4 mm, that say where a point lies in another head."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from bids_refacer.refacing.prior import FIELD_SPACING
from bids_refacer.volumes.grid import CANONICAL

LEAST_VOLUME = 0.1
"""No tissue is compressed to less than this share of its volume."""
_SMOOTHINGS = 30


def sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Linear interpolation of (c, i, j, k) at (3, n) voxel places; beyond the border the nearest voxel: (c, n)."""
    sides = np.array(values.shape[1:], np.float32)[:, None]
    at = torch.from_numpy(np.ascontiguousarray((2 * places / (sides - 1) - 1)[::-1].T, np.float32))
    found = torch.nn.functional.grid_sample(
        torch.from_numpy(values)[None], at[None, :, None, None], align_corners=True, padding_mode="border"
    )
    return np.asarray(found[0, :, :, 0, 0].numpy())


def at_world(values: np.ndarray, spacing: int, world: np.ndarray) -> np.ndarray:
    """`sampled` on the canonical grid of `spacing` mm at (3, n) points in mm: (c, n) float32."""
    origin = CANONICAL[spacing].affine[:3, 3:].astype(np.float32)
    return sampled(values, (world - origin) / np.float32(spacing))


def finer(displacement: np.ndarray) -> np.ndarray:
    """A displacement on the grid of half the spacing, by linear interpolation: (3, i, j, k) -> (3, 2i, 2j, 2k)."""
    for axis in (1, 2, 3):
        displacement = _doubled(displacement, axis)
    return displacement


def _doubled(values: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation to twice as many voxels along an axis, edges coinciding."""
    before = np.roll(values, 1, axis)
    after = np.roll(values, -1, axis)
    first, last = [slice(None)] * values.ndim, [slice(None)] * values.ndim
    first[axis], last[axis] = slice(0, 1), slice(-1, None)
    before[tuple(first)], after[tuple(last)] = values[tuple(first)], values[tuple(last)]
    pair = np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], axis + 1)
    return pair.reshape(*values.shape[:axis], -1, *values.shape[axis + 1 :])


def halved(values: np.ndarray) -> np.ndarray:
    """Means of 2x2x2 voxels, (..., i, j, k) -> (..., i/2, j/2, k/2)."""
    *first, i, j, k = values.shape
    blocks = values.reshape(*first, i // 2, 2, j // 2, 2, k // 2, 2)
    return np.asarray(blocks.mean(axis=(-5, -3, -1)))


def smoothed(displacement: np.ndarray, width: float) -> np.ndarray:
    """Gaussian mean of each component, `width` in voxels."""
    return np.stack([ndimage.gaussian_filter(part, width, truncate=3) for part in displacement])


def volume_change(displacement: np.ndarray) -> np.ndarray:
    """(i, j, k): determinant of the Jacobian of x + u(x), u (3, i, j, k) mm every 4 mm; it folds where <= 0."""
    slopes = np.stack([np.stack(np.gradient(part, FIELD_SPACING)) for part in displacement])
    return np.asarray(np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(3)))


def unfolded(displacement: np.ndarray) -> np.ndarray:
    """A displacement, smoothed where it folds or nearly so until it does not: (3, i, j, k) float32 mm."""
    for _ in range(_SMOOTHINGS):
        folded = volume_change(displacement) < LEAST_VOLUME
        if not folded.any():
            break
        near = ndimage.binary_dilation(folded, iterations=3).astype(np.float32)
        weight = ndimage.gaussian_filter(near, 1.0)
        displacement = displacement + weight * (smoothed(displacement, 2.0) - displacement)
    return displacement.astype(np.float32)
