"""What the outputs say about one participant: rows of tables and records, gathered by image and tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.image_key import ImageKey, suffix_of
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.records import Record, read_record
from bids_refacer.dataset.rows.audit import CalibrationRow, DefacingRow, DistanceRow, StatusRow
from bids_refacer.dataset.rows.group import GroupParticipantRow
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.dataset.rows.table import RowType, rows_of
from bids_refacer.layout import Layout
from bids_refacer.surfaces.region import headline

_SUBJECT = attrgetter("image", "tool")  # of a row of any of the tables


@dataclass(frozen=True)
class AuditTables:
    """Tables of the participant level: participant (with ``sub-``) -> rows."""

    status: Mapping[str, Sequence[StatusRow]]
    defacing: Mapping[str, Sequence[DefacingRow]]
    distances: Mapping[str, Sequence[DistanceRow]]
    calibration: Mapping[str, Sequence[CalibrationRow]]
    recognition: Mapping[str, Sequence[RecognitionRow]]
    group: Mapping[str, Sequence[GroupParticipantRow]]

    def labels(self) -> list[str]:
        """Participants, without ``sub-``, whom any table names."""
        names = {*self.status, *self.defacing, *self.distances, *self.calibration}
        return sorted(name.removeprefix("sub-") for name in names)


@dataclass(frozen=True)
class ToolResult:
    """One image and tool; a row without values stands for one that is not there."""

    tool: str
    status: StatusRow
    defacing: DefacingRow
    distances: Sequence[DistanceRow]
    calibration: Sequence[CalibrationRow]
    recognition: Sequence[RecognitionRow]
    ranks: str | None
    record: Record | None

    @property
    def samples(self) -> list[int]:
        """Numbers of the refaced samples, from 1."""
        return sorted({row.sample or 0 for row in self.distances if row.image_type == "refaced"})

    @property
    def headline(self) -> str:
        """The part whose distances are told first: the whole face where removed skin was not measured."""
        return headline(row.part for row in self.distances)

    def distance(self, image_type: str, sample: int | None = None) -> DistanceRow | None:
        """The row of the headline part of one type of image; None when there is none."""
        part = self.headline
        for row in self.distances:
            if row.image_type == image_type and row.part == part and sample in (None, row.sample or 0):
                return row
        return None

    def masd_mm(self, image_type: str, sample: int | None = None) -> float | None:
        """Mean absolute surface distance of the headline part, mm; None when it was not measured."""
        row = self.distance(image_type, sample)
        return None if row is None else row.masd_mm


@dataclass(frozen=True)
class ImageResult:
    """One image with all its tools."""

    path: str
    names: OutputNames
    tools: list[ToolResult] = field(default_factory=list)


@dataclass(frozen=True)
class ParticipantResult:
    """A participant: images, and the problems that no tool could be run for."""

    label: str
    images: list[ImageResult]
    problems: list[StatusRow]


def read_tables(layout: Layout, places: Places, labels: Sequence[str] | None = None) -> AuditTables:
    """Read the tables of the participant level, whose messages lose the paths that earlier versions left in them.

    Rows about others than `labels` (without ``sub-``) may be passed over: with one label they are.

    Raises
    ------
    ValueError
        When a table is damaged; see `dataset.rows.table.read_rows`.
    """
    alone = f"sub-{labels[0]}" if labels is not None and len(labels) == 1 else None
    return AuditTables(
        status=_by_participant(map(places.shareable_row, rows_of(layout, StatusRow, alone))),
        defacing=_by_participant(map(places.shareable_row, rows_of(layout, DefacingRow, alone))),
        distances=_by_participant(rows_of(layout, DistanceRow, alone)),
        calibration=_by_participant(rows_of(layout, CalibrationRow, alone)),
        recognition=_by_participant(rows_of(layout, RecognitionRow, alone)),
        group=_by_participant(rows_of(layout, GroupParticipantRow, alone)),
    )


def _by_participant(rows: Iterable[RowType]) -> dict[str, list[RowType]]:
    of_participant: dict[str, list[RowType]] = {}
    for row in rows:
        of_participant.setdefault(attrgetter("participant_id")(row), []).append(row)
    return of_participant


def gather(layout: Layout, tables: AuditTables, label: str) -> ParticipantResult:
    """Everything about one participant (without ``sub-``)."""
    name = f"sub-{label}"
    status, defacing = tables.status.get(name, ()), tables.defacing.get(name, ())
    distances, calibration = tables.distances.get(name, ()), tables.calibration.get(name, ())
    pairs = set(map(_SUBJECT, (*status, *defacing, *distances, *calibration)))
    images: dict[str, ImageResult] = {}
    for path, tool in sorted((image, tool) for image, tool in pairs if image and tool):
        image = images.setdefault(path, ImageResult(path, OutputNames.of(layout, ImageKey.of(path))))
        image.tools.append(
            ToolResult(
                tool=tool,
                status=_first(status, StatusRow(participant_id=name), path, tool),
                defacing=_first(defacing, DefacingRow(participant_id=name), path, tool),
                distances=_about(distances, path, tool),
                calibration=_about(calibration, path, tool),
                recognition=_about(tables.recognition.get(name, ()), path, tool),
                ranks=_ranks(tables.group.get(name, ()), suffix_of(path), tool),
                record=read_record(image.names.record(tool)),
            )
        )
    problems = [row for row in status if not row.image or not row.tool]
    return ParticipantResult(label, list(images.values()), problems)


def _ranks(rows: Sequence[GroupParticipantRow], suffix: str, tool: str) -> str | None:
    """What recognisers found at the group level; None before it has run."""
    return next((row.recogniser_ranks for row in rows if (row.suffix, row.tool) == (suffix, tool)), None)


def _about(rows: Sequence[RowType], image: str, tool: str) -> list[RowType]:
    """Rows of one image and tool."""
    return [row for row in rows if _SUBJECT(row) == (image, tool)]


def _first(rows: Sequence[RowType], otherwise: RowType, image: str, tool: str) -> RowType:
    return next(iter(_about(rows, image, tool)), otherwise)
