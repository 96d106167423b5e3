"""Recovered heads of one image: the template warped to fields that were estimated or drawn, and the average face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.refacing.defaced_head import DefacedHead
from bids_refacer.refacing.drawing.paint import painted
from bids_refacer.refacing.drawing.template import Template
from bids_refacer.refacing.drawing.warp import AVERAGE_FADE_MM, fitted, met, target_of
from bids_refacer.refacing.fields import Fields
from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.seam import RING_MM
from bids_refacer.volumes.shapes.morphology import ball, dilated


@dataclass(frozen=True)
class HeadDrawing:
    """Draws heads in the voxels of a defaced image that are to be painted, and in a ring around them.

    Attributes
    ----------
    template : Template
    head : the defaced head in the canonical frame
    target : (i, j, k) bool, the voxels to be painted
    native, alignment : of the defaced image
    """

    template: Template
    head: DefacedHead
    target: np.ndarray
    native: Grid
    alignment: Alignment

    def of(self, fields: Fields) -> np.ndarray:
        """The head of some fields, (i, j, k) float32 brain medians."""
        wanted = target_of(self.head, fields)
        return self._painted(met(fitted(self.template, wanted), self.template, wanted, self.head), fields)

    def average(self) -> np.ndarray:
        """The template where the brain says that the head is, never stretched; it bends to the skin at the cut alone.

        Stretches of a registration, which only brain and skull can tell once the face is gone, do not carry over to the
        face: they put the average face farther from the true one (docs/group.md).
        """
        wanted = target_of(self.head, self.head.fields)
        still = np.zeros((3, *wanted.skin.shape), np.float32)
        return self._painted(met(still, self.template, wanted, self.head, AVERAGE_FADE_MM), self.template.fields)

    def _painted(self, displacement: np.ndarray, fields: Fields) -> np.ndarray:
        around = dilated(self.target, ball(voxel_sizes(self.native.affine), RING_MM))
        return painted(self.template, displacement, fields, around, self.native, self.alignment)
