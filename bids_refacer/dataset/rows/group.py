"""Rows of the tables of the group level about tools and distances.

Columns, units and levels are described in ``data/columns/<table>.json``; None is ``n/a``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bids_refacer.dataset.rows.table import Row


@dataclass(frozen=True, kw_only=True)
class SummaryRow(Row):
    """The figures of one tool that people choose by."""

    table: ClassVar[str] = "group_summary"

    suffix: str
    tool: str | None = None
    version: str | None = None
    n_participants: int | None = None
    n_images: int | None = None
    n_used: int | None = None
    n_excluded: int | None = None
    n_failed: int | None = None
    n_missing: int | None = None
    n_unfinished: int | None = None
    most_alike: str | None = None
    n_same_cut: int | None = None
    n_judged: int | None = None
    n_face_fail: int | None = None
    n_face_warn: int | None = None
    worst_part_left_median_percent: float | None = None
    n_brain_fail: int | None = None
    n_brain_warn: int | None = None
    brain_removed_median_percent: float | None = None
    brain_removed_max_percent: float | None = None
    head_removed_median_percent: float | None = None
    recovered_type: str | None = None
    n_pairs: int | None = None
    headline_part: str | None = None
    defaced_mm: float | None = None
    recovered_mm: float | None = None
    average_mm: float | None = None
    average_fitted_mm: float | None = None
    difference_mm: float | None = None
    difference_low_mm: float | None = None
    difference_high_mm: float | None = None
    n_closer: int | None = None
    difference_p_holm: float | None = None
    rank_biserial: float | None = None
    face_defaced_mm: float | None = None
    face_recovered_mm: float | None = None
    face_average_mm: float | None = None
    face_difference_mm: float | None = None
    n_looked_up: int | None = None
    n_gallery: int | None = None
    rank1: float | None = None
    rank1_low: float | None = None
    rank1_high: float | None = None
    rank1_chance: float | None = None
    rank1_p_holm: float | None = None
    rank5: float | None = None
    rank5_chance: float | None = None
    auc: float | None = None
    average_rank1: float | None = None
    recogniser: str | None = None
    recogniser_rank1: float | None = None
    recogniser_rank1_low: float | None = None
    recogniser_rank1_high: float | None = None
    recogniser_gallery: int | None = None
    town_rank1: float | None = None
    town_rank1_low: float | None = None
    town_rank1_high: float | None = None
    run_time_median_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class GroupParticipantRow(Row):
    """How a participant fared with a tool, over all images of one kind."""

    table: ClassVar[str] = "group_participants"

    participant_id: str
    suffix: str
    tool: str | None = None
    state: str | None = None
    reason: str | None = None
    n_images: int | None = None
    n_used: int | None = None
    face_verdict: str | None = None
    worst_part_left_percent: float | None = None
    brain_verdict: str | None = None
    brain_removed_percent: float | None = None
    headline_part: str | None = None
    defaced_mm: float | None = None
    recovered_type: str | None = None
    recovered_mm: float | None = None
    average_mm: float | None = None
    average_fitted_mm: float | None = None
    face_defaced_mm: float | None = None
    face_recovered_mm: float | None = None
    face_average_mm: float | None = None
    recogniser_ranks: str | None = None
    run_time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class GroupImageRow(Row):
    """Whether an image counts for a tool, and if not why."""

    table: ClassVar[str] = "group_images"

    participant_id: str
    image: str | None = None
    tool: str | None = None
    state: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class GroupDistanceRow(Row):
    """Distances of one type of face over participants."""

    table: ClassVar[str] = "group_surfacedistance"

    suffix: str
    tool: str | None = None
    image_type: str | None = None
    part: str | None = None
    gate: str | None = None
    subgroup_column: str | None = None
    subgroup: str | None = None
    n_participants: int | None = None
    n_missing: int | None = None
    mean_mm: float | None = None
    ci_low_mm: float | None = None
    ci_high_mm: float | None = None
    sd_mm: float | None = None
    median_mm: float | None = None
    q1_mm: float | None = None
    q3_mm: float | None = None
    iqr_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class ComparisonRow(Row):
    """A recovered face against another face of the same participants."""

    table: ClassVar[str] = "group_comparison"

    suffix: str
    tool: str | None = None
    image_type: str | None = None
    compared_with: str | None = None
    part: str | None = None
    gate: str | None = None
    subgroup_column: str | None = None
    subgroup: str | None = None
    n_pairs: int | None = None
    mean_difference_mm: float | None = None
    ci_low_mm: float | None = None
    ci_high_mm: float | None = None
    median_difference_mm: float | None = None
    n_closer: int | None = None
    statistic: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    rank_biserial: float | None = None


@dataclass(frozen=True, kw_only=True)
class ToolsRow(Row):
    """A test of tools against each other: Friedman's over all, Wilcoxon's for a pair."""

    table: ClassVar[str] = "group_tools"

    suffix: str
    image_type: str | None = None
    part: str | None = None
    gate: str | None = None
    test: str | None = None
    tool: str | None = None
    other_tool: str | None = None
    n_tools: int | None = None
    n_participants: int | None = None
    statistic: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    kendall_w: float | None = None
    median_difference_mm: float | None = None
    rank_biserial: float | None = None


@dataclass(frozen=True, kw_only=True)
class GroupCalibrationRow(Row):
    """Predicted against real error of the samples' mean, over participants."""

    table: ClassVar[str] = "group_calibration"

    suffix: str
    tool: str | None = None
    part: str | None = None
    gate: str | None = None
    kind: str | None = None
    bin_low_mm: float | None = None
    n_participants: int | None = None
    area_share: float | None = None
    predicted_mm: float | None = None
    error_mm: float | None = None
    covered_50: float | None = None
    covered_50_low: float | None = None
    covered_50_high: float | None = None
    covered_90: float | None = None
    covered_90_low: float | None = None
    covered_90_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReferenceRow(Row):
    """Distances in this dataset against those of a reference dataset."""

    table: ClassVar[str] = "group_reference"

    suffix: str
    tool: str | None = None
    image_type: str | None = None
    part: str | None = None
    gate: str | None = None
    n_participants: int | None = None
    n_reference: int | None = None
    mean_mm: float | None = None
    reference_mean_mm: float | None = None
    difference_mm: float | None = None
    ci_low_mm: float | None = None
    ci_high_mm: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    rank_biserial: float | None = None
