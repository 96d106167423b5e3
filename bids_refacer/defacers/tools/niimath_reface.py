"""niimath's reface mode (after AFNI's refacer), with a shell made from the average head: it ships none of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_refacer.defacers.external import Program, run_external
from bids_refacer.defacers.tool import Defacer, DefaceResult, missing_package, package_version
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import Scan, write_volume
from bids_refacer.volumes.templates import asset

_SKIN = 12.0  # of the average head, whose brain has 100: darker is air
_BLUR_MM = 10.0  # over which the weight of the registration falls at the border of the face zone


def write_template(folder: Path) -> None:
    """Template, shell and weight, 2 mm, in the frame of the average head.

    The shell is the average head in its face zone, and says "zero" in the air there; the weight leaves the face zone
    out of the registration, so that the fit owes nothing to the face.
    """
    head, affine = asset("average_head.nii.gz")
    zone = asset("face_zone.nii.gz")[0] > 0
    shell = np.where(zone, np.where(head > _SKIN, head.astype(np.float32), np.float32(-1)), np.float32(0))
    weight = ndimage.gaussian_filter((~zone).astype(np.float32), _BLUR_MM / 2 / 2)
    write_volume(folder / "template.nii", head, affine, np.float32)
    write_volume(folder / "shell.nii", shell, affine, np.float32)
    write_volume(folder / "weight.nii", np.where(zone, 0, weight), affine, np.float32)


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``niimath -reface``; see ``Defacer.run``."""
    import niimath

    program = Program(
        name="niimath -reface",
        action="replaces",
        command=[
            niimath.bin, "source.nii", "-reface", "template.nii", "shell.nii", "weight.nii", "refaced.nii",
        ],
        shown="niimath ANAT -reface average_head.nii.gz SHELL WEIGHT OUT",
        outputs=("refaced.nii",),
        source="source.nii",
        floats=True,
        prepare=write_template,
    )  # fmt: skip
    details = {
        "Version": package_version("niimath"),
        "Options": {"template": "average_head.nii.gz", "shell": "average_head.nii.gz in face_zone.nii.gz"},
        "Registration": f"niimath {package_version('niimath')} -reface (fast engine, 12 parameters, image to template)",
    }
    return run_external(program, scan, brain_mask, work_dir, details)


NIIMATH_REFACE = Defacer(
    name="niimath-reface",
    action="replaces",
    requirement="the Python package niimath (BSD-2-Clause), and the average head that ships with bids_refacer",
    citation=(
        "Rorden C, Webster M, Drake C, et al. (2024). niimath and fslmaths: replication as a method to enhance popular "
        "neuroimaging tools. Aperture Neuro 4. doi:10.52294/001c.94384"
    ),
    version=lambda: package_version("niimath"),
    missing=lambda: missing_package("niimath", "niimath-reface"),
    run=run,
    licence="BSD-2-Clause",
    executable="niimath",
    contrasts=("T1w",),
    options={"template": "average_head.nii.gz"},
)
