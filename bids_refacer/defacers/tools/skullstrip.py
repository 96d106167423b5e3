"""The extreme among defacers: only the brain stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_refacer.defacers.installed import missing_package, package_version
from bids_refacer.defacers.tool import Defacer, DefaceResult, zero_region
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan


def run(scan: Scan, brain_mask: np.ndarray, alignment: Alignment, work_dir: Path) -> DefaceResult:
    """Remove every voxel outside the brain mask; see ``Defacer.run``."""
    details = {
        "Tool": "skullstrip (deepbet)",
        "Version": package_version("deepbet"),
        "Command": "deepbet.BrainExtraction(no_gpu=True).run(ANAT)",
        "Options": {"threshold": 0.5, "n_dilate": 0},
    }
    return zero_region(scan, ~brain_mask, brain_mask, details)


SKULLSTRIP = Defacer(
    name="skullstrip",
    action="removes",
    requirement="the Python package deepbet (MIT), which ships its weights",
    citation=(
        "Fisch L, Zumdick S, Barkhau C, et al. (2024). deepbet: Fast brain extraction of T1-weighted MRI using "
        "convolutional neural networks. Computers in Biology and Medicine 179:108845. "
        "doi:10.1016/j.compbiomed.2024.108845"
    ),
    version=lambda: package_version("deepbet"),
    missing=lambda: missing_package("deepbet", "skullstrip"),
    run=run,
    licence="MIT",
    memory_gb=1.3,
)
