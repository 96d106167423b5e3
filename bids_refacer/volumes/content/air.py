"""The air around a head: the stored value that stands for it, which is not zero in every image.

Intensities that were shifted (z-scored, with an offset or an intercept) have air far from zero. A face that is filled
with zeros shines in such an image, and skin that is sought halfway between zero and tissue lies in the wrong place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LOWEST = 0.001
"""Share of the voxels that may be darker than air: single voxels, or undershoot of an interpolation. The value at this
rank is the same before and after voxels are filled with it, so that an image and its defaced copy have the same air."""

_PEAK_WIDTH, _PEAK_SHARE = 0.1, 0.15
"""Air is a narrow peak: this share of the voxels lies within this part of the range, at its lower end."""

_ABOVE, _BELOW = 0.1, 0.05
"""Parts of the range of intensities by which air may lie above or below zero and still count as zero: noise."""

_MANY_VOXELS = 1_000_000


@dataclass(frozen=True)
class Air:
    """What stands for air in an image.

    Attributes
    ----------
    level : scaled intensity of air; 0.0 in most images
    stored : the value on disk; None where air is zero
    has_peak : whether many voxels are about as dark as the darkest
    is_shifted : whether the darkest voxels are far from zero
    """

    level: float
    stored: np.generic | None
    has_peak: bool
    is_shifted: bool


def find_air(stored: np.ndarray, slope: float, inter: float) -> Air:
    """Find what stands for air: zero, unless the darkest voxels are many and far from it.

    Parameters
    ----------
    stored : (i, j, k) array, on-disk values, finite
    slope, inter : scaled intensity = stored * slope + inter
    """
    every = slice(None, None, 2 if stored.size > _MANY_VOXELS else 1)
    ordered = np.sort(stored[every, every, every], axis=None)
    ordered = ordered[::-1] if slope < 0 else ordered
    scaled = ordered.astype(np.float64) * slope + inter
    rank = int(_LOWEST * scaled.size)
    low, high = float(scaled[rank]), float(scaled[int(0.99 * (scaled.size - 1))])
    width = _PEAK_WIDTH * (high - low)
    has_peak = bool(np.searchsorted(scaled, low + width, "right") >= _PEAK_SHARE * scaled.size)
    if high <= low or _is_zero(scaled, low, high):
        return Air(0.0, None, has_peak, is_shifted=False)
    return Air(low, ordered[rank], has_peak, is_shifted=True) if has_peak else Air(0.0, None, has_peak, is_shifted=True)


def _is_zero(scaled: np.ndarray, low: float, high: float) -> bool:
    """Whether zero lies within the peak of the darkest voxels of sorted intensities, or as near as noise moves it."""
    if low >= 0:
        return low <= _ABOVE * (high - low)
    dark = scaled[: np.searchsorted(scaled, low + 3 * _PEAK_WIDTH * (high - low), "right")]
    return low >= -_BELOW * (high - low) or float(np.median(dark)) >= -_BELOW * (high - low)
