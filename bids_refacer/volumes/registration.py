"""Registration of a brain to the average brain: the one alignment that no defacer disturbs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer import processes
from bids_refacer.problems import AuditProblem
from bids_refacer.volumes.grid import Alignment, Grid, Volume, resample, rigid_part
from bids_refacer.volumes.masks import head_mask, voxel_sizes

SCALE_LIMITS = (0.75, 1.35)
"""Principal stretches of brains of adults and school children; beyond, the registration went wrong."""

SAME_HEAD_SCALES = (0.9, 1.1)
"""Principal stretches between two images of one head, which is not stretched; beyond, the registration went wrong."""

LEAST_OVERLAP = 0.8
"""Dice of the heads in two images of one head, in the field of view of both (docs/tools.md)."""

_OVERLAP_MM = 3.0
_TIMEOUT_S = 600


class RegistrationError(AuditProblem):
    """The brain could not be brought into the canonical frame."""


def align_brain(volume: Volume, brain_mask: np.ndarray) -> Alignment:
    """Register the brain of an image to the average brain, affinely, and take the rigid part.

    The search (niimath's `-allineate`, Rorden, BSD-2) sees the brain only, moved so that its centre of mass lies on
    the average brain's: the result depends neither on what was removed around the brain nor on where the scanner put
    the origin.

    Parameters
    ----------
    volume : a head, its brain, or what a defacer left of it
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
        return align_to(volume, brain_mask, template)


def align_to(volume: Volume, brain_mask: np.ndarray, template: Path) -> Alignment:
    """`align_brain` to any brain image; see there."""
    centre = brain_centre(template)
    shift = np.eye(4)
    shift[:3, 3] = centre - nib.affines.apply_affine(volume.affine, np.argwhere(brain_mask).mean(axis=0))
    grid = _grid_around(centre)
    brain = resample(Volume(np.where(brain_mask, volume.values, 0), volume.affine), grid, np.linalg.inv(shift))
    fitted = allineate(Volume(brain, grid.affine), template) @ shift
    scales = np.linalg.svd(fitted[:3, :3], compute_uv=False)
    if scales.min() < SCALE_LIMITS[0] or scales.max() > SCALE_LIMITS[1]:
        raise RegistrationError(
            f"Registration to the average brain failed: its scales are {np.round(scales, 2).tolist()}, expected "
            f"{SCALE_LIMITS[0]} to {SCALE_LIMITS[1]}; check the orientation in the image header and the brain mask."
        )
    return Alignment(rigid_part(fitted, centre), fitted)


def align_heads(moving: Volume, fixed: Volume, fixed_brain: np.ndarray) -> np.ndarray:
    """Rigid registration of two images of one head, which may differ in contrast, resolution and field of view.

    The engine is `align_brain`'s, whose cost takes any monotonous or inverted contrast. It fits twelve parameters: that
    it finds no stretch is the first proof that it is right, that the heads overlap the second.

    Parameters
    ----------
    moving, fixed : each on a grid of its own
    fixed_brain : (i, j, k) bool, on the grid of `fixed`; in its middle the rigid map agrees with the fitted one

    Returns
    -------
    (4, 4) float64, moving world -> fixed world (mm), rotation and translation only

    Raises
    ------
    RegistrationError
        When the engine fails, or what it found is not the same head.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "fixed.nii"
        nib.Nifti1Image(fixed.values.astype(np.float32), fixed.affine).to_filename(target)
        fitted = allineate(moving, target)
    scales = np.linalg.svd(fitted[:3, :3], compute_uv=False)
    rigid = rigid_part(fitted, nib.affines.apply_affine(fixed.affine, np.argwhere(fixed_brain).mean(axis=0)))
    overlap = head_overlap(moving, fixed, rigid)
    if scales.min() < SAME_HEAD_SCALES[0] or scales.max() > SAME_HEAD_SCALES[1] or overlap < LEAST_OVERLAP:
        raise RegistrationError(
            f"Registration of two images of one head failed: stretches {np.round(scales, 2).tolist()}, expected "
            f"{SAME_HEAD_SCALES[0]} to {SAME_HEAD_SCALES[1]}; overlap of the heads {overlap:.2f}, expected at least "
            f"{LEAST_OVERLAP}; check that both show the same head, and the orientations in their headers."
        )
    return rigid


def head_overlap(moving: Volume, fixed: Volume, rigid: np.ndarray) -> float:
    """Dice of the heads of two images on a coarse grid, within both fields of view; 0 where these do not meet.

    Parameters
    ----------
    moving, fixed : each on a grid of its own
    rigid : (4, 4) float, moving world -> fixed world (mm)
    """
    step = np.maximum(_OVERLAP_MM / voxel_sizes(fixed.affine), 1)
    i, j, k = (max(int(size / s), 1) for size, s in zip(fixed.values.shape, step, strict=True))
    grid = Grid((i, j, k), fixed.affine @ np.diag([*step, 1.0]))
    back = np.linalg.inv(rigid)
    seen = resample(Volume(np.ones(moving.values.shape, np.float32), moving.affine), grid, back) > 0.99
    one = head_mask(Volume(resample(fixed, grid), grid.affine)) & seen
    other = head_mask(Volume(resample(moving, grid, back), grid.affine)) & seen
    return float(2 * (one & other).sum() / max(int(one.sum() + other.sum()), 1))


@cache
def brain_centre(template: Path) -> np.ndarray:
    """(3,) centre of mass, in mm, of the voxels above zero of a brain image."""
    image = nib.Nifti1Image.from_filename(template)
    middle = np.argwhere(np.asanyarray(image.dataobj) > 0).mean(axis=0)
    return np.asarray(nib.affines.apply_affine(image.affine, middle))


def _grid_around(centre: np.ndarray) -> Grid:
    """A 2 mm grid of 224 mm that holds any brain, centred at `centre` (mm)."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = centre - 111.0
    return Grid((112, 112, 112), affine)


def allineate(volume: Volume, template: Path) -> np.ndarray:
    """Register an image in memory to a template; see `allineate_file`.

    Parameters
    ----------
    volume : to be registered
    template : an image file

    Returns
    -------
    (4, 4) float64, world of the image -> world of the template (mm)

    Raises
    ------
    RegistrationError
        When the engine fails or takes longer than ten minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        moving = Path(folder) / "moving.nii"
        nib.Nifti1Image(volume.values.astype(np.float32), volume.affine).to_filename(moving)
        return allineate_file(moving, template, Path(folder), _run_engine)


def allineate_file(
    moving: Path, template: Path, folder: Path, run: Callable[[list[str]], processes.Finished]
) -> np.ndarray:
    """Register an image file to a template by `niimath -allineate` (fast engine, 12 parameters).

    Parameters
    ----------
    moving, template : image files
    folder : where the matrix is written
    run : runs the command line that it is given; may raise errors of its own

    Returns
    -------
    (4, 4) float64, world of the image -> world of the template (mm)

    Raises
    ------
    RegistrationError
        When the engine fails.
    """
    import niimath

    matrix, registered = folder / "allineate.json", folder / "allineate.nii"
    done = run([niimath.bin, str(moving), "-allineate", str(template), "-savemat", str(matrix), str(registered)])
    if done.code != 0 or not matrix.exists():
        raise RegistrationError(f"niimath -allineate failed ({done.code}): {done.errors.strip()[-300:]}")
    registered.unlink(missing_ok=True)
    return np.array(json.loads(matrix.read_text())["moving_to_fixed"])


def _run_engine(command: list[str]) -> processes.Finished:
    try:
        return processes.run(command, limit_s=_TIMEOUT_S)
    except processes.TimeLimitError as error:
        raise RegistrationError(f"niimath -allineate took longer than {_TIMEOUT_S} s and was stopped.") from error
