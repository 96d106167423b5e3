"""One intensity frame for all scanners: the median of the brain is 1."""

from __future__ import annotations

import numpy as np

CLIP = 2.5
"""Upper end of the model's intensity range, in multiples of the brain median (scalp fat in T1w lies near 2)."""

MODEL_AIR = -1.0
"""Air in the model's intensity range."""


def brain_scale(values: np.ndarray, brain_mask: np.ndarray) -> float:
    """Median intensity inside the brain: the unit of the model's intensities.

    Parameters
    ----------
    values : (i, j, k) float
    brain_mask : (i, j, k) bool

    Raises
    ------
    ValueError
        When the mask is empty or the median is not positive.
    """
    scale = float(np.median(values[brain_mask])) if brain_mask.any() else 0.0
    if not scale > 0:
        raise ValueError(f"The median intensity of the brain is {scale}, not above zero: check the brain mask.")
    return scale


def to_model(values: np.ndarray, scale: float) -> np.ndarray:
    """Native intensities -> model range: air -1, brain median -0.2, CLIP brain medians and above +1; float32."""
    return (np.clip(values / scale, 0, CLIP) * (2 / CLIP) - 1).astype(np.float32)


def from_model(values: np.ndarray, scale: float) -> np.ndarray:
    """The inverse of `to_model`, negative intensities set to 0; float32."""
    return (np.clip((values + 1) * (CLIP / 2), 0, CLIP) * scale).astype(np.float32)
