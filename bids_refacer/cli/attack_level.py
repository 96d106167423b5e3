"""How hard the attacker looks at an image whose face was replaced (after Gao et al., "Red teaming mri_reface", 2026).

naive
    takes the new face for the true one: nothing is unknown, nothing is painted
mask
    knows the tool's public face zone, and places it by the refaced image alone; what lies in it is unknown
secondary
    runs a removing tool over the refaced image first, and attacks what that leaves

Tools that remove leave no choice: what they took is what is unknown.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bids_refacer.interfaces.defacers import DEFACERS
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import Scan

SECONDARY_TOOL = "spm-rule"
"""Its plane takes the whole face zone of every replacing tool, and needs no program."""


def before_attack(
    scan: Scan, brain: np.ndarray, alignment: Alignment, *, replaces: bool, level: str, work_dir: Path
) -> tuple[Scan, bool]:
    """The image that is attacked, and whether its unknown region is the public face zone.

    Parameters
    ----------
    scan : the defaced image; the original is not an argument
    brain, alignment : of this image
    replaces : whether its tool put another face there
    level : ``mask`` or ``secondary``; a naive attacker paints nothing
    work_dir : empty, for the second tool
    """
    if not replaces or level != "secondary":
        return scan, replaces
    result = DEFACERS[SECONDARY_TOOL].run(scan, brain, alignment, work_dir)
    return replace(scan, stored=result.stored), False
