"""mri_reface (Schwarz et al., Mayo Clinic): replaces face and ears by an average that it fits to the head."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from bids_refacer.defacers.installed import missing_program, written_version
from bids_refacer.defacers.program_tool import Program, deface_with_program
from bids_refacer.defacers.tool import Defacer, DefaceResult
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan

_PROGRAM = "run_mri_reface.sh"


def _version() -> str:
    """From the folder (mri_reface_0.3) or from what the script says of itself."""
    program = shutil.which(_PROGRAM)
    return written_version(Path(program) if program else None, r"[Vv]ersion (\d+(?:\.\d+)+)")


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``run_mri_reface.sh``, which takes plain ``.nii``, and the contrast as an option; see ``Defacer.run``."""
    threads = os.environ.get("OMP_NUM_THREADS") or "1"
    kind = next((kind for kind in ("FLAIR", "T2", "PD") if f"_{kind}" in scan.path.name), "T1")
    program = Program(
        name="mri_reface",
        action="replaces",
        command=[_PROGRAM, "source.nii", "refaced", "-imType", kind, "-saveQCRenders", "0", "-threads", threads],
        sidecar_command=f"{_PROGRAM} ANAT OUT_DIR -imType {kind} -saveQCRenders 0",
        output_patterns=("refaced/source_deFaced.nii", "refaced/*deFaced*.nii*"),
        input_file="source.nii",
        prepare=lambda folder: (folder / "refaced").mkdir(),
    )
    details = {
        "Version": _version(),
        "Options": {"imType": kind},
        "Registration": "ANTs and NiftyReg (as mri_reface calls them)",
    }
    return deface_with_program(program, scan, brain_mask, work_dir, details)


MRI_REFACE = Defacer(
    name="mri_reface",
    action="replaces",
    requirement="mri_reface 0.3 with MATLAB Runtime, ANTs and NiftyReg; its terms are on its page",
    citation=(
        "Schwarz CG, Kremers WK, Wiste HJ, et al. (2021). Changing the face of neuroimaging research: Comparing a new "
        "MRI de-facing technique with popular alternatives. NeuroImage 231:117845. "
        "doi:10.1016/j.neuroimage.2021.117845"
    ),
    version=_version,
    missing=lambda: missing_program(
        _PROGRAM, "mri_reface", "download mri_reface from its NITRC page, with the MATLAB Runtime it names"
    ),
    run=run,
    licence="its own",
    executable=_PROGRAM,
    contrasts=("T1w", "T2w", "FLAIR"),
    memory_gb=8.0,
    verified=False,
)
