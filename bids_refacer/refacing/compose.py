"""Faces in the native image: removed voxels alone change, and no seam shows; and the average face to compare with."""

from __future__ import annotations

import numpy as np

from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.scan import Scan, to_stored
from bids_refacer.volumes.seam import seam_correction
from bids_refacer.volumes.templates import asset

_AVERAGE_SPACING = 2
_AVERAGE_UNIT = 100.0  # the average head is stored in hundredths of its brain's median


def compose(scan: Scan, painted: np.ndarray, target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Replace the target voxels of a scan.

    Parameters
    ----------
    scan : the defaced image
    painted : (i, j, k) float, native intensities; used inside `target`, and just outside it to match intensities
    target : (i, j, k) bool, to be replaced
    known : (i, j, k) bool, voxels whose intensities may be matched: not what a tool put there

    Returns
    -------
    (i, j, k) array of the on-disk dtype; equal to `scan.stored` outside `target`, bit for bit
    """
    matched = painted + seam_correction(scan.values - painted, target, voxel_sizes(scan.affine), known)
    return np.where(target, to_stored(scan, np.maximum(matched, 0)), scan.stored)


def average_in_native(native: Grid, alignment: Alignment, scale: float) -> np.ndarray:
    """The average head on the native grid, moved and turned but never stretched.

    This is the baseline of every comparison. Stretches of a registration, which only brain and skull can tell once the
    face is gone, do not carry over to the face: they put the average face farther from the true one (docs/group.md),
    which makes any attack look good beside it.

    Parameters
    ----------
    native : Grid of the defaced image
    alignment : of the defaced image; its rigid part is used
    scale : median of the brain, native intensities

    Returns
    -------
    (i, j, k) float32, native intensities
    """
    head = asset("average_head.nii.gz").values.astype(np.float32)
    return alignment.to_native(head, _AVERAGE_SPACING, native) * np.float32(scale / _AVERAGE_UNIT)
