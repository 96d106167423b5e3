"""pydeface's template and face mask, and how they get onto a head."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_refacer.defacers.run_program import run_program
from bids_refacer.defacers.tool import DefacerError
from bids_refacer.volumes.grid import Grid, Volume
from bids_refacer.volumes.registration import RegistrationError, allineate_file

PLAUSIBLE_SCALES = (0.7, 1.4)
"""Principal stretches between two heads. A head cut at the skull base is squeezed more to fit a whole one."""


def pydeface_files() -> tuple[Path, Path]:
    """Template head and face mask (1: keep, 0: remove) that the pydeface package ships; both on one grid."""
    spec = find_spec("pydeface")
    if spec is None or spec.origin is None:
        raise DefacerError("The Python package pydeface is not installed: run `pip install pydeface`.")
    data = Path(spec.origin).parent / "data"
    return data / "mean_reg2mean.nii.gz", data / "facemask.nii.gz"


def register_to_template(source: Path, template: Path, *, work_dir: Path, image: Path) -> np.ndarray:
    """Affine registration of a head to a template head by niimath's fast engine (12 parameters).

    The template is what the engine calls the base, never the head: with the head as base, the engine may end in a local
    minimum that stretches it upwards (docs/tools.md).

    Parameters
    ----------
    source : the head, an image file
    template : the template head, an image file
    work_dir : folder for temporary files
    image : name of the head, for errors

    Returns
    -------
    (4, 4) float64, world of the head -> world of the template, RAS+ mm

    Raises
    ------
    DefacerError
        When niimath fails or the stretches are not those between two heads.
    """
    run = partial(run_program, work_dir=work_dir, image=image)
    try:
        fitted = allineate_file(source, template, work_dir, run)
    except RegistrationError as error:
        raise DefacerError(f"{image}: {error}; check the image, or leave the tool out.") from error
    scales = np.linalg.svd(fitted[:3, :3], compute_uv=False)
    if not PLAUSIBLE_SCALES[0] <= scales.min() <= scales.max() <= PLAUSIBLE_SCALES[1]:
        raise DefacerError(
            f"{image}: registration with the template head failed (stretches {np.round(scales, 2).tolist()}); "
            f"check that the image shows a whole head in the orientation that its header says, or leave the tool out."
        )
    return fitted


def sample_mask(mask: Volume, to_template: np.ndarray, native: Grid, *, outside: bool) -> np.ndarray:
    """A template mask on a native grid: linear interpolation, kept where >= 0.5.

    Voxels up to half a template voxel beyond the mask's grid take its edge value, as in niimath; further out they are
    ``outside``.

    Parameters
    ----------
    mask : 0 to 1, in the world of the template (RAS+ mm)
    to_template : (4, 4) float, native world -> template world
    native : where it has to go
    outside : the answer beyond the mask's grid

    Returns
    -------
    (native.shape) bool
    """
    to_voxel = np.linalg.inv(mask.affine) @ to_template @ native.affine
    kept = np.empty(native.shape, dtype=bool)
    j, k = np.meshgrid(np.arange(native.shape[1]), np.arange(native.shape[2]), indexing="ij")
    last = np.array(mask.values.shape).reshape(3, 1, 1) - 1
    for i in range(native.shape[0]):  # slice by slice: all coordinates of a 1 mm head at once would take 300 MB
        at = to_voxel[:3, :3] @ np.stack([np.full_like(j, i), j, k]).reshape(3, -1) + to_voxel[:3, 3:]
        at = at.reshape(3, *j.shape)
        clipped = np.clip(at, 0, last)
        inside = (np.abs(at - clipped) < 0.5).all(axis=0)
        value = ndimage.map_coordinates(mask.values, clipped, order=1, output=np.float32, mode="nearest")
        kept[i] = np.where(inside, value >= 0.5, outside)
    return kept


def load_mask(path: Path) -> Volume:
    """A mask image, float32."""
    image = nib.Nifti1Image.from_filename(path)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)
