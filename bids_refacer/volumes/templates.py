"""Public template images: pydeface's face mask in the average-head frame, and the assets shipped with the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import nibabel as nib
import numpy as np

PADDING = 60
"""Voxels by which pydeface's face mask is continued forward and down: as shipped, it ends above many a chin."""

PYDEFACE_TO_AVERAGE = np.array(
    [
        [1.01902, -0.07260, -0.02558, 5.46022],
        [0.08046, 1.01994, 0.01325, -0.37499],
        [0.02589, 0.02548, 0.99521, -0.02518],
        [0.00000, 0.00000, 0.00000, 1.00000],
    ]
)
"""pydeface template world -> average-head world: `registration.align_brain` of the template's own brain."""


@cache
def pydeface_keep_mask() -> tuple[np.ndarray, np.ndarray]:
    """pydeface's face mask (1 keep, 0 remove), padded, with its affine into the average-head frame.

    Returns
    -------
    keep : (i, j, k) float32
    affine : (4, 4) float64, voxel -> average-head world (RAS+ mm)
    """
    with as_file(files("pydeface") / "data" / "facemask.nii.gz") as path:
        image = nib.Nifti1Image.from_filename(path)
        keep = (np.asarray(image.dataobj) > 0.5).astype(np.float32)
    return pad_face_mask(keep, PYDEFACE_TO_AVERAGE @ image.affine)


def pad_face_mask(mask: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """pydeface's face mask, its front and bottom faces repeated `PADDING` times; nothing else moves.

    Parameters
    ----------
    mask : (i, j, k) array, axes running right, anterior, superior
    affine : (4, 4) float, voxel -> any world

    Returns
    -------
    padded : (i, j + PADDING, k + PADDING) array
    affine : (4, 4) float64, its voxel -> the same world
    """
    padded = np.pad(mask, ((0, 0), (0, PADDING), (PADDING, 0)), mode="edge")
    shift = np.eye(4)
    shift[2, 3] = -PADDING
    return padded, affine @ shift


@cache
def asset(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A volume of `bids_refacer/data`: (i, j, k) array as stored, and its (4, 4) affine."""
    with as_file(files("bids_refacer") / "data" / name) as path:
        image = nib.Nifti1Image.from_filename(path)
        return np.asarray(image.dataobj), image.affine
