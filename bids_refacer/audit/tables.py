"""Tables of the participant level: rows from the results of a run, and their files, which other runs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import permutations

from bids_refacer.audit.results import Result
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.names import OutputNames, dataset_table, sidecar_of
from bids_refacer.dataset.records import Record
from bids_refacer.dataset.rows.audit import (
    CalibrationRow,
    DefacingRow,
    DistanceRow,
    Kind,
    ParticipantRow,
    StatusRow,
    SubjectColumns,
    subject_columns,
)
from bids_refacer.dataset.rows.growing import GrowingTable
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.dataset.tables import write_dictionary
from bids_refacer.layout import Layout
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.skin_left import removed_dice
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
    recognition: Sequence[RecognitionRow] = ()


def tables_of(
    results: Sequence[Result], status: Sequence[StatusRow], others: Sequence[DefacingRow], limits: VerdictLimits
) -> Tables:
    """All rows of a run; `others` are about images that were not audited."""
    records = [result.record for result in results if result.record]
    alike = most_alike(records)
    defacing = []
    for result in results:
        if result.deface:
            row = defacing_row(subject_columns(result.image, result.tool), result.deface, limits)
            tool, overlap = alike.get((result.image.bids_path, result.tool), (None, None))
            defacing.append(replace(row, most_alike=tool, most_alike_dice=overlap))
    return Tables(
        status=status,
        defacing=[*others, *defacing],
        distances=[row for record in records for row in record.distances],
        calibration=[row for record in records for row in record.calibration],
        recognition=[row for record in records for row in record.recognition],
    )


def most_alike(records: Sequence[Record]) -> dict[tuple[str, str], tuple[str, float]]:
    """Image and tool -> the other tool on this image that took most nearly the same facial skin, and their Dice.

    Tools that remove are compared with each other, and so are tools that put another face there.
    """
    of_image: dict[str, list[Record]] = {}
    for record in records:
        of_image.setdefault(record.image, []).append(record)
    found: dict[tuple[str, str], tuple[str, float]] = {}
    for own in of_image.values():
        for one, other in permutations(own, 2):
            alike = _replaces(one) == _replaces(other)
            overlap = removed_dice(one.removed_skin or "", other.removed_skin or "") if alike else None
            if overlap is not None and overlap > found.get((one.image, one.tool), ("", -1.0))[1]:
                found[one.image, one.tool] = other.tool, overlap
    return found


def _replaces(record: Record) -> bool:
    """Whether the tool put another face there: then the record says how hard that was attacked."""
    return "Attack" in record.key


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
        most_alike=None,
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


class TableWriter:
    """Writes rows of a run into the tables of the dataset, again and again as images end.

    Parameters
    ----------
    layout : the output
    places : folders of the run, whose paths no message shows
    """

    def __init__(self, layout: Layout, places: Places) -> None:
        self._layout = layout
        self._status = self._table(StatusRow, places)
        self._distances = self._table(DistanceRow, places)
        self._defacing = self._table(DefacingRow, places)
        self._calibration = self._table(CalibrationRow, places)
        self._recognition = self._table(RecognitionRow, places)

    def write(self, tables: Tables, *, whole: bool = True) -> None:
        """Merge rows into the tables, and list the participants; who calls it holds the lock of the output.

        `whole` is whether the rows are all that the run has to say of its participants.
        """
        # rows of an image that was done before and failed now must not outlive its files
        about = {row.subject for row in tables.status}
        self._status.merge(tables.status, about, whole=whole)
        self._distances.merge(tables.distances, about, whole=whole)
        self._defacing.merge(tables.defacing, about, whole=whole)
        self._calibration.merge(tables.calibration, about, whole=whole)
        self._recognition.merge(tables.recognition, about, whole=whole)
        folders = [folder for folder in sorted(self._layout.shareable.glob("sub-*")) if folder.is_dir()]
        people = [ParticipantRow(participant_id=folder.name) for folder in folders]
        if people:
            write_rows(dataset_table(self._layout, ParticipantRow.table), ParticipantRow, people)

    def write_status(self, rows: Sequence[StatusRow]) -> None:
        """Merge rows of some images and tools into the table of status alone."""
        self._status.merge(rows, {row.subject for row in rows}, whole=False)

    def _table(self, kind: type[Kind], places: Places) -> GrowingTable[Kind]:
        return GrowingTable(dataset_table(self._layout, kind.table), kind, places.shareable_row)


def write_tables(tables: Tables, layout: Layout, places: Places) -> None:
    """Write the rows of a run once; see `TableWriter`."""
    TableWriter(layout, places).write(tables)


def write_image_tables(results: Sequence[Result], layout: Layout) -> None:
    """Write the surface distances of each image and tool, with their data dictionary."""
    for result in results:
        if result.record:
            path = OutputNames.of(layout, result.image).surfacedistance(result.tool)
            write_rows(path, DistanceRow, result.record.distances)
            write_dictionary(sidecar_of(path), DistanceRow.table)
