"""Other contrasts from T1w tissue: what is bright in fluid, fat, muscle and grey matter, as piecewise linear curves."""

from __future__ import annotations

import numpy as np

CONTRASTS = ("T1w", "T2w", "FLAIR")

# T1w intensity in brain medians -> intensity of the other contrast, in brain medians.
# In the brain: fluid (0.3), grey (0.85) and white matter (1.15); around it: air and bone (0), muscle (0.6), fat (2).
_BRAIN = {
    "T2w": ((0.0, 2.6), (0.3, 2.4), (0.55, 1.5), (0.85, 1.2), (1.15, 0.75), (2.5, 0.7)),
    "FLAIR": ((0.0, 0.2), (0.35, 0.25), (0.75, 1.05), (0.9, 1.1), (1.15, 0.85), (2.5, 0.8)),
}
_AROUND = {
    "T2w": ((0.0, 0.0), (0.25, 0.3), (0.6, 0.45), (1.0, 0.8), (2.5, 1.7)),
    "FLAIR": ((0.0, 0.0), (0.25, 0.2), (0.6, 0.5), (1.0, 0.75), (2.5, 1.5)),
}
_VITREOUS = {"T2w": 2.8, "FLAIR": 0.2}


def to_contrast(tissue: np.ndarray, brain: np.ndarray, eyes: np.ndarray, contrast: str) -> np.ndarray:
    """Tissue of another contrast, looking like it; no signal equation is behind the curves.

    Parameters
    ----------
    tissue : (n,) float, T1w intensity in brain medians
    brain, eyes : (n,) float, 0..1, how much of a voxel is brain with its fluid, or vitreous
    contrast : one of `CONTRASTS`

    Returns
    -------
    (n,) float32, in brain medians
    """
    if contrast == "T1w":
        return tissue.astype(np.float32)
    inside, around = (np.interp(tissue, *np.transpose(curve[contrast])) for curve in (_BRAIN, _AROUND))
    mixed = brain * inside + (1 - brain) * around
    return np.asarray(((1 - eyes) * mixed + eyes * _VITREOUS[contrast]).astype(np.float32))
