"""@afni_refacer_run (Cox, Taylor): removes the face, replaces it, or replaces face, skull and scalp."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from bids_refacer.defacers.installed import missing_program, printed_version
from bids_refacer.defacers.program_tool import Program, deface_with_program
from bids_refacer.defacers.tool import Defacer, DefaceResult
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan

_PROGRAM = "@afni_refacer_run"


def _version() -> str:
    return printed_version(["afni", "-ver"], r"AFNI_([\w.]+)")


def run(
    scan: Scan,
    brain_mask: np.ndarray,
    alignment: Alignment,
    work_dir: Path,
    *,
    mode: str,
    action: Literal["removes", "replaces"],
) -> DefaceResult:
    """Run one mode of ``@afni_refacer_run``, without its pictures; see ``Defacer.run``."""
    program = Program(
        name=f"{_PROGRAM} -mode_{mode}",
        action=action,
        command=[_PROGRAM, "-input", "source.nii.gz", f"-mode_{mode}", "-no_images", "-prefix", "afni.nii.gz"],
        sidecar_command=f"{_PROGRAM} -input ANAT -mode_{mode} -no_images -prefix OUT",
        # with one mode the prefix is the name; some versions put the mode into it, as -mode_all does
        output_patterns=("afni.nii.gz", f"afni.{mode}.nii.gz", f"afni.nii.gz.{mode}.nii.gz"),
    )
    details = {
        "Version": _version(),
        "Options": {"mode": mode, "shell": "the program's default"},
        "Registration": "AFNI 3dAllineate (9 parameters, to MNI152_2009)",
    }
    return deface_with_program(program, scan, brain_mask, work_dir, details)


def _entry(mode: str, action: Literal["removes", "replaces"]) -> Defacer:
    name = f"afni_{mode}"
    get = "install AFNI and tcsh, and its data MNI152_2009_template_SSW and afni_refacer_shell*"
    return Defacer(
        name=name,
        action=action,
        requirement="AFNI, tcsh, and AFNI's template and refacer shells (public domain)",
        citation=(
            "Cox RW, Taylor PA. Why de-face when you can re-face? Proceedings of the 26th Annual Meeting of the "
            "Organization for Human Brain Mapping (2020). Cox RW (1996). AFNI. Computers and Biomedical Research "
            "29(3):162-173. doi:10.1006/cbmr.1996.0014"
        ),
        version=_version,
        missing=lambda: missing_program(_PROGRAM, name, get),
        run=partial(run, mode=mode, action=action),
        licence="public domain (some parts GPL)",
        executable=_PROGRAM,
        contrasts=("T1w",),
        memory_gb=4.0,
        options={"mode": mode},
        verified=False,
    )


AFNI_DEFACE = _entry("deface", "removes")
AFNI_REFACE = _entry("reface", "replaces")
AFNI_REFACE_PLUS = _entry("reface_plus", "replaces")
