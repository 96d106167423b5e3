"""Quickshear (Schimke & Hale 2011), through the function of its own package."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.defacers.installed import missing_package, package_version
from bids_refacer.defacers.tool import Defacer, DefacerError, DefaceResult, zero_region
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan

BUFFER_VOXELS = 10
"""The tool's default. It counts voxels, not mm: the cut stays 10 mm off the brain at 1 mm, and 20 mm at 2 mm."""


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Remove what lies in front of a plane under the brain; see ``Defacer.run``.

    The package multiplies the image by its mask but returns the product alone. Given an image of ones it returns the
    mask itself, air included.
    """
    from quickshear import quickshear

    ones = nib.Nifti1Image(np.ones(scan.stored.shape, dtype=np.uint8), scan.affine)
    mask = nib.Nifti1Image(brain_mask.astype(np.uint8), scan.affine)
    try:
        kept = np.asarray(quickshear(ones, mask, BUFFER_VOXELS).dataobj) > 0
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise DefacerError(
            f"{scan.path}: quickshear found no plane under the brain mask ({error}); check the mask, or leave it out."
        ) from error
    details = {
        "Tool": "quickshear",
        "Version": package_version("quickshear"),
        "Command": f"quickshear ANAT BRAIN_MASK OUT {BUFFER_VOXELS}",
        "Options": {"buffer_voxels": BUFFER_VOXELS, "brain_mask": f"deepbet {package_version('deepbet')}"},
    }
    return zero_region(scan, ~kept, brain_mask, details)


QUICKSHEAR = Defacer(
    name="quickshear",
    action="removes",
    requirement="the Python package quickshear (BSD-3-Clause) and a brain mask",
    citation=(
        "Schimke N, Hale J (2011). Quickshear Defacing for Neuroimages. "
        "Proceedings of the 2nd USENIX Conference on Health Security and Privacy."
    ),
    version=lambda: package_version("quickshear"),
    missing=lambda: missing_package("quickshear", "quickshear"),
    run=run,
    licence="BSD-3-Clause",
    options={"buffer_voxels": BUFFER_VOXELS},
)
