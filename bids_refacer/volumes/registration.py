"""Registration of a brain to the average brain: the one alignment that no defacer disturbs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.volumes.grid import Alignment, Grid, resample, rigid_part

SCALE_LIMITS = (0.75, 1.35)
"""Principal stretches outside this range are not an adult's or a school child's brain: the registration went wrong."""

_TIMEOUT_S = 600


class RegistrationError(ValueError):
    """The brain could not be brought into the canonical frame."""


def align_brain(values: np.ndarray, affine: np.ndarray, brain_mask: np.ndarray) -> Alignment:
    """Register the brain of an image to the average brain, affinely, and take the rigid part.

    The search (niimath's `-allineate`, Rorden, BSD-2) sees the brain only, moved so that its centre of mass lies on
    the average brain's: the result depends neither on what was removed around the brain nor on where the scanner put
    the origin.

    Parameters
    ----------
    values : (i, j, k) float array
    affine : (4, 4) float, voxel -> RAS+ mm
    brain_mask : (i, j, k) bool

    Returns
    -------
    Alignment

    Raises
    ------
    RegistrationError
        When the engine fails or the fitted scales are not those of a human brain.
    """
    if not brain_mask.any():
        raise RegistrationError("The brain mask is empty, so the head cannot be aligned; check the brain extraction.")
    with as_file(files("bids_refacer") / "data" / "average_brain.nii.gz") as template:
        return align_to(values, affine, brain_mask, template)


def align_to(values: np.ndarray, affine: np.ndarray, brain_mask: np.ndarray, template: Path) -> Alignment:
    """`align_brain` to any brain image; see there."""
    centre = brain_centre(template)
    shift = np.eye(4)
    shift[:3, 3] = centre - nib.affines.apply_affine(affine, np.argwhere(brain_mask).mean(axis=0))
    grid = _grid_around(centre)
    brain = resample(np.where(brain_mask, values, 0), affine, grid, np.linalg.inv(shift))
    fitted = allineate(brain, grid.affine, template) @ shift
    scales = np.linalg.svd(fitted[:3, :3], compute_uv=False)
    if scales.min() < SCALE_LIMITS[0] or scales.max() > SCALE_LIMITS[1]:
        raise RegistrationError(
            f"Registration to the average brain failed: its scales are {np.round(scales, 2).tolist()}, expected "
            f"{SCALE_LIMITS[0]} to {SCALE_LIMITS[1]}; check the orientation in the image header and the brain mask."
        )
    return Alignment(rigid_part(fitted, centre), fitted)


@cache
def brain_centre(template: Path) -> np.ndarray:
    """(3,) centre of mass, in mm, of the voxels above zero of a brain image."""
    image = nib.Nifti1Image.from_filename(template)
    return nib.affines.apply_affine(image.affine, np.argwhere(np.asanyarray(image.dataobj) > 0).mean(axis=0))


def _grid_around(centre: np.ndarray) -> Grid:
    """A 2 mm grid of 224 mm that holds any brain, centred at `centre` (mm)."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = centre - 111.0
    return Grid((112, 112, 112), affine)


def allineate(moving_values: np.ndarray, affine: np.ndarray, template: Path) -> np.ndarray:
    """(4, 4) moving world -> template world by `niimath -allineate` (fast engine, 12 parameters)."""
    import niimath

    with tempfile.TemporaryDirectory() as folder:
        moving, matrix = Path(folder) / "moving.nii", Path(folder) / "matrix.json"
        nib.Nifti1Image(moving_values.astype(np.float32), affine).to_filename(moving)
        command = [niimath.bin, str(moving), "-allineate", str(template), "-savemat", str(matrix)]
        command.append(str(Path(folder) / "out.nii"))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise RegistrationError(f"niimath -allineate took longer than {_TIMEOUT_S} s and was stopped.") from error
        if done.returncode != 0 or not matrix.exists():
            raise RegistrationError(f"niimath -allineate failed ({done.returncode}): {done.stderr.strip()[-300:]}")
        return np.array(json.loads(matrix.read_text())["moving_to_fixed"])
