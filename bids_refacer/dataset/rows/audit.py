"""Rows of the tables of the participant level.

Columns, units and levels are described in ``data/columns/<table>.json``; None is ``n/a``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypedDict, TypeVar

from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.rows.table import Row
from bids_refacer.dataset.rows.tsv import NOT_AVAILABLE


class SubjectColumns(TypedDict):
    """Columns by which a row says what it is about."""

    participant_id: str
    session_id: str | None
    image: str | None
    tool: str | None


SUBJECT = tuple(SubjectColumns.__annotations__)


@dataclass(frozen=True, kw_only=True)
class SubjectRow(Row):
    """A row about an image and a tool; without tool or image where there is none to name."""

    participant_id: str
    session_id: str | None = None
    image: str | None = None
    tool: str | None = None

    @property
    def subject(self) -> tuple[str, str, str]:
        """Participant, image and tool: what a later run replaces, and what tables are sorted by."""
        return self.participant_id, self.image or NOT_AVAILABLE, self.tool or NOT_AVAILABLE


Kind = TypeVar("Kind", bound=SubjectRow)


def subject_columns(image: HeadImage, tool: str | None = None) -> SubjectColumns:
    """The columns that name an image of the input, and a tool."""
    return columns_of(image, image.bids_path, tool)


def columns_of(key: ImageKey, path: str, tool: str | None) -> SubjectColumns:
    """The same of an image that is known by its key and its path in the raw dataset."""
    session = f"ses-{key.session}" if key.session else None
    return {"participant_id": f"sub-{key.participant}", "session_id": session, "image": path, "tool": tool}


def merge_rows(old: Iterable[Kind], new: Iterable[Kind], *, whole: bool = True) -> list[Kind]:
    """The table after another run: its rows in the place of the old ones about the same image and tool.

    All old rows of an image and tool that the run was about go, as there may be fewer samples now; so do a
    participant's old rows without image or tool (no image found, a broken link), once the run was about them.
    Rows about others stay as they are; so do rows without image or tool where `new` is not all that a run has to say of
    its participants (not `whole`). Sorted by participant, image and tool; otherwise in the order given.
    """
    fresh = list(new)
    redone = {row.subject for row in fresh}
    participants = {row.participant_id for row in fresh}

    def is_stale(row: Kind) -> bool:
        unnamed = whole and (row.image is None or row.tool is None)
        return row.subject in redone or (unnamed and row.participant_id in participants)

    kept = [row for row in old if not is_stale(row)]
    return sorted(kept + fresh, key=lambda row: row.subject)


UNFINISHED = {"waiting": "waiting for its turn", "running": "in work"}
"""Levels of the column ``status`` of what has not ended, when the row was written, and their words."""


@dataclass(frozen=True, kw_only=True)
class StatusRow(SubjectRow):
    """How one image fared with one tool, or what was wrong with an image or a participant."""

    table: ClassVar[str] = "status"

    stage: str | None = None
    status: str | None = None
    message: str | None = None
    run_time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class DefacingRow(SubjectRow):
    """What a tool removed from an image, and the two verdicts."""

    table: ClassVar[str] = "defacing"

    version: str | None = None
    face_verdict: str | None = None
    brain_verdict: str | None = None
    removed_ml: float | None = None
    removed_head_ml: float | None = None
    removed_head_fraction: float | None = None
    brain_removed_ml: float | None = None
    brain_removed_percent: float | None = None
    brain_hole_ml: float | None = None
    most_alike: str | None = None
    most_alike_dice: float | None = None
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
class DistanceRow(SubjectRow):
    """Distances of one face surface to the true one, in one part of the face."""

    table: ClassVar[str] = "surfacedistance"

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
class CalibrationRow(SubjectRow):
    """Predicted against real error of the samples' mean, in one bin of predicted error."""

    table: ClassVar[str] = "calibration"

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
