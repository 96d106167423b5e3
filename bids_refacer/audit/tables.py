"""Tables of the participant level: rows from the results of a run, and their files, which other runs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bids_refacer.audit.results import Result
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.names import OutputNames, dataset_table, sidecar_of
from bids_refacer.dataset.rows.audit import (
    CalibrationRow,
    DefacingRow,
    DistanceRow,
    Kind,
    ParticipantRow,
    StatusRow,
    SubjectColumns,
    merge_rows,
    subject_columns,
)
from bids_refacer.dataset.rows.table import rows_of, write_rows
from bids_refacer.dataset.tables import write_dictionary
from bids_refacer.layout import Layout
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.verdicts import MEASURED, grade, worse, worst_part


@dataclass(frozen=True)
class Limits:
    """A figure passes up to `warn`, is warned of up to `fail`, and fails above."""

    warn: float
    fail: float

    def grade(self, figure: float | None) -> str | None:
        """``pass``, ``warn`` or ``fail``; None without a figure."""
        return grade(figure, (self.warn, self.fail))


@dataclass(frozen=True, kw_only=True)
class VerdictLimits:
    """Limits of the two verdicts: percent of a face part left, percent of the brain removed, mL of the largest hole."""

    face_left: Limits
    brain_cut: Limits
    brain_hole: Limits

    @classmethod
    def of(cls, settings: RunSettings) -> VerdictLimits:
        """The limits of a run."""
        return cls(
            face_left=Limits(*settings.face_left_limits),
            brain_cut=Limits(*settings.brain_cut_limits),
            brain_hole=Limits(*settings.brain_hole_limits),
        )


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Rows that a run has for the tables of the dataset."""

    status: Sequence[StatusRow]
    defacing: Sequence[DefacingRow]
    distances: Sequence[DistanceRow]
    calibration: Sequence[CalibrationRow]


def tables_of(
    results: Sequence[Result], status: Sequence[StatusRow], others: Sequence[DefacingRow], limits: VerdictLimits
) -> Tables:
    """All rows of a run; `others` are about images that were not audited."""
    records = [result.record for result in results if result.record]
    defacing = [
        defacing_row(subject_columns(result.image, result.tool), result.deface, limits)
        for result in results
        if result.deface
    ]
    return Tables(
        status=status,
        defacing=[*others, *defacing],
        distances=[row for record in records for row in record.distances],
        calibration=[row for record in records for row in record.calibration],
    )


def defacing_row(subject: SubjectColumns, details: DefaceDetails, limits: VerdictLimits) -> DefacingRow:
    """A tool's figures on an image, and the two verdicts; figures that a record lacks are None."""
    quality, figures = details.quality, details.figures
    left, hole = figures.face_left, figures.brain_cut.hole_ml
    part, share = worst_part(left)
    return DefacingRow(
        **subject,
        version=details.version,
        face_verdict=limits.face_left.grade(share),
        brain_verdict=worse(
            limits.brain_cut.grade(quality.brain_removed_percent),
            limits.brain_hole.grade(hole),
        ),
        **asdict(quality),
        brain_hole_ml=hole,
        worst_part=part,
        **{f"{name}_left_percent": left.get(name) for name in MEASURED},
        brain_volume_original_ml=figures.original.volume_ml,
        brain_volume_defaced_ml=figures.defaced.volume_ml,
        brain_dice=figures.defaced.dice,
        tissue_contrast_original=figures.original.contrast,
        tissue_contrast_defaced=figures.defaced.contrast,
        run_time_s=details.run_time_s,
        notes="; ".join([*details.warnings, *details.quirks]) or None,
    )


def write_tables(tables: Tables, layout: Layout, places: Places) -> None:
    """Merge the rows of a run into the tables of the dataset, and list its participants.

    `places` are the folders of the run, whose paths no message shows.
    """
    about = {row.subject for row in tables.status}
    _merge(layout, StatusRow, tables.status, about, places)
    _merge(layout, DistanceRow, tables.distances, about, places)
    _merge(layout, DefacingRow, tables.defacing, about, places)
    _merge(layout, CalibrationRow, tables.calibration, about, places)
    folders = [folder for folder in sorted(layout.shareable.glob("sub-*")) if folder.is_dir()]
    people = [ParticipantRow(participant_id=folder.name) for folder in folders]
    if people:
        write_rows(dataset_table(layout, ParticipantRow.table), ParticipantRow, people)


def write_image_tables(results: Sequence[Result], layout: Layout) -> None:
    """Write the surface distances of each image and tool, with their data dictionary."""
    for result in results:
        if result.record:
            path = OutputNames.of(layout, result.image).surfacedistance(result.tool)
            write_rows(path, DistanceRow, result.record.distances)
            write_dictionary(sidecar_of(path), DistanceRow.table)


def _merge(
    layout: Layout, kind: type[Kind], new: Sequence[Kind], about: set[tuple[str, str, str]], places: Places
) -> None:
    # rows of an image that was done before and failed now must not outlive its files
    old = [row for row in rows_of(layout, kind) if row.subject not in about]
    rows = [places.shareable_row(row) for row in merge_rows(old, new)]
    write_rows(dataset_table(layout, kind.table), kind, rows)
