"""Rows of the tables of recognition by face-recognition programs, of the participant level and of the group level.

Columns, units and levels are described in ``data/columns/<table>.json``; None is ``n/a``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bids_refacer.dataset.rows.audit import SubjectRow
from bids_refacer.dataset.rows.table import Row


@dataclass(frozen=True, kw_only=True)
class RecognitionRow(SubjectRow):
    """How alike an image is to its own original, to one recogniser."""

    table: ClassVar[str] = "recognition"

    image_type: str | None = None
    sample: int | None = None
    recogniser: str | None = None
    view: str | None = None
    n_views: int | None = None
    n_detected: int | None = None
    similarity: float | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class GroupRecognitionRow(Row):
    """How often people are found again by one recogniser, in one type of image."""

    table: ClassVar[str] = "group_recognition"

    suffix: str
    tool: str | None = None
    recogniser: str | None = None
    image_type: str | None = None
    scan: str | None = None
    gate: str | None = None
    n_participants: int | None = None
    n_probes: int | None = None
    n_missing: int | None = None
    n_gallery: int | None = None
    n_fillers: int | None = None
    detected: float | None = None
    n_without_face: int | None = None
    n_found: int | None = None
    rank1: float | None = None
    rank1_low: float | None = None
    rank1_high: float | None = None
    rank1_exact_low: float | None = None
    rank1_exact_high: float | None = None
    rank1_chance: float | None = None
    rank5: float | None = None
    rank5_low: float | None = None
    rank5_high: float | None = None
    rank5_chance: float | None = None
    rank10: float | None = None
    mean_rank: float | None = None
    mean_rank_low: float | None = None
    mean_rank_high: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    eer: float | None = None
    eer_low: float | None = None
    eer_high: float | None = None
    similarity: float | None = None


@dataclass(frozen=True, kw_only=True)
class RecognitionComparisonRow(Row):
    """Two types of image of the same participants, to one recogniser."""

    table: ClassVar[str] = "group_recognition_comparison"

    suffix: str
    tool: str | None = None
    recogniser: str | None = None
    image_type: str | None = None
    compared_with: str | None = None
    gate: str | None = None
    figure: str | None = None
    n_pairs: int | None = None
    mean_difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    n_larger: int | None = None
    statistic: float | None = None
    p_value: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class CrowdRow(Row):
    """How often people would be found in a gallery of one size."""

    table: ClassVar[str] = "group_crowd"

    suffix: str
    tool: str | None = None
    recogniser: str | None = None
    image_type: str | None = None
    gate: str | None = None
    n_probes: int | None = None
    gallery: int | None = None
    source: str | None = None
    rank1: float | None = None
    rank1_low: float | None = None
    rank1_high: float | None = None
    rank5: float | None = None
    rank5_low: float | None = None
    rank5_high: float | None = None
