"""The face replaced by the population average: what mri_reface and afni_refacer do, with an open average head."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_refacer import __version__
from bids_refacer.defacers.installed import missing_package, package_version
from bids_refacer.defacers.tool import Defacer, DefacerError, DefaceResult, replace_region
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.intensity import brain_scale
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.seam import FADE_MM, seam_correction
from bids_refacer.volumes.templates import asset

_ASSET_MM = 2
_ASSET_UNIT = 100.0  # the average head is stored in hundredths of its brain's median


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Replace the face zone, fixed in the average head's frame, by the average head; see ``Defacer.run``.

    Nothing in the new face depends on voxels in the zone: position comes from the brain, intensity from the brain and
    from a ring of voxels around the zone.
    """
    native = scan.grid
    zone = alignment.average_to_native(asset("face_zone.nii.gz").values.astype(np.float32), _ASSET_MM, native) > 0.5
    zone &= ~brain_mask
    if not zone.any():
        raise DefacerError(
            f"{scan.path}: the face lies outside the field of view, so there is nothing to replace; "
            f"check the image, or leave the tool average out."
        )
    values = scan.values
    average = alignment.average_to_native(asset("average_head.nii.gz").values.astype(np.float32), _ASSET_MM, native)
    painted = average * (brain_scale(values, brain_mask) / _ASSET_UNIT)
    painted = np.maximum(painted + seam_correction(values - painted, zone, voxel_sizes(scan.affine)), 0)
    details = {
        "Tool": "average (bids_refacer)",
        "Version": __version__,
        "Command": "bids_refacer --deface-tools average",
        "Options": {"zone": "face_zone.nii.gz", "head": "average_head.nii.gz", "seam_fade_mm": FADE_MM},
        "Registration": f"brain to average brain, niimath {package_version('niimath')} -allineate (12 parameters)",
    }
    return replace_region(scan, zone, painted, brain_mask, details)


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
    contrasts=("T1w",),
    licence="Apache-2.0; head CC BY-SA 3.0",
)
