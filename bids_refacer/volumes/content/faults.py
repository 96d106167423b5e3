"""Faults that the voxels of an image show, for which there is a remedy: each refused by a sentence that names it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.masks import SLICES, VOLUME, holes_filled, voxel_sizes
from bids_refacer.volumes.scan import Scan

_BLOCK = 4
_ROUGH, _ROUGH_SHARE = 0.15, 0.15
"""Noise: neighbours differ by this part of the range of intensities, in this share of the blocks of an image."""

_TISSUE = 0.15
"""Brighter than this part of the range of intensities is tissue, whatever the noise."""

_EMPTY, _FULL = 0.01, 0.1
"""Tissue in a slice over that in the fullest slice: less is no part of a head, more is one."""

_CORNER, _BRIGHT = 8, 0.75
"""An image is inverted when most of its eight corners (this part of each axis) are brighter than this part of the range
of intensities; the lower ones may hold neck."""

_PIECE_MM, _PIECE_SHARE = 4.0, 0.1
_HEAD_MM = 190.0
"""From the top of a head to the chin at least. A gap below that is the work of a saturation band across the neck."""


def require_sound(scan: Scan) -> None:
    """Refuse an original in which no face can be found, or half of one.

    Raises
    ------
    ImageError
        When unsigned data were read as signed ones, when air is noise as bright as tissue or brighter than the head,
        when dark and bright voxels lie on both sides of zero and none of them is air, or when the head is in pieces.
    """
    values = scan.values
    low, high = (float(level) for level in np.quantile(values[::2, ::2, ::2], (0.001, 0.99)))
    span = max(high - low, 1e-30)
    if _wraps_around(scan.stored):
        raise ImageError(
            f"{scan.path} holds negative values where its brightest voxels should be: unsigned numbers "
            f"({_unsigned(scan.stored).dtype.name}) were read as signed ones ({scan.stored.dtype.name}); convert it "
            f"again from its source, or correct the data type."
        )
    if _noise_share(values, span) > _ROUGH_SHARE:
        raise ImageError(
            f"{scan.path}: the air around the head is noise as bright as tissue, as in the UNI image of MP2RAGE, so "
            f"that no skin can be found: multiply it by the second inversion image, or give the denoised UNI image."
        )
    if _corners_are_bright(values, low, span):
        raise ImageError(
            f"{scan.path}: the air around the head is brighter than the head, so that no skin can be found: invert its "
            f"intensities, or correct the scaling in its header (scl_slope is {scan.slope:g})."
        )
    if scan.air.is_shifted and scan.air.stored is None and float(values.min()) < 0:
        raise ImageError(
            f"{scan.path} has values on both sides of zero and no level that is air: "
            f"give the magnitude image, or one whose air is its darkest part."
        )
    if sentence := _in_pieces(Volume(values - low > _TISSUE * span, scan.affine)):
        raise ImageError(f"{scan.path}: {sentence}: get the image again from its source, or exclude it.")


def _unsigned(stored: np.ndarray) -> np.ndarray:
    native = stored.astype(stored.dtype.newbyteorder("="))
    return native.view(np.dtype(f"u{stored.dtype.itemsize}"))


def _wraps_around(stored: np.ndarray) -> bool:
    """Whether signed integers with negative values change less from voxel to voxel when they are read as unsigned."""
    if stored.dtype.kind != "i" or stored.dtype.itemsize > 2 or stored.min() >= 0:
        return False
    every = tuple(slice(None, None, 2) if size > 128 else slice(None) for size in stored.shape[:2])
    signed, unsigned = stored[every], _unsigned(stored[every])
    return bool(_variation(unsigned) < _variation(signed))


def _variation(stored: np.ndarray) -> float:
    """Sum of the differences between neighbours along the last axis."""
    return float(np.abs(np.diff(stored.astype(np.int32), axis=2)).sum(dtype=np.float64))


def _noise_share(values: np.ndarray, span: float) -> float:
    """Share of blocks in which neighbours along every axis differ much: an edge does so along one or two."""
    size = [side // _BLOCK for side in values.shape]
    if min(size) < 2:
        return 0.0
    i, j, k = (side * _BLOCK for side in size)
    blocks = values[:i, :j, :k].reshape(size[0], _BLOCK, size[1], _BLOCK, size[2], _BLOCK)[::2, :, ::2, :, ::2]
    rough = np.ones(blocks.shape[::2], dtype=bool)
    for axis in (1, 3, 5):
        rough &= np.median(np.abs(np.diff(blocks, axis=axis)), axis=(1, 3, 5)) > _ROUGH * span
    return float(rough.mean())


def _corners_are_bright(values: np.ndarray, low: float, span: float) -> bool:
    """Whether air, which is in most corners of an image of a head, is as bright as the brightest voxels."""
    ends = [(slice(0, max(side // _CORNER, 1)), slice(-max(side // _CORNER, 1), None)) for side in values.shape]
    corners = (values[place] for place in itertools.product(*ends))
    return sum(float(np.median(corner)) > low + _BRIGHT * span for corner in corners) > 4


def _in_pieces(tissue: Volume) -> str | None:
    """How a head is in pieces: empty slices within it, or parts apart from each other; None when it is in one."""
    for axis, first, last in _gaps(tissue.values):
        if not _below_the_head(tissue, axis, first):
            return (
                f"slices {first} to {last} along its axis {'ijk'[axis]} (from 0) are empty, with parts of the head on "
                f"both sides"
            )
    spacing = voxel_sizes(tissue.affine)
    step = np.maximum(np.round(_PIECE_MM / spacing).astype(int), 1)
    means = ndimage.uniform_filter(tissue.values.astype(np.float32), step)
    coarse = means[tuple(slice(s // 2, None, s) for s in step)] > 0.5
    labels, _ = ndimage.label(holes_filled(coarse, (VOLUME, *SLICES)))
    sizes = np.bincount(labels.ravel())[1:]
    if not sizes.size:
        return None
    pieces = 1 + np.nonzero(sizes > _PIECE_SHARE * sizes.max())[0]
    frame = tissue.affine @ np.diag([*step, 1.0])
    extents = sorted((_extent(Volume(labels == piece, frame)) for piece in pieces), key=max)
    bottom, top = extents[-1]
    if len(pieces) == 1 or (top - bottom > _HEAD_MM and all(other[1] < bottom + _PIECE_MM for other in extents[:-1])):
        return None
    volumes = sorted(sizes[pieces - 1] * float(np.prod(step * spacing)) / 1000, reverse=True)
    return "the head is in pieces of " + " and ".join(f"{volume:.0f} mL" for volume in volumes)


def _gaps(tissue: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Axis, first and last of every run of empty slices that has full ones on both sides."""
    for axis in range(3):
        area = tissue.sum(axis=tuple(other for other in range(3) if other != axis))
        full = np.nonzero(area > _FULL * area.max())[0]
        if not full.size:
            continue
        labels, count = ndimage.label(area <= _EMPTY * area.max())
        for (run,) in ndimage.find_objects(labels)[:count]:
            if full[0] < run.start and run.stop <= full[-1]:
                yield axis, run.start, run.stop - 1


def _below_the_head(tissue: Volume, axis: int, first: int) -> bool:
    """Whether what lies above a gap is tall enough for a whole head."""
    way = nib.orientations.io_orientation(tissue.affine)[axis]
    if way[0] != 2:
        return False
    above = np.moveaxis(tissue.values.copy(), axis, 0)
    above[slice(0, first) if way[1] > 0 else slice(first, None)] = False
    bottom, top = _extent(Volume(np.moveaxis(above, 0, axis), tissue.affine))
    return top - bottom > _HEAD_MM


def _extent(mask: Volume) -> tuple[float, float]:
    """Lowest and highest place in mm of a mask along the axis from inferior to superior."""
    axis, sign = next((n, way) for n, (to, way) in enumerate(nib.orientations.io_orientation(mask.affine)) if to == 2)
    where = np.nonzero(mask.values.any(axis=tuple(other for other in range(3) if other != axis)))[0]
    if not where.size:
        return 0.0, 0.0
    ends = sign * voxel_sizes(mask.affine)[axis] * np.array([where[0], where[-1]])
    return float(ends.min()), float(ends.max())
