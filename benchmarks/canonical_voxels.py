"""Facial voxels of an image and of what defacing tools leave of it, for heads that lie on the canonical 2 mm grid.

The real tools run on that grid, so that neither brain extraction nor our registration has to be repeated: both were
done when the head was brought there. Skull-stripped is the tool `skullstrip`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from bids_refacer.interfaces.defacers import DEFACERS
from bids_refacer.volumes.facial_voxels import sample_voxels
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.nifti import Scan, read_scan, write_volume

TOOLS = ("quickshear", "pydeface", "skullstrip")
UNIT = 400.0  # stored value of the brain median


def voxels_of(medians: np.ndarray, brain: np.ndarray, to_average: np.ndarray) -> dict[str, np.ndarray]:
    """Facial voxels of the original and of each of `TOOLS`.

    Parameters
    ----------
    medians : (96, 128, 128) float, brain medians, on the canonical 2 mm grid
    brain : (96, 128, 128) bool
    to_average : (4, 4), canonical world -> average-head world

    Returns
    -------
    "original" and names of tools -> (n,) uint8 as of `sample_voxels`
    """
    alignment = Alignment(np.eye(4), to_average)
    affine = CANONICAL[2].affine
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.nii"
        write_volume(path, medians * UNIT, affine, np.int16)
        scan: Scan = read_scan(path)
        found = {"original": sample_voxels(scan.values, affine, brain, alignment)}
        for tool in TOOLS:
            work = Path(folder) / tool
            work.mkdir()
            result = DEFACERS[tool].run(scan, brain, alignment, work)
            found[tool] = sample_voxels(result.stored.astype(np.float32), affine, brain, alignment)
    return found


def save_voxels(path: Path, found: dict[str, np.ndarray]) -> None:
    """Write atomically, so that a run that is stopped can go on."""
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, **found)  # type: ignore[arg-type]
    os.replace(temporary, path)
