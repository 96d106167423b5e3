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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bids_refacer.defacers import DEFACERS
from bids_refacer.refacing.attack import DefacedImage, Progress, Refaced, reface
from bids_refacer.refacing.sampling import SampleSeed, SamplingSettings
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.scan import Scan

SECONDARY_TOOL = "spm-rule"
"""Its plane takes the whole face zone of every replacing tool, and needs no program."""


@dataclass(frozen=True, kw_only=True)
class AttackLevel:
    """What the attacker knows.

    Attributes
    ----------
    replaces : whether the tool put another face there
    level : ``naive``, ``mask`` or ``secondary``; without meaning for tools that remove
    """

    replaces: bool
    level: str


def attack_at(
    level: AttackLevel,
    image: DefacedImage,
    model: AttackModel,
    settings: SamplingSettings,
    seeds: Sequence[SampleSeed],
    progress: Progress,
) -> tuple[Scan, Refaced]:
    """`refacing.attack.reface` at a level; returns the attacked image too, which a second tool may have changed."""
    scan = image.scan
    if level.replaces and level.level == "naive":
        nothing = np.zeros(scan.stored.shape, dtype=bool)
        same = [scan.stored] * len(seeds)
        return scan, Refaced(samples=same, mean=scan.stored, average=scan.stored, unknown=nothing, details={})
    with tempfile.TemporaryDirectory() as folder:
        scan, zone = before_attack(image, level, Path(folder))
    attacked = replace(image, scan=scan)
    return scan, reface(attacked, model, settings, seeds=seeds, zone=zone, progress=progress)


def before_attack(image: DefacedImage, level: AttackLevel, work_dir: Path) -> tuple[Scan, bool]:
    """The image that is attacked, and whether its unknown region is the public face zone.

    Parameters
    ----------
    work_dir : empty, for the second tool
    """
    if not level.replaces or level.level != "secondary":
        return image.scan, level.replaces
    result = DEFACERS[SECONDARY_TOOL].run(image.scan, image.brain, image.alignment, work_dir)
    return replace(image.scan, stored=result.stored), False
