"""pydeface (Gulban et al.): its template, its face mask; its own program where FSL is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bids_refacer.defacers.installed import missing_package, package_version
from bids_refacer.defacers.pydeface_template import load_mask, pydeface_files, register_to_template, sample_mask
from bids_refacer.defacers.run_program import run_program
from bids_refacer.defacers.tool import Defacer, DefaceResult, zero_region
from bids_refacer.processes import python_module
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import write_volume
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import PADDING, pad_face_mask


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Carry pydeface's face mask onto the head and zero the face; see ``Defacer.run``.

    pydeface multiplies by the interpolated mask, which dims a layer of voxels at the cut. Here the mask is cut at 0.5,
    so that every voxel is either removed or kept bit for bit; the sidecar says so.
    """
    kept, registration = _with_flirt(scan, work_dir) if flirt_is_here() else _with_niimath(scan, work_dir)
    details = {
        "Tool": "pydeface",
        "Version": package_version("pydeface"),
        **registration,
        "MaskThreshold": "0.5 (pydeface multiplies by the interpolated mask; kept voxels stay bit-identical here)",
    }
    return zero_region(scan, ~kept, brain_mask, details)


def flirt_is_here() -> bool:
    """Whether pydeface's own conditions hold: ``fsl`` and ``flirt`` on the path, and FSLDIR."""
    return bool(shutil.which("flirt") and shutil.which("fsl") and os.environ.get("FSLDIR"))


def _with_flirt(scan: Scan, work_dir: Path) -> tuple[np.ndarray, Mapping[str, object]]:
    """The unmodified program; with ``--nocleanup`` it leaves its warped mask behind."""
    write_volume(work_dir / "source.nii.gz", scan.volume, np.float32)
    # Names relative to the work folder: pydeface derives others by replacing ".nii" anywhere in the path.
    arguments = ["source.nii.gz", "--outfile", "defaced.nii.gz", "--force", "--nocleanup"]
    run_program([*python_module("pydeface"), *arguments], work_dir=work_dir, image=scan.path)
    mask = load_mask(work_dir / "source_pydeface_mask.nii.gz").values
    version_file = Path(os.environ["FSLDIR"]) / "etc" / "fslversion"
    fsl = version_file.read_text().strip() if version_file.is_file() else "of unknown version"
    registration = {
        "Command": "pydeface ANAT --outfile OUT --nocleanup",
        "Options": {"cost": "mutualinfo"},
        "Registration": f"FSL FLIRT {fsl} (12 parameters, template to image)",
        "OutsideTemplate": "removed, as the tool does",
    }
    return mask.reshape(scan.stored.shape) >= 0.5, registration


def _with_niimath(scan: Scan, work_dir: Path) -> tuple[np.ndarray, Mapping[str, object]]:
    """pydeface's steps with niimath instead of FLIRT, and the head registered to the template, not the other way."""
    template, mask_file = pydeface_files()
    source = work_dir / "source.nii"
    write_volume(source, scan.volume, np.float32)
    to_template = register_to_template(source, template, work_dir=work_dir, image=scan.path)
    kept = sample_mask(pad_face_mask(load_mask(mask_file)), to_template, scan.grid, outside=True)
    registration = {
        "Command": "niimath ANAT -allineate mean_reg2mean.nii.gz -savemat MATRIX OUT; facemask.nii.gz applied",
        "Options": {"cost": "fast", "face_mask_padding_voxels": PADDING},
        "Registration": (
            f"niimath {package_version('niimath')} -allineate (fast engine, 12 parameters, image to template), "
            f"in the place of FSL FLIRT, which is not installed"
        ),
        "OutsideTemplate": f"face region continued by {PADDING} voxels forward and down, all else kept",
    }
    return kept, registration


def _missing() -> str | None:
    return missing_package("pydeface", "pydeface") or (
        None if flirt_is_here() else missing_package("niimath", "pydeface")
    )


PYDEFACE = Defacer(
    name="pydeface",
    action="removes",
    requirement="the Python package pydeface (MIT), and FSL FLIRT or else the Python package niimath",
    citation=(
        "Gulban OF, Nielson D, Lee J, Poldrack R, Gorgolewski C, Vanessasaurus, Markiewicz C. "
        "poldracklab/pydeface. Zenodo. doi:10.5281/zenodo.3524400"
    ),
    version=lambda: package_version("pydeface"),
    missing=_missing,
    run=run,
    licence="MIT",
    executable="flirt or niimath",
    contrasts=("T1w",),
    options={"cost": "fast", "face_mask_padding_voxels": PADDING},
)
