"""Which voxels are head, and which were overwritten with a constant: both from one image alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from bids_refacer.volumes.grid import Grid, Volume, bounding_box
from bids_refacer.volumes.shapes.morphology import BLOCK, closed, dilated, opened

SMOOTHING_MM = 0.7
"""Standard deviation of the Gaussian before thresholding: enough for Rician noise, too little to move a nose."""
OPENING_MM = 1.8
"""Thinner than this is a ghost, wrap-around or a hair, and not a face."""
CLOSING_MM = 4.0
"""Nostrils, ear canals, dental voids and a mouth that is a little open are narrower than twice this."""

VOLUME, SLICES = (0, 1, 2), ((1, 2), (0, 2), (0, 1))
"""Axes of the spaces in which holes are closed: the volume, and the slices across each axis."""

_CANDIDATE_VALUES = 4
_MAJORITY = 10  # of 26 neighbours: more than the 9 of a stray voxel on a flat cut, fewer than the 17 in the cut itself


def head_mask(volume: Volume) -> np.ndarray:
    """Voxels of the head, air-filled cavities inside it included.

    Otsu's threshold on the square root of the smoothed intensity (bright fat would pull it up otherwise), never below
    the noise in air; opening, largest component, closing, holes filled in 3-D and slice by slice. It is meant for
    volumes and overlaps; `surfaces.solid.solid_head` is another mask because a surface needs the rims of ears and nose
    that the opening rounds off, and a threshold that does not depend on the image.

    Parameters
    ----------
    volume : scaled intensities

    Returns
    -------
    (i, j, k) bool; all False when the image has no contrast
    """
    spacing = voxel_sizes(volume.affine)
    smooth = ndimage.gaussian_filter(volume.values.astype(np.float32), SMOOTHING_MM / spacing)
    root = np.sqrt(np.clip(smooth, 0, np.quantile(smooth[::2, ::2, ::2], 0.999)))
    if root.max() <= root.min():
        return np.zeros(smooth.shape, dtype=bool)
    otsu = threshold_otsu(root[::2, ::2, ::2]) ** 2
    air = smooth[smooth < 0.5 * otsu]
    noise = np.median(air) + 4 * 1.4826 * np.median(np.abs(air - np.median(air))) if air.size else 0.0
    # Where more than half of the "air" is tissue in shadow, its spread is no noise: Otsu's threshold caps it.
    mask = smooth > min(max(0.5 * otsu, noise), otsu)
    mask = largest_component(opened(mask, _ball(spacing, OPENING_MM)))
    return holes_filled(_closing(mask, spacing, CLOSING_MM), (VOLUME, *SLICES))


def constant_fill(stored: np.ndarray, voxel_mm3: float = 1.0) -> tuple[float, np.ndarray]:
    """The region that holds one constant value in solid blocks: what a defacer zeroed, and air that is exactly zero.

    Among the values that fill runs most often, the one with the largest solid region wins. Solid means that a 3 x 3 x 3
    block fits in (opening), which single zeros in noisy air do not allow; a geodesic step by majority then gives back
    the corners of oblique cuts that the block rounds off. Components under 500 mm3 (and 64 voxels) are dropped.

    Parameters
    ----------
    stored : (i, j, k) array, on-disk values; scaled values do as well
    voxel_mm3 : volume of a voxel

    Returns
    -------
    fill : the constant, in the units of ``stored``; 0.0 when there is none
    mask : (i, j, k) bool, all False when no value fills a solid region
    """
    smallest = max(64, math.ceil(500.0 / voxel_mm3))
    best_value, best = 0.0, np.zeros(stored.shape, dtype=bool)
    for value in _commonest_in_runs(stored):
        equal = stored == value
        if equal.sum() <= best.sum():
            continue
        solid = _solid_region(equal, smallest)
        if solid.sum() > best.sum():
            best_value, best = float(value), solid
    return best_value, best


def carry_mask(mask: Volume, grid: Grid, to_mask: np.ndarray, *, continued: bool) -> np.ndarray:
    """A mask drawn on one image, on the grid of another: linear interpolation, cut at 0.5.

    Parameters
    ----------
    mask : bool
    grid : where it has to go
    to_mask : (4, 4) float, world of the grid -> world of the mask (mm)
    continued : whether voxels beyond the mask's field of view take the value at its border, or are False. A face that
        only the other image shows (a chin, below) is removed where the border above it was

    Returns
    -------
    (grid.shape) bool; on the mask's own grid, the mask itself
    """
    matrix = np.round(np.linalg.inv(mask.affine) @ to_mask @ grid.affine, 9)
    mode = "nearest" if continued else "constant"
    carried = ndimage.affine_transform(
        mask.values.astype(np.float32), matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=1, mode=mode
    )
    return np.asarray(carried >= 0.5)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected component of a bool mask; the mask itself when it is empty."""
    if not mask.any():
        return mask
    box = bounding_box(mask)
    labels, n_components = ndimage.label(mask[box])
    if n_components <= 1:
        return mask
    largest = np.zeros_like(mask)
    largest[box] = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return largest


def holes_filled(mask: np.ndarray, spaces: Iterable[tuple[int, ...]]) -> np.ndarray:
    """Holes filled that are closed within the volume (3 axes) or within every slice (2 axes), space after space.

    Parameters
    ----------
    mask : (i, j, k) bool
    spaces : axes of each (`VOLUME`, `SLICES`); what one fills may close holes of the next
    """
    if not mask.any():
        return mask
    box = bounding_box(mask, 1)  # beyond it lies what is outside in any case
    inner = mask[box]
    for axes in spaces:
        structure = ndimage.generate_binary_structure(3, 1)
        for axis in set(VOLUME) - set(axes):
            structure = np.logical_and(structure, np.moveaxis(np.arange(3).reshape(3, 1, 1) == 1, 0, axis))
        labels, count = ndimage.label(~inner, structure)
        outside = np.zeros(count + 1, dtype=bool)
        for axis in axes:
            outside[labels.take(0, axis)] = True
            outside[labels.take(-1, axis)] = True
        outside[0] = False
        inner = ~outside[labels]
    filled = np.zeros_like(mask)
    filled[box] = inner
    return filled


def voxel_sizes(affine: np.ndarray) -> np.ndarray:
    """(3,) float64 edge lengths of a voxel in mm."""
    return np.asarray(np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0))


def voxel_volume(affine: np.ndarray) -> float:
    """Volume of a voxel in mm3."""
    return float(abs(np.linalg.det(affine[:3, :3])))


def _commonest_in_runs(stored: np.ndarray) -> np.ndarray:
    """The values most often met three times in a row: noise that is common, but never solid, hides no fill."""
    middles = []
    for axis in range(3):
        line = np.moveaxis(stored, axis, 0)
        middle = line[1:-1]
        middles.append(middle[(line[:-2] == middle) & (middle == line[2:])])
    values, counts = _counted(np.concatenate(middles))
    return values[np.argsort(-counts, kind="stable")[:_CANDIDATE_VALUES]]


def _counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`np.unique` with counts; short integers are counted in place of being sorted."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2 or not values.size:
        return np.unique(values, return_counts=True)
    lowest = int(values.min())
    counts = np.bincount(values.astype(np.int64) - lowest)
    found = np.flatnonzero(counts)
    return (found + lowest).astype(values.dtype), counts[found]


def _solid_region(equal: np.ndarray, smallest: int) -> np.ndarray:
    """Opening by a 3 x 3 x 3 block, components of `smallest` voxels or more, then the majority steps."""
    # Outside the field of view counts as constant: a cut may leave a sheet of one voxel at the border of the image.
    blocks = opened(np.pad(equal, 2, constant_values=True), BLOCK)[2:-2, 2:-2, 2:-2]
    labels, _ = ndimage.label(blocks & equal)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    solid = np.asarray((sizes >= smallest)[labels])
    for _ in range(3 if solid.any() else 0):
        rim = np.argwhere(equal & ~solid & dilated(solid, BLOCK))
        solid[tuple(rim[_neighbours(solid, rim) >= _MAJORITY].T)] = True
    return solid


def _neighbours(mask: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """(n,) how many of the 26 neighbours of each of ``voxels`` ``(n, 3)`` are in a bool mask; edges are repeated."""
    around = np.argwhere(np.ones((3, 3, 3)))
    padded = np.pad(mask, 1, mode="edge")
    count = sum(padded[tuple((voxels + step).T)].astype(int) for step in around)
    return np.asarray(count - mask[tuple(voxels.T)])


def _ball(spacing: np.ndarray, radius: float) -> np.ndarray:
    """Structuring element: the voxels whose centres lie within `radius` mm, at least the face neighbours."""
    reach = np.maximum(np.floor(radius / spacing), 1).astype(int)
    steps = np.moveaxis(np.indices(tuple(2 * reach + 1)), 0, -1) - reach
    near = np.linalg.norm(steps * spacing, axis=-1) <= radius
    return np.asarray(near | (np.abs(steps).sum(axis=-1) <= 1))


def _closing(mask: np.ndarray, spacing: np.ndarray, radius: float) -> np.ndarray:
    """Closing by a ball of `radius` mm, in two steps of half the radius (a small ball is many times faster)."""
    element = _ball(spacing, radius / 2)
    # Padding keeps the closing from eating into the head where it touches the border of the image.
    width = [(size, size) for size in element.shape]
    wide = closed(np.pad(mask, width, mode="edge"), element, times=2)
    return np.asarray(wide[tuple(slice(w, -w) for w, _ in width)] | mask)
