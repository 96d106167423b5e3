"""niimath (Rorden), which ships no templates of its own: deface mode gets pydeface's, reface mode the average head."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_refacer.defacers.installed import missing_package, package_version
from bids_refacer.defacers.program_tool import Program, deface_with_program
from bids_refacer.defacers.pydeface_template import load_mask, pydeface_files, register_to_template, sample_mask
from bids_refacer.defacers.run_program import run_program
from bids_refacer.defacers.tool import Defacer, DefacerError, DefaceResult, zero_region
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.nifti import write_volume
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import asset

_LEAST_AGREEMENT = 0.999
_SKIN = 12.0  # of the average head, whose brain has 100: darker is air
_BLUR_MM = 10.0  # over which the weight of the registration falls at the border of the face zone
_REFACE_FILES = ("template.nii", "shell.nii", "weight.nii")
_CITATION = (
    "Rorden C, Webster M, Drake C, et al. (2024). niimath and fslmaths: replication as a method to enhance popular "
    "neuroimaging tools. Aperture Neuro 4. doi:10.52294/001c.94384"
)


def run_deface(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``niimath -deface``; see ``Defacer.run``.

    The tool zeroes voxels and says no more: where air was exactly zero before, its image does not show whether the
    voxel was removed. There, the region comes from the same registration and mask, sampled here; elsewhere it is read
    off the tool's own output, with which the sampled region must agree.
    """
    import niimath

    template, mask_file = pydeface_files()
    source, output = work_dir / "source.nii", work_dir / "defaced.nii"
    volume = scan.volume
    write_volume(source, volume, np.float32)
    command = [niimath.bin, str(source), "-deface", str(template), str(mask_file), str(output)]
    run_program(command, work_dir=work_dir, image=scan.path)
    removed_by_tool = np.asarray(nib.Nifti1Image.from_filename(output).dataobj) == 0
    to_template = register_to_template(source, template, work_dir=work_dir, image=scan.path)
    sampled = ~sample_mask(load_mask(mask_file), to_template, volume.grid, outside=False)
    visible = volume.values != 0
    agreement = float((sampled == removed_by_tool)[visible].mean())
    if agreement < _LEAST_AGREEMENT:
        raise DefacerError(
            f"{scan.path}: the region that niimath {package_version('niimath')} removed differs from its mask in "
            f"{100 * (1 - agreement):.2f} % of the voxels; use another version of niimath, or leave the tool out."
        )
    details = {
        "Tool": "niimath -deface",
        "Version": package_version("niimath"),
        "Command": "niimath ANAT -deface mean_reg2mean.nii.gz facemask.nii.gz OUT",
        "Options": {"template_and_mask": f"pydeface {package_version('pydeface')}", "cost": "fast"},
        "Registration": f"niimath {package_version('niimath')} -deface (fast engine, 12 parameters, image to template)",
        "OutsideTemplate": "removed, as the tool does",
        "MaskAgreement": round(agreement, 6),
    }
    return zero_region(scan, np.where(visible, removed_by_tool, sampled), brain_mask, details)


NIIMATH = Defacer(
    name="niimath",
    action="removes",
    requirement="the Python packages niimath (BSD-2-Clause) and pydeface (MIT; its template and face mask)",
    citation=_CITATION,
    version=lambda: package_version("niimath"),
    missing=lambda: missing_package("niimath", "niimath") or missing_package("pydeface", "niimath"),
    run=run_deface,
    licence="BSD-2-Clause",
    executable="niimath",
    contrasts=("T1w",),
    options={"cost": "fast"},
)


def write_reface_template(folder: Path) -> None:
    """Template, shell and weight, 2 mm, in the frame of the average head.

    The shell is the average head in its face zone, and says "zero" in the air there; the weight leaves the face zone
    out of the registration, so that the fit owes nothing to the face.
    """
    average = asset("average_head.nii.gz")
    head = average.values
    zone = asset("face_zone.nii.gz").values > 0
    shell = np.where(zone, np.where(head > _SKIN, head.astype(np.float32), np.float32(-1)), np.float32(0))
    weight = ndimage.gaussian_filter((~zone).astype(np.float32), _BLUR_MM / 2 / 2)
    for name, values in zip(_REFACE_FILES, (head, shell, np.where(zone, 0, weight)), strict=True):
        write_volume(folder / name, Volume(values, average.affine), np.float32)


def run_reface(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``niimath -reface``; see ``Defacer.run``."""
    import niimath

    program = Program(
        name="niimath -reface",
        action="replaces",
        command=[niimath.bin, "source.nii", "-reface", *_REFACE_FILES, "refaced.nii"],
        sidecar_command="niimath ANAT -reface average_head.nii.gz SHELL WEIGHT OUT",
        output_patterns=("refaced.nii",),
        input_file="source.nii",
        float_input=True,
        prepare=write_reface_template,
    )
    details = {
        "Version": package_version("niimath"),
        "Options": {"template": "average_head.nii.gz", "shell": "average_head.nii.gz in face_zone.nii.gz"},
        "Registration": f"niimath {package_version('niimath')} -reface (fast engine, 12 parameters, image to template)",
    }
    return deface_with_program(program, scan, brain_mask, work_dir, details)


NIIMATH_REFACE = Defacer(
    name="niimath-reface",
    action="replaces",
    requirement="the Python package niimath (BSD-2-Clause), and the average head that ships with bids_refacer",
    citation=_CITATION,
    version=lambda: package_version("niimath"),
    missing=lambda: missing_package("niimath", "niimath-reface"),
    run=run_reface,
    licence="BSD-2-Clause",
    executable="niimath",
    contrasts=("T1w",),
    options={"template": "average_head.nii.gz"},
)
