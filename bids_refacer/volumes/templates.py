"""Public template images: pydeface's face mask in the average-head frame, and the assets shipped with the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import nibabel as nib
import numpy as np

from bids_refacer.volumes.grid import Volume

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
def pydeface_keep_mask() -> Volume:
    """pydeface's face mask (1 keep, 0 remove; float32), padded, in the world of the average head (RAS+ mm)."""
    with as_file(files("pydeface") / "data" / "facemask.nii.gz") as path:
        image = nib.Nifti1Image.from_filename(path)
        keep = (np.asarray(image.dataobj) > 0.5).astype(np.float32)
    return pad_face_mask(Volume(keep, PYDEFACE_TO_AVERAGE @ image.affine))


def pad_face_mask(mask: Volume) -> Volume:
    """pydeface's face mask, its front and bottom faces repeated `PADDING` times; nothing else moves.

    Parameters
    ----------
    mask : axes running right, anterior, superior, in any world

    Returns
    -------
    (i, j + PADDING, k + PADDING), in the same world
    """
    padded = np.pad(mask.values, ((0, 0), (0, PADDING), (PADDING, 0)), mode="edge")
    shift = np.eye(4)
    shift[2, 3] = -PADDING
    return Volume(padded, mask.affine @ shift)


@cache
def asset(name: str) -> Volume:
    """A volume of `bids_refacer/data`, its values as stored."""
    with as_file(files("bids_refacer") / "data" / name) as path:
        image = nib.Nifti1Image.from_filename(path)
        return Volume(np.asarray(image.dataobj), image.affine)
