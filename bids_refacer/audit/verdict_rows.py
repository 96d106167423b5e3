"""A row of the table of defacing: a tool's figures on an image, and the two verdicts by the limits of this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.verdicts import MEASURED, grade, worse, worst_part

_QC = ("removed_ml", "removed_head_ml", "removed_head_fraction", "brain_removed_ml", "brain_removed_percent")


def defacing_row(details: Mapping[str, Any], settings: RunSettings) -> dict[str, Any]:
    """Columns of the table but for those that name image and tool; figures that a record lacks are left out.

    Parameters
    ----------
    details : what the nodes of defacing and verdict said
    settings : the limits
    """
    quality, verdict = details.get("QualityControl", {}), details.get("Verdict", {})
    left = verdict.get("FaceLeft", {})
    part, share = worst_part(left)
    hole = verdict.get("BrainCut", {}).get("hole_ml")
    before, after = (verdict.get("Brain", {}).get(which, {}) for which in ("original", "defaced"))
    row = {
        "version": details["Version"],
        "face_verdict": grade(share, settings.face_left_limits),
        "brain_verdict": worse(
            grade(quality.get("brain_removed_percent"), settings.brain_cut_limits),
            grade(hole, settings.brain_hole_limits),
        ),
        **{name: quality.get(name) for name in _QC},
        "brain_hole_ml": hole,
        "worst_part": part,
        **{f"{name}_left_percent": left.get(name) for name in MEASURED},
        "brain_volume_original_ml": before.get("volume_ml"),
        "brain_volume_defaced_ml": after.get("volume_ml"),
        "brain_dice": after.get("dice"),
        "tissue_contrast_original": before.get("contrast"),
        "tissue_contrast_defaced": after.get("contrast"),
        "run_time_s": details.get("RunTime"),
        "notes": "; ".join([*details.get("Warnings", ()), *details.get("Quirks", ())]) or None,
    }
    return {name: value for name, value in row.items() if value is not None}
