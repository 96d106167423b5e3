"""Faces in the native image: removed voxels alone change, and no seam shows; and the average face to compare with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.scan import Scan, to_stored
from bids_refacer.volumes.seam import Seam, find_seam
from bids_refacer.volumes.templates import asset

_AVERAGE_SPACING = 2
_AVERAGE_UNIT = 100.0  # the average head is stored in hundredths of its brain's median


@dataclass(frozen=True)
class Opening:
    """Voxels of a defaced image that are to be replaced; found once for all that is painted there (`find_opening`).

    Attributes
    ----------
    scan : the defaced image
    target : (i, j, k) bool, to be replaced
    seam : the border of the target
    beside : (m,) float32, intensities of the image at the ring of the seam
    """

    scan: Scan
    target: np.ndarray
    seam: Seam
    beside: np.ndarray

    @property
    def around(self) -> np.ndarray:
        """(i, j, k) bool, the target and the ring beside it: where something has to be painted."""
        around = self.target.copy()
        around[self.seam.box] |= self.seam.ring
        return around

    def filled(self, painted: np.ndarray) -> np.ndarray:
        """The image with its target replaced, and no seam.

        Parameters
        ----------
        painted : (i, j, k) float, native intensities; read `around` alone, in the ring to match intensities

        Returns
        -------
        (i, j, k) array of the on-disk dtype; equal to `scan.stored` outside the target, bit for bit
        """
        correction = self.seam.correction(self.beside - painted[self.seam.box][self.seam.ring])
        stored = self.scan.stored.copy(order="K")
        stored[self.target] = to_stored(self.scan, np.maximum(painted[self.target] + correction, 0))
        return stored


def find_opening(scan: Scan, target: np.ndarray, known: np.ndarray) -> Opening:
    """What has to be painted in a defaced image.

    Parameters
    ----------
    scan : the defaced image
    target : (i, j, k) bool, to be replaced
    known : (i, j, k) bool, voxels whose intensities may be matched: not what a tool put there
    """
    seam = find_seam(target, voxel_sizes(scan.affine), known)
    return Opening(scan, target, seam, scan.values[seam.box][seam.ring])


def compose(scan: Scan, painted: np.ndarray, target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`Opening.filled` for an image in which one thing is painted; see `find_opening` for the other arguments."""
    return find_opening(scan, target, known).filled(painted)


def average_in_native(native: Grid, alignment: Alignment, scale: float, where: np.ndarray | None = None) -> np.ndarray:
    """The average head on the native grid, moved and turned but never stretched.

    This is the baseline of every comparison. Stretches of a registration, which only brain and skull can tell once the
    face is gone, do not carry over to the face: they put the average face farther from the true one (docs/group.md),
    which makes any attack look good beside it.

    Parameters
    ----------
    native : Grid of the defaced image
    alignment : of the defaced image; its rigid part is used
    scale : median of the brain, native intensities
    where : (i, j, k) bool, the voxels that are wanted; all when omitted

    Returns
    -------
    (i, j, k) float32, native intensities; 0 elsewhere
    """
    head = asset("average_head.nii.gz").values.astype(np.float32)
    return alignment.to_native(head, _AVERAGE_SPACING, native, where=where) * np.float32(scale / _AVERAGE_UNIT)
