"""Rows of the tables of the participant level.

Columns, units and levels are described in ``data/columns/<table>.json``; None is ``n/a``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bids_refacer.dataset.rows.table import Row


@dataclass(frozen=True, kw_only=True)
class StatusRow(Row):
    """How one image fared with one tool, or what was wrong with an image or a participant."""

    table: ClassVar[str] = "status"

    participant_id: str
    session_id: str | None = None
    image: str | None = None
    tool: str | None = None
    stage: str | None = None
    status: str | None = None
    message: str | None = None
    run_time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class DefacingRow(Row):
    """What a tool removed from an image, and the two verdicts."""

    table: ClassVar[str] = "defacing"

    participant_id: str
    session_id: str | None = None
    image: str | None = None
    tool: str | None = None
    version: str | None = None
    face_verdict: str | None = None
    brain_verdict: str | None = None
    removed_ml: float | None = None
    removed_head_ml: float | None = None
    removed_head_fraction: float | None = None
    brain_removed_ml: float | None = None
    brain_removed_percent: float | None = None
    brain_hole_ml: float | None = None
    worst_part: str | None = None
    face_left_percent: float | None = None
    nose_left_percent: float | None = None
    eyes_left_percent: float | None = None
    mouth_left_percent: float | None = None
    chin_left_percent: float | None = None
    cheeks_left_percent: float | None = None
    forehead_left_percent: float | None = None
    ears_left_percent: float | None = None
    brain_volume_original_ml: float | None = None
    brain_volume_defaced_ml: float | None = None
    brain_dice: float | None = None
    tissue_contrast_original: float | None = None
    tissue_contrast_defaced: float | None = None
    run_time_s: float | None = None
    notes: str | None = None


@dataclass(frozen=True, kw_only=True)
class DistanceRow(Row):
    """Distances of one face surface to the true one, in one part of the face."""

    table: ClassVar[str] = "surfacedistance"

    participant_id: str
    session_id: str | None = None
    image: str | None = None
    tool: str | None = None
    image_type: str | None = None
    sample: int | None = None
    part: str | None = None
    masd_mm: float | None = None
    to_true_mm: float | None = None
    to_recovered_mm: float | None = None
    median_mm: float | None = None
    p95_mm: float | None = None
    hausdorff_mm: float | None = None
    signed_mean_mm: float | None = None
    n_vertices: int | None = None


@dataclass(frozen=True, kw_only=True)
class CalibrationRow(Row):
    """Predicted against real error of the samples' mean, in one bin of predicted error."""

    table: ClassVar[str] = "calibration"

    participant_id: str
    session_id: str | None = None
    image: str | None = None
    tool: str | None = None
    part: str | None = None
    bin_low_mm: float | None = None
    area_mm2: float | None = None
    predicted_mm: float | None = None
    error_mm: float | None = None
    covered_50: float | None = None
    covered_90: float | None = None


@dataclass(frozen=True, kw_only=True)
class ParticipantRow(Row):
    """A participant of the output dataset."""

    table: ClassVar[str] = "participants"

    participant_id: str
