"""mri_deface (Bischoff-Grethe et al.) and mideface (Greve), both of the FreeSurfer developers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from bids_refacer.defacers.installed import missing_program, printed_version, written_version
from bids_refacer.defacers.program_tool import Program, deface_with_program
from bids_refacer.defacers.tool import Defacer, DefacerError, DefaceResult
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan

_ATLASES = ("talairach_mixed_with_skull.gca", "face.gca")
_GET_ATLASES = (
    "fetch the two files from the page of mri_deface (FreeSurfer's automated defacing tools), unpack them, and put "
    "their folder into MRI_DEFACE_DATA"
)


def atlases() -> tuple[Path, Path] | None:
    """The two atlases: in MRI_DEFACE_DATA, beside the program, or in FreeSurfer's ``average``; None when absent."""
    program = shutil.which("mri_deface")
    home = os.environ.get("FREESURFER_HOME")
    places = [os.environ.get("MRI_DEFACE_DATA"), str(Path(program).resolve().parent) if program else None]
    places.append(str(Path(home) / "average") if home else None)
    for place in filter(None, places):
        brain, face = (Path(place) / name for name in _ATLASES)
        if brain.is_file() and face.is_file():
            return brain.absolute(), face.absolute()
    return None


def _mri_deface_version() -> str:
    return printed_version(["mri_deface", "--version"], r"v?(\d+\.\d+(?:\.\d+)?)")


def run_mri_deface(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``mri_deface``; see ``Defacer.run``."""
    files = atlases()
    if files is None:
        raise DefacerError(f"The tool mri_deface needs {' and '.join(_ATLASES)}: {_GET_ATLASES}.")
    program = Program(
        name="mri_deface",
        action="removes",
        command=["mri_deface", "source.nii.gz", *map(str, files), "defaced.nii.gz"],
        sidecar_command=f"mri_deface ANAT {' '.join(_ATLASES)} OUT",
        output_patterns=("defaced.nii.gz",),
    )
    details = {
        "Version": _mri_deface_version(),
        "Options": {"atlases": list(_ATLASES)},
        "Registration": "mri_deface (linear, to its atlas)",
    }
    return deface_with_program(program, scan, brain_mask, work_dir, details)


def _missing_mri_deface() -> str | None:
    get = "get it from FreeSurfer's page of automated defacing tools"
    if sentence := missing_program("mri_deface", "mri_deface", get):
        return sentence
    if atlases() is None:
        return f"The tool mri_deface needs {' and '.join(_ATLASES)}: {_GET_ATLASES}."
    return None


MRI_DEFACE = Defacer(
    name="mri_deface",
    action="removes",
    requirement="mri_deface 1.22 and its two atlases (FreeSurfer licence)",
    citation=(
        "Bischoff-Grethe A, Ozyurt IB, Busa E, et al. (2007). A technique for the deidentification of structural "
        "brain MR images. Human Brain Mapping 28(9):892-903. doi:10.1002/hbm.20312"
    ),
    version=_mri_deface_version,
    missing=_missing_mri_deface,
    run=run_mri_deface,
    licence="FreeSurfer",
    executable="mri_deface",
    contrasts=("T1w",),
    memory_gb=2.0,
    verified=False,
)


def _freesurfer_version() -> str:
    home = os.environ.get("FREESURFER_HOME")
    return written_version(Path(home) / "build-stamp.txt" if home else None, r"(\d+\.\d+\.\d+)")


def run_mideface(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Run ``mideface``, which fills with the value of air without ``--fill-zero``; see ``Defacer.run``."""
    threads = os.environ.get("OMP_NUM_THREADS") or "1"
    arguments = ["--i", "source.nii.gz", "--o", "defaced.nii.gz", "--facemask", "mask.nii.gz", "--odir", "log"]
    program = Program(
        name="mideface",
        action="removes",
        command=["mideface", *arguments, "--fill-zero", "--threads", threads],
        sidecar_command="mideface --i ANAT --o OUT --facemask MASK --odir DIR --fill-zero",
        output_patterns=("defaced.nii.gz",),
        mask_file="mask.nii.gz",
    )
    details = {
        "Version": _freesurfer_version(),
        "Options": {"fill": "zero", "ears": True, "forehead": False},
        "Registration": "SAMSEG (as mideface calls it)",
    }
    return deface_with_program(program, scan, brain_mask, work_dir, details)


def _missing_mideface() -> str | None:
    if sentence := missing_program("mideface", "mideface", "install FreeSurfer 7.4.1 or newer and source its setup"):
        return sentence
    home = Path(os.environ.get("FREESURFER_HOME", ""))
    key = Path(os.environ.get("FS_LICENSE", home / "license.txt"))
    if not key.is_file():
        return f"The tool mideface needs FreeSurfer's licence key, and {key} is not there: set FS_LICENSE to its path."
    return None


MIDEFACE = Defacer(
    name="mideface",
    action="removes",
    requirement="FreeSurfer 7.3 or newer, but not 7.4.0, with its licence key, and tcsh",
    citation=(
        "MiDeFace: minimally invasive defacing. FreeSurfer, Laboratory for Computational Neuroimaging, Athinoula A. "
        "Martinos Center. Fischl B (2012). FreeSurfer. NeuroImage 62(2):774-781. doi:10.1016/j.neuroimage.2012.01.021"
    ),
    version=_freesurfer_version,
    missing=_missing_mideface,
    run=run_mideface,
    licence="FreeSurfer",
    executable="mideface",
    memory_gb=8.0,
    options={"fill": "zero", "ears": True, "forehead": False},
    known_bad={
        "7.4.0": "thresholds that are too high make it deface too aggressively, and it may spare the root of the nose; "
        "use 7.4.1 or newer"
    },
    verified=False,
)
