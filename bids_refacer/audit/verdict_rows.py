"""A row of the table of defacing: a tool's figures on an image, and the two verdicts by the limits of this run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.verdicts import MEASURED, grade, worse, worst_part


def defacing_row(details: DefaceDetails, settings: RunSettings) -> dict[str, Any]:
    """Columns of the table but for those that name image and tool; figures that a record lacks are left out.

    Parameters
    ----------
    details : what the nodes of defacing and verdict said
    settings : the limits
    """
    quality, verdict = details.quality, details.verdict
    left, hole = verdict.face_left, verdict.brain_cut.hole_ml
    part, share = worst_part(left)
    row = {
        "version": details.version,
        "face_verdict": grade(share, settings.face_left_limits),
        "brain_verdict": worse(
            grade(quality.brain_removed_percent, settings.brain_cut_limits),
            grade(hole, settings.brain_hole_limits),
        ),
        **asdict(quality),
        "brain_hole_ml": hole,
        "worst_part": part,
        **{f"{name}_left_percent": left.get(name) for name in MEASURED},
        "brain_volume_original_ml": verdict.original.volume_ml,
        "brain_volume_defaced_ml": verdict.defaced.volume_ml,
        "brain_dice": verdict.defaced.dice,
        "tissue_contrast_original": verdict.original.contrast,
        "tissue_contrast_defaced": verdict.defaced.contrast,
        "run_time_s": details.run_time_s,
        "notes": "; ".join([*details.warnings, *details.quirks]) or None,
    }
    return {name: value for name, value in row.items() if value is not None}
