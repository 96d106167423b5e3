"""Canonical samples back into the native image: removed voxels alone change, and no seam shows."""

from __future__ import annotations

import numpy as np

from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.nifti import Scan, to_stored
from bids_refacer.volumes.seam import seam_correction


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
