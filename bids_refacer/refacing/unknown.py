"""What is known of a defaced head, and what has to be painted.

Both are found in the defaced image and in public knowledge of the tool, never in the original.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_refacer.volumes.grid import Alignment, pool
from bids_refacer.volumes.masks import constant_fill, voxel_volume
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import asset

_OPENING_MM = 6
_REACH_MM = 20
_LEAST_ML = 5.0


class NothingRemovedError(ValueError):
    """The defaced image holds no removed region."""


@dataclass(frozen=True)
class Level:
    """One resolution of a head, on a canonical grid.

    Attributes
    ----------
    values : (i, j, k) float32 model intensities, used where known
    known, unknown : (i, j, k) bool, both False outside the field of view
    spacing : of the grid, mm
    """

    values: np.ndarray
    known: np.ndarray
    unknown: np.ndarray
    spacing: int

    def coarser(self) -> Level:
        """Half the resolution: a voxel is known when all eight voxels in it are, and unknown when any of them is."""
        values, known = pool(self.values, self.known)
        return Level(values, known, ~pool(self.values, ~self.unknown)[1], 2 * self.spacing)

    def at(self, spacing: int) -> Level:
        """This level on the grid of `spacing` mm: its own, or one that is coarser by a power of 2.

        Raises
        ------
        ValueError
            When the spacing is not such a multiple.
        """
        if spacing < self.spacing or spacing % self.spacing:
            raise ValueError(f"A level of {self.spacing} mm cannot be pooled to {spacing} mm.")
        return self if spacing == self.spacing else self.coarser().at(spacing)


def unknown_region(scan: Scan, brain: np.ndarray, alignment: Alignment, *, zone: bool) -> np.ndarray:
    """Voxels whose content the attacker does not know.

    For tools that remove: the solid region of one constant value. It covers air as well as tissue, also air that was
    zero before: the border between removed air and zero air must not show, for it would draw the face's outline.
    For tools that replace: the public face zone, carried by the affine registration of the defaced image.

    Parameters
    ----------
    scan : the defaced image
    brain : (i, j, k) bool, from the defaced image
    alignment : from the defaced image
    zone : whether the tool replaces rather than removes

    Returns
    -------
    (i, j, k) bool
    """
    if zone:
        public = asset("face_zone.nii.gz").values.astype(np.float32)
        return np.asarray((alignment.average_to_native(public, 2, scan.grid) > 0.5) & ~brain)
    return np.asarray(constant_fill(scan.stored, voxel_volume(scan.affine))[1] & ~brain)


def paint_region(unknown: np.ndarray, seen: np.ndarray, expected: np.ndarray, spacing: int) -> np.ndarray:
    """Where tissue is expected but missing, and the air around it.

    Far from it, constant voxels are what they seem: air.

    Parameters
    ----------
    unknown, seen : (i, j, k) bool, canonical grid of `spacing` mm
    expected : (i, j, k) bool, inside the head by the linear estimate
    spacing : mm

    Returns
    -------
    (i, j, k) bool

    Raises
    ------
    NothingRemovedError
        When no tissue is missing anywhere.
    """
    missing = ndimage.binary_opening(unknown & seen & expected, iterations=_OPENING_MM // spacing)
    if missing.sum() * spacing**3 / 1000 < _LEAST_ML:
        raise NothingRemovedError(
            "no removed region was found in the defaced image (less than 5 mL of tissue are missing): "
            "check that the defacing tool removed the face, or leave this tool out."
        )
    return np.asarray(_near_missing(missing, spacing) & unknown & seen)


def _near_missing(missing: np.ndarray, spacing: int) -> np.ndarray:
    """All voxels within 20 mm of missing tissue along every axis: a cube is cheap to dilate by.

    Parameters
    ----------
    missing : (i, j, k) bool, canonical grid of `spacing` mm
    """
    return np.asarray(ndimage.maximum_filter(missing, size=2 * (_REACH_MM // spacing) + 1))
