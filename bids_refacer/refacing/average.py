"""The baseline of every comparison: the population-average head, where the brain says that the head is."""

from __future__ import annotations

import numpy as np

from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.templates import asset

_SPACING = 2
_ASSET_UNIT = 100.0  # the average head is stored in hundredths of its brain's median


def average_in_native(native: Grid, alignment: Alignment, scale: float) -> np.ndarray:
    """The average head on the native grid, moved and turned but never stretched.

    Stretches of a registration, which only brain and skull can tell once the face is gone, do not carry over to the
    face: on real heads they put the average face half as far again from the true one (docs/group.md), which made any
    attack look good beside it.

    Parameters
    ----------
    native : Grid of the defaced image
    alignment : of the defaced image; its rigid part is used
    scale : median of the brain, native intensities

    Returns
    -------
    (i, j, k) float32, native intensities
    """
    head = asset("average_head.nii.gz")[0].astype(np.float32)
    return alignment.to_native(head, _SPACING, native) * np.float32(scale / _ASSET_UNIT)
