"""The face replaced by the population average: what mri_reface and afni_refacer do, with an open average head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_refacer import __version__
from bids_refacer.interfaces.defacers.qc import defacing_qc
from bids_refacer.interfaces.defacers.tool import Defacer, DefacerError, DefaceResult, missing_package, package_version
from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.intensity import brain_scale
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.nifti import Scan, to_stored
from bids_refacer.volumes.templates import asset

_ASSET_MM = 2
_ASSET_UNIT = 100.0  # the average head is stored in hundredths of its brain's median
_RING_MM = 4.0
_FADE_MM = 8.0


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Replace the face zone, fixed in the average head's frame, by the average head; see ``Defacer.run``.

    Nothing in the new face depends on voxels in the zone: position comes from the brain, intensity from the brain and
    from a ring of voxels around the zone.
    """
    native = Grid(scan.stored.shape, scan.affine)
    zone = alignment.average_to_native(asset("face_zone.nii.gz")[0].astype(np.float32), _ASSET_MM, native) > 0.5
    zone &= ~brain_mask
    if not zone.any():
        raise DefacerError(
            f"{scan.path}: the face lies outside the field of view, so there is nothing to replace; "
            f"check the image, or leave the tool average out."
        )
    values = scan.values
    average = alignment.average_to_native(asset("average_head.nii.gz")[0].astype(np.float32), _ASSET_MM, native)
    painted = average * (brain_scale(values, brain_mask) / _ASSET_UNIT)
    painted = np.maximum(painted + seam_correction(values - painted, zone, voxel_sizes(scan.affine)), 0)
    details = {
        "Tool": "average (bids_refacer)",
        "Version": __version__,
        "Command": "bids_refacer --deface-tools average",
        "Options": {"zone": "face_zone.nii.gz", "head": "average_head.nii.gz", "seam_fade_mm": _FADE_MM},
        "Registration": f"brain to average brain, niimath {package_version('niimath')} -allineate (12 parameters)",
        "QualityControl": defacing_qc(values, scan.affine, zone, brain_mask),
    }
    stored = np.where(zone, to_stored(scan, painted), scan.stored)
    return DefaceResult(stored=stored, removed=zone, details=details)


def seam_correction(difference: np.ndarray, zone: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """What to add inside the zone so that intensities meet at its border.

    The difference in a ring just outside the zone is carried inwards by normalised convolution, and fades with depth.

    Parameters
    ----------
    difference : (i, j, k) float, image minus average; read outside the zone only
    zone : (i, j, k) bool, not empty
    spacing : (3,) voxel size in mm

    Returns
    -------
    (i, j, k) float32, zero outside the zone
    """
    margin = np.ceil(4 * _RING_MM / spacing).astype(int)  # as far as the convolution reaches: the rest costs time only
    where = [np.flatnonzero(zone.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(w[0] - m, 0), w[-1] + m + 1) for w, m in zip(where, margin, strict=True))
    depth = ndimage.distance_transform_edt(zone[box], sampling=spacing)
    ring = ~zone[box] & (ndimage.distance_transform_edt(~zone[box], sampling=spacing) <= _RING_MM)
    weight = ndimage.gaussian_filter(ring.astype(np.float32), _RING_MM / spacing)
    total = ndimage.gaussian_filter(np.where(ring, difference[box], 0).astype(np.float32), _RING_MM / spacing)
    carried = total / np.maximum(weight, 1e-4) * np.exp(-((depth / _FADE_MM) ** 2))
    correction = np.zeros(zone.shape, dtype=np.float32)
    correction[box] = np.where(zone[box], carried, 0)
    return correction


AVERAGE = Defacer(
    name="average",
    action="replaces",
    requirement="the average head that ships with bids_refacer, and the Python package niimath (BSD-2-Clause)",
    citation=(
        "bids_refacer: face replaced by a registered population average, after the idea of Schwarz CG, Kremers WK, "
        "Wiste HJ, et al. (2021). Changing the face of neuroimaging research: Comparing a new MRI de-facing technique "
        "with popular alternatives. NeuroImage 231:117845. doi:10.1016/j.neuroimage.2021.117845"
    ),
    version=lambda: __version__,
    missing=lambda: missing_package("niimath", "average"),
    run=run,
)
