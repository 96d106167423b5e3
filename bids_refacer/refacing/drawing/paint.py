"""A warped template on the native grid of an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from bids_refacer.refacing.drawing.displacement import at_world
from bids_refacer.refacing.drawing.template import SPACING, Template
from bids_refacer.refacing.fields import SKIN_UNIT_MM, Fields
from bids_refacer.refacing.prior import FIELD_SPACING
from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid
from bids_refacer.volumes.intensity import CLIP
from bids_refacer.volumes.masks import voxel_sizes

GAIN_LIMITS = (0.4, 2.5)
GAIN_VOXELS = 1.5
"""Tissue is made as bright as the fields say, as seen through a Gaussian of so many voxels of 4 mm."""
OUTSIDE_MM = 6.0
"""Nothing is drawn farther outside the skin of the fields."""
_AT_ONCE = 500_000  # points


def painted(
    template: Template, displacement: np.ndarray, fields: Fields, where: np.ndarray, native: Grid, alignment: Alignment
) -> np.ndarray:
    """The warped template in voxels of an image; each is the mean of points about a millimetre apart.

    Parameters
    ----------
    displacement : (3, 48, 64, 64) mm, of `warp.fitted`
    fields : of the head that is drawn: how bright its tissue is, and how far the skin may reach
    where : (i, j, k) bool, the voxels that are wanted
    native, alignment : of the image

    Returns
    -------
    (i, j, k) float32, brain medians; 0 elsewhere
    """
    gain = tissue_gain(template, displacement, fields)
    coarse = np.concatenate([displacement, gain[None], fields.skin[None] * SKIN_UNIT_MM]).astype(np.float32)
    result = np.zeros(native.shape, np.float32)
    voxels = np.argwhere(where)
    offsets = _offsets(voxel_sizes(native.affine))
    total = np.zeros(len(voxels), np.float32)
    for offset in offsets:
        for part in _parts(len(voxels)):
            world = apply_affine(alignment.rigid @ native.affine, voxels[part] + offset).T.astype(np.float32)
            total[part] += _points(template, coarse, world)
    result[tuple(voxels.T)] = total * np.float32(CLIP / len(offsets))
    return result


def _points(template: Template, coarse: np.ndarray, world: np.ndarray) -> np.ndarray:
    """(n,) intensity at (3, n) canonical points, by (5, 48, 64, 64) displacement, gain and distance to the skin."""
    found = at_world(coarse, FIELD_SPACING, world)
    inside = np.clip((OUTSIDE_MM - found[4]) / 2, 0, 1)
    drawn = at_world(template.image[None], SPACING, world + found[:3])[0]
    return np.asarray(drawn * found[3] * inside)


def _parts(count: int) -> Iterator[slice]:
    return (slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE))


def _offsets(spacing: np.ndarray) -> np.ndarray:
    """(n, 3) places in a voxel, in voxels, about a millimetre apart."""
    counts = np.maximum(np.round(spacing / SPACING).astype(int), 1)
    axes = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def tissue_gain(template: Template, displacement: np.ndarray, fields: Fields) -> np.ndarray:
    """(48, 64, 64) float32: by how much the template's tissue is made brighter, smoothly, to be that of the fields."""
    grid = CANONICAL[FIELD_SPACING]
    places = np.indices(grid.shape).reshape(3, -1) * float(FIELD_SPACING) + grid.affine[:3, 3:]
    warped = at_world(template.fields.tissue[None], FIELD_SPACING, places + displacement.reshape(3, -1))
    ours, theirs = (ndimage.gaussian_filter(1 + t, GAIN_VOXELS) for t in (fields.tissue, warped.reshape(grid.shape)))
    return np.asarray(np.clip(ours / np.maximum(theirs, 0.05), *GAIN_LIMITS), dtype=np.float32)
