"""What the stand-ins share: a region to take, written as their real programs would write it.

Each stand-in checks its arguments as strictly as its program does, and has its quirks. They are contracts, recorded
from the programs' manuals and scripts; the programs themselves cannot run here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import nibabel as nib
import numpy as np

FRONT_MM = 60.0  # of the average head's frame: what lies in front is taken


def refuse(message: str) -> NoReturn:
    print(f"** ERROR: {message}", file=sys.stderr)
    sys.exit(1)


def load(path: str) -> nib.Nifti1Image:
    if not Path(path).is_file():
        refuse(f"cannot open {path}")
    return nib.load(path)


def taken(image: nib.Nifti1Image) -> np.ndarray:
    """(i, j, k) bool: in front of the plane, and below the eyes' upper lids."""
    grid = np.moveaxis(np.indices(image.shape[:3]), 0, -1)
    world = nib.affines.apply_affine(image.affine, grid)
    return (world[..., 1] > FRONT_MM) & (world[..., 2] < -20)


def save(data: np.ndarray, image: nib.Nifti1Image, path: str, dtype: type = np.float32) -> None:
    new = nib.Nifti1Image(data.astype(dtype), image.affine)
    new.set_data_dtype(dtype)
    new.to_filename(path)
