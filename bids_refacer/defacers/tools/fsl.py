"""fsl_deface (Alfaro-Almagro et al.): the defacer of UK Biobank, part of FSL. It takes the ears too."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bids_refacer.defacers.installed import missing_program, written_version
from bids_refacer.defacers.program_tool import Program, deface_with_program
from bids_refacer.defacers.tool import Defacer, DefaceResult
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan


def _version() -> str:
    home = os.environ.get("FSLDIR")
    return written_version(Path(home) / "etc" / "fslversion" if home else None, r"([\w.:-]+)")


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``fsl_deface``, and ask for its mask; see ``Defacer.run``."""
    program = Program(
        name="fsl_deface",
        action="removes",
        command=["fsl_deface", "source.nii.gz", "defaced.nii.gz", "-d", "mask.nii.gz"],
        sidecar_command="fsl_deface ANAT OUT -d MASK",
        output_patterns=("defaced.nii.gz",),
        mask_file="mask.nii.gz",
        environ={"FSLOUTPUTTYPE": "NIFTI_GZ"},
    )
    details = {"Version": _version(), "Options": {"bet_f": 0.5}, "Registration": "FSL FLIRT (as fsl_deface calls it)"}
    return deface_with_program(program, scan, brain_mask, work_dir, details)


FSL_DEFACE = Defacer(
    name="fsl_deface",
    action="removes",
    requirement="FSL 6 (its own licence; not for commercial use)",
    citation=(
        "Alfaro-Almagro F, Jenkinson M, Bangerter NK, et al. (2018). Image processing and Quality Control for the "
        "first 10,000 brain imaging datasets from UK Biobank. NeuroImage 166:400-424. "
        "doi:10.1016/j.neuroimage.2017.10.034"
    ),
    version=_version,
    missing=lambda: missing_program("fsl_deface", "fsl_deface", "install FSL, and set FSLDIR and PATH as it says"),
    run=run,
    licence="FSL (non-commercial)",
    executable="fsl_deface",
    contrasts=("T1w",),
    memory_gb=4.0,
    options={"bet_f": 0.5},
    verified=False,
)
