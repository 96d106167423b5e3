"""The baseline of every comparison: the population-average head, registered as well as the defaced image allows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid, resample
from bids_refacer.volumes.registration import RegistrationError, allineate
from bids_refacer.volumes.templates import asset

_SPACING = 2


def average_in_native(
    values: np.ndarray, affine: np.ndarray, known: np.ndarray, alignment: Alignment, scale: float
) -> tuple[np.ndarray, bool]:
    """The average head on the native grid, affinely registered on the known voxels of the head.

    First by the brain (the affine of `alignment`); then, with the same voxels hidden in both, by the whole of what is
    left of the head, which brings the size of skull and neck into the fit.

    Parameters
    ----------
    values : (i, j, k) float, defaced image
    affine : (4, 4) float, voxel -> RAS+ mm
    known : (i, j, k) bool
    alignment, scale : of the defaced image

    Returns
    -------
    average : (i, j, k) float32, native intensities
    refined : False when the second registration failed or strayed and the first was kept
    """
    head = asset("average_head.nii.gz")[0].astype(np.float32) / 100
    fitted, refined = _refine(values / scale, affine, known, alignment, head)
    native = Grid(values.shape, affine)
    return resample(head, CANONICAL[_SPACING].affine, native, fitted, order=1) * scale, refined


def _refine(
    values: np.ndarray, affine: np.ndarray, known: np.ndarray, alignment: Alignment, head: np.ndarray
) -> tuple[np.ndarray, bool]:
    grid = CANONICAL[_SPACING]
    to_native = np.linalg.inv(alignment.affine)
    visible = resample(known.astype(np.float32), affine, grid, to_native) > 0.99
    target = np.where(visible, resample(values, affine, grid, to_native), 0)
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "average.nii"
        nib.Nifti1Image(np.where(visible, head, 0).astype(np.float32), grid.affine).to_filename(template)
        try:
            step = allineate(target, grid.affine, template)
        except RegistrationError:
            return alignment.affine, False
    corners = nib.affines.apply_affine(grid.affine, np.argwhere(np.ones((2, 2, 2))) * (np.array(grid.shape) - 1) / 2)
    moved = np.linalg.norm(nib.affines.apply_affine(step, corners) - corners, axis=1).max()
    return (step @ alignment.affine, True) if moved < 40 else (alignment.affine, False)
