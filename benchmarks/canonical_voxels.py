"""Facial voxels of an image and of what defacing leaves of it, for heads that lie on the canonical 2 mm grid.

Nothing is extracted or registered again: brain mask and alignment are those with which the head was brought there.
Quickshear is the package's own function. It cuts 10 voxels before the brain, which are 20 mm here ("quickshear") and
10 mm on the 1 mm voxels that it was made for ("quickshear_10mm": 5 voxels here). Skull-stripped is the brain mask, and
pydeface its face mask, carried by the affine alignment of the brain: the tool's own registration costs half a minute a
head.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.defacers.tools.quickshear import BUFFER_VOXELS
from bids_refacer.phenotypes.voxels import LEVELS, head_roi
from bids_refacer.volumes.grid import CANONICAL, pool, resample
from bids_refacer.volumes.intensity import CLIP, brain_scale
from bids_refacer.volumes.templates import pydeface_keep_mask

TOOLS = ("quickshear", "quickshear_10mm", "pydeface", "skullstrip")


def voxels_of(values: np.ndarray, brain: np.ndarray, to_average: np.ndarray) -> dict[str, np.ndarray]:
    """Facial voxels of the original and after each of `TOOLS`.

    Parameters
    ----------
    values : (96, 128, 128) float, on the canonical 2 mm grid
    brain : (96, 128, 128) bool
    to_average : (4, 4), canonical world -> average-head world

    Returns
    -------
    "original" and names of tools -> (n,) uint8 as of `sample_voxels`
    """
    kept = {
        "original": np.ones_like(brain),
        "quickshear": quickshear_keeps(brain, BUFFER_VOXELS),
        "quickshear_10mm": quickshear_keeps(brain, BUFFER_VOXELS // 2),
        "pydeface": pydeface_keeps(to_average),
        "skullstrip": brain,
    }
    return {kind: in_place(np.where(mask, values, 0), brain) for kind, mask in kept.items()}


def quickshear_keeps(brain: np.ndarray, buffer: int) -> np.ndarray:
    """What the tool leaves, (96, 128, 128) bool, when it cuts so many voxels before the brain."""
    from quickshear import quickshear

    affine = CANONICAL[2].affine
    ones = nib.Nifti1Image(np.ones(brain.shape, np.uint8), affine)
    return np.asarray(quickshear(ones, nib.Nifti1Image(brain.astype(np.uint8), affine), buffer).dataobj) > 0


def pydeface_keeps(to_average: np.ndarray) -> np.ndarray:
    """What the tool's mask leaves, (96, 128, 128) bool."""
    return _carried(to_average.tobytes())


@lru_cache(maxsize=1)
def _carried(to_average: bytes) -> np.ndarray:
    """Kept, as all simulated heads have the same."""
    matrix = np.frombuffer(to_average, np.float64).reshape(4, 4)
    return resample(pydeface_keep_mask(), CANONICAL[2], matrix, order=1, cval=1.0) >= 0.5


def in_place(values: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """`facial_voxels.sample_voxels` of an image that is on the canonical 2 mm grid already."""
    coarse, _ = pool(values, np.ones_like(brain))
    scale = brain_scale(values, brain & (values > 0))
    return np.rint(np.clip(coarse[head_roi()] / scale, 0, CLIP) * (LEVELS / CLIP)).astype(np.uint8)


def save_voxels(path: Path, found: dict[str, np.ndarray]) -> None:
    """Write atomically, so that a run that is stopped can go on."""
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, **found)  # type: ignore[arg-type]
    os.replace(temporary, path)
