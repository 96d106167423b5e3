"""Voxel values that no calculation can use: not finite, all the same, huge, or tiny."""

from __future__ import annotations

import numpy as np

_HUGE, _TINY = 1e15, 1e-15
"""Squares of intensities beyond these, and sums of squares, leave the range of single precision."""


def useless_values(stored: np.ndarray, slope: float, inter: float) -> str | None:
    """What is wrong with the values of an image, as the rest of a sentence about it; None when they can be used.

    Parameters
    ----------
    stored : (i, j, k) array, on-disk values
    slope, inter : scaled intensity = stored * slope + inter
    """
    low, high = stored.min(), stored.max()  # NaN if any is NaN
    if not np.isfinite([low, high]).all():
        bad = int(np.count_nonzero(~np.isfinite(stored)))
        return (
            f"holds {bad} voxels that are NaN or infinite: replace them by numbers, for example with "
            f"`niimath IN -nan OUT`, which sets them to zero."
        )
    if low == high:
        return f"has the same value in every voxel ({low}): it holds no head, exclude it."
    return None if stored.dtype.kind in "iu" and slope == 1 else _extreme(float(low) * slope, float(high) * slope)


def _extreme(low: float, high: float) -> str | None:
    """The same of the range of intensities; integers without scaling are never beyond it."""
    if max(abs(low), abs(high)) > _HUGE:
        return (
            f"holds intensities up to {max(low, high, key=abs):.3g}, too large to calculate with: rescale it, for "
            f"example so that its maximum is 1000, or correct scl_slope and scl_inter."
        )
    if abs(high - low) < _TINY:
        return (
            f"holds intensities that differ by {abs(high - low):.3g} at most, too little to calculate with: "
            f"rescale it, for example so that its maximum is 1000, or correct scl_slope and scl_inter."
        )
    return None
