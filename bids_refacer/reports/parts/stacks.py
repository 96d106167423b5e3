"""Slices of a head one below the other in one picture, of which a page shows one at a time."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bids_refacer.reports import slices
from bids_refacer.reports.page import data_uri
from bids_refacer.volumes.scan import Scan

STEP_MM = 1.2  # of a pixel
APART_MM = 4.0  # of slices


@dataclass(frozen=True)
class Stack:
    """Parallel planes, from the lowest (or rightmost) on.

    Attributes
    ----------
    name, words : for the page
    axis : of the canonical frame, along which the slices lie
    first_mm : where the first lies
    count : number of slices
    plane : of the slice at 0 mm
    """

    name: str
    words: str
    axis: int
    first_mm: float
    count: int
    plane: slices.Plane

    @property
    def middle(self) -> int:
        """The slice that is shown first."""
        return self.count // 2

    def points(self) -> np.ndarray:
        """(count, rows, columns, 3) canonical world, RAS+ mm."""
        shift = np.zeros((self.count, 1, 1, 3))
        shift[..., self.axis] = (self.first_mm + APART_MM * np.arange(self.count))[:, None, None]
        return self.plane.points(STEP_MM) + shift


_AXIAL = slices.Plane("axial", "", (95.0, 125.0, 0.0), (-1, 0, 0), (0, -1, 0), (196, 158))
_SAGITTAL = slices.Plane("sagittal", "", (0.0, 130.0, 95.0), (0, -1, 0), (0, 0, -1), (200, 200))
STACKS = (
    Stack("axial", "from above", 2, -126.0, 32, _AXIAL),
    Stack("sagittal", "from the side", 0, -72.0, 37, _SAGITTAL),
)


def stacked(scan: Scan, rigid: np.ndarray, white: float) -> dict[str, str]:
    """Pictures of a scan as data URIs, by name of the stack.

    Parameters
    ----------
    scan : Scan
    rigid : (4, 4) float, native world -> canonical world
    white : intensity that is shown white
    """
    cuts = {stack.name: slices.values_at(scan.volume, rigid, stack.points()) for stack in STACKS}
    return {name: _picture(cut, white) for name, cut in cuts.items()}


def _picture(cuts: np.ndarray, white: float) -> str:
    grey = np.clip(255 * cuts / max(white, 1e-6), 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(grey.reshape(-1, grey.shape[2])).save(content, "WEBP", quality=60, method=4)
    return data_uri(content.getvalue(), "image/webp")
