"""What the outputs say about one participant: rows of tables and records, gathered by image and tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.records import Record, read_record
from bids_refacer.reports.rows import Row, blank, read_rows

TABLES = ("status", "defacing", "surfacedistance", "calibration")


@dataclass(frozen=True)
class ToolResult:
    """One image and tool; what is not there is empty or None."""

    tool: str
    status: Row
    defacing: Row
    distances: Sequence[Row]
    calibration: Sequence[Row]
    record: Record | None

    @property
    def samples(self) -> list[int]:
        """Numbers of the refaced samples, from 1."""
        return sorted({int(row["sample"] or 0) for row in self.distances if row["image_type"] == "refaced"})

    def distance(self, image_type: str, part: str = "face", sample: int | None = None) -> Row:
        """The row of one type of image and part; without values when there is none."""
        for row in self.distances:
            if row["image_type"] == image_type and row["part"] == part and sample in (None, int(row["sample"] or 0)):
                return row
        return blank("surfacedistance")


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
    problems: list[Row]


def read_tables(output_dir: Path) -> dict[str, dict[str, list[Row]]]:
    """Table -> participant (with ``sub-``) -> rows, of the tables of the participant level."""
    found: dict[str, dict[str, list[Row]]] = {}
    for table in TABLES:
        of_table = found.setdefault(table, {})
        for row in read_rows(output_dir, table):
            of_table.setdefault(str(row["participant_id"]), []).append(row)
    return found


def gather(output_dir: Path, tables: Mapping[str, Mapping[str, Sequence[Row]]], label: str) -> ParticipantResult:
    """Everything about one participant (without ``sub-``)."""
    own = {name: list(rows.get(f"sub-{label}", ())) for name, rows in tables.items()}
    pairs = {(row["image"], row["tool"]) for rows in own.values() for row in rows if row["image"] and row["tool"]}
    images: dict[str, ImageResult] = {}
    for path, tool in sorted((str(image), str(tool)) for image, tool in pairs):
        image = images.setdefault(path, ImageResult(path, OutputNames.of(output_dir, ImageKey.of(path))))
        about = {name: [row for row in rows if (row["image"], row["tool"]) == (path, tool)]
                 for name, rows in own.items()}  # fmt: skip
        first = {name: next(iter(rows), blank(name)) for name, rows in about.items()}
        record = read_record(image.names.record(tool))
        image.tools.append(
            ToolResult(tool, first["status"], first["defacing"], about["surfacedistance"], about["calibration"], record)
        )
    problems = [row for row in own["status"] if not row["image"] or not row["tool"]]
    return ParticipantResult(label, list(images.values()), problems)
