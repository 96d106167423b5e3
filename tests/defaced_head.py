"""The average head as a scanner might store it, and what each defacing tool makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
from nifti_files import raw_image

from bids_refacer.defacers import DEFACERS, DefaceResult
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

STILL = Alignment(np.eye(4), np.eye(4))


@dataclass
class DefacedHead:
    """A head, its brain, and what each tool made of it (run once)."""

    scan: Scan
    brain: np.ndarray
    folder: Path
    results: dict[str, DefaceResult] = field(default_factory=dict)

    def result(self, tool: str) -> DefaceResult:
        if tool not in self.results:
            work_dir = self.folder / tool
            work_dir.mkdir()
            self.results[tool] = DEFACERS[tool].run(self.scan, self.brain, STILL, work_dir)
        return self.results[tool]

    def at(self, x: float, y: float, z: float) -> tuple[int, int, int]:
        """The voxel at a point of the canonical frame (RAS+ mm)."""
        return tuple(np.rint(nib.affines.apply_affine(np.linalg.inv(self.scan.affine), (x, y, z))).astype(int))


def defaced_head(average_head: Path, folder: Path) -> DefacedHead:
    """Posterior-superior-left axes, int16 that stores zero as 50, a fourth axis; half of the air exactly zero."""
    image = nib.as_closest_canonical(nib.load(average_head))
    values = np.asarray(image.dataobj).astype(float)
    quiet = np.random.default_rng(0).random(values.shape) < 0.5
    values = np.where((values < 2) & ~quiet, 3, values)
    mask = np.asarray(nib.load(str(files("bids_refacer") / "data" / "average_brain_mask.nii.gz")).dataobj) > 0

    def turn(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.transpose(array[::-1, ::-1], (1, 2, 0)))

    affine = image.affine @ np.array([[0, 0, -1, 95], [-1, 0, 0, 127], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    stored = np.rint(values / 0.5 + 50).astype("<i2")
    raw_image(
        folder / "sub-01_T1w.nii.gz", turn(stored), slope=0.5, inter=-25.0, shape=(128, 128, 96, 1), affine=affine
    )
    return DefacedHead(scan=read_scan(folder / "sub-01_T1w.nii.gz"), brain=turn(mask), folder=folder)
