"""Seams: painted intensities brought to meet the known ones around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_refacer.volumes.grid import Box, bounding_box
from bids_refacer.volumes.shapes.morphology import ball, dilated

RING_MM = 4.0
FADE_MM = 8.0

_LEAST_WEIGHT = 1e-4


@dataclass(frozen=True)
class Seam:
    """The border of a zone, found once for all that is painted in the zone (`find_seam`).

    Attributes
    ----------
    box : the zone with as far as the convolution reaches: the rest of the image costs time only
    inside : (box) bool, the zone
    ring : (box) bool, known voxels just outside the zone, where differences are read
    share : (n,) float64, how much of a difference is left at each voxel of the zone: it fades with depth
    weight : (n,) float32, how much of the ring lies under the Gaussian of each
    width : (3,) float, of the Gaussian, voxels
    """

    box: Box
    inside: np.ndarray
    ring: np.ndarray
    share: np.ndarray
    weight: np.ndarray
    width: np.ndarray

    def correction(self, difference: np.ndarray) -> np.ndarray:
        """What to add at the voxels of the zone, (n,) float32.

        Parameters
        ----------
        difference : (m,) float, image minus what is painted, at the voxels of the ring
        """
        values = np.zeros(self.inside.shape, np.float32)
        values[self.ring] = difference
        around = ndimage.gaussian_filter(values, self.width)[self.inside] / np.maximum(self.weight, _LEAST_WEIGHT)
        return np.asarray(around * self.share, dtype=np.float32)


def find_seam(zone: np.ndarray, spacing: np.ndarray, known: np.ndarray | None = None) -> Seam:
    """The seam of a zone, which carries differences inwards by normalised convolution.

    Parameters
    ----------
    zone : (i, j, k) bool, not empty
    spacing : (3,) voxel size in mm
    known : (i, j, k) bool, voxels that may be read; all outside the zone when omitted
    """
    box = bounding_box(zone, np.ceil(4 * RING_MM / spacing).astype(int))
    inside, width = zone[box], RING_MM / spacing
    ring = dilated(inside, ball(spacing, RING_MM)) & ~inside
    ring &= True if known is None else known[box]
    tight = bounding_box(inside, 1)
    depth = ndimage.distance_transform_edt(inside[tight], sampling=spacing)[inside[tight]]
    weight = ndimage.gaussian_filter(ring.astype(np.float32), width)[inside]
    return Seam(box, inside, ring, np.exp(-((depth / FADE_MM) ** 2)), weight, width)


def seam_correction(
    difference: np.ndarray, zone: np.ndarray, spacing: np.ndarray, known: np.ndarray | None = None
) -> np.ndarray:
    """What to add inside the zone so that intensities meet at its border.

    Parameters
    ----------
    difference : (i, j, k) float, image minus what is painted; read in a ring just outside the zone only
    zone, spacing, known : see `find_seam`

    Returns
    -------
    (i, j, k) float32, zero outside the zone
    """
    seam = find_seam(zone, spacing, known)
    correction = np.zeros(zone.shape, dtype=np.float32)
    correction[zone] = seam.correction(difference[seam.box][seam.ring])
    return correction
