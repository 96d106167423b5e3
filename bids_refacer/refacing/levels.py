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

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bids_refacer.defacers import DEFACERS
from bids_refacer.refacing.attack import Progress, Refaced, reface
from bids_refacer.refacing.sampling import SamplingSettings
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import Scan

SECONDARY_TOOL = "spm-rule"
"""Its plane takes the whole face zone of every replacing tool, and needs no program."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """`replaces`: whether the tool put another face there; `level`: ``naive``, ``mask`` or ``secondary``."""

    replaces: bool
    level: str


def attack_at(
    look: Look,
    scan: Scan,
    brain: np.ndarray,
    alignment: Alignment,
    model: AttackModel,
    settings: SamplingSettings,
    seeds: tuple[int, ...],
    progress: Progress,
) -> tuple[Scan, Refaced]:
    """`refacing.attack.reface` at a level; returns the attacked image too, as a second tool may change it."""
    if look.replaces and look.level == "naive":
        nothing = np.zeros(scan.stored.shape, dtype=bool)
        same = [scan.stored] * len(seeds)
        return scan, Refaced(samples=same, mean=scan.stored, average=scan.stored, unknown=nothing, details={})
    with tempfile.TemporaryDirectory() as folder:
        scan, zone = before_attack(scan, brain, alignment, look, Path(folder))
    return scan, reface(scan, brain, alignment, model, settings, seeds=seeds, zone=zone, progress=progress)


def before_attack(scan: Scan, brain: np.ndarray, alignment: Alignment, look: Look, work_dir: Path) -> tuple[Scan, bool]:
    """The image that is attacked, and whether its unknown region is the public face zone.

    Parameters
    ----------
    scan : the defaced image; the original is not an argument
    brain, alignment : of this image
    work_dir : empty, for the second tool
    """
    if not look.replaces or look.level != "secondary":
        return scan, look.replaces
    result = DEFACERS[SECONDARY_TOOL].run(scan, brain, alignment, work_dir)
    return replace(scan, stored=result.stored), False
