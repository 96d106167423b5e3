"""The tables of the group level that its page shows, as typed rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.rows.group import (
    GroupCalibrationRow,
    GroupImageRow,
    GroupParticipantRow,
    SummaryRow,
    ToolsRow,
)
from bids_refacer.dataset.rows.group_people import CmcRow, PhenotypeRow, RocRow
from bids_refacer.dataset.rows.recognition import CrowdRow, GroupRecognitionRow
from bids_refacer.dataset.rows.table import RowType, rows_of
from bids_refacer.layout import Layout
from bids_refacer.surfaces.region import PARTS


@dataclass(frozen=True)
class GroupTables:
    """Rows of the tables, in their order; a table that is not there has none."""

    summary: Sequence[SummaryRow]
    participants: Sequence[GroupParticipantRow]
    images: Sequence[GroupImageRow]
    tools: Sequence[ToolsRow]
    calibration: Sequence[GroupCalibrationRow]
    cmc: Sequence[CmcRow]
    roc: Sequence[RocRow]
    recognition: Sequence[GroupRecognitionRow]
    crowd: Sequence[CrowdRow]
    phenotypes: Sequence[PhenotypeRow]


def read_group_tables(layout: Layout) -> GroupTables:
    """Read the tables of the group level.

    Raises
    ------
    ValueError
        When a table is damaged; see `dataset.rows.table.read_rows`.
    """
    places = Places(layout=layout)  # tables of earlier versions name whole paths
    return GroupTables(
        summary=rows_of(layout, SummaryRow),
        participants=[places.shareable_row(row) for row in rows_of(layout, GroupParticipantRow)],
        images=[places.shareable_row(row) for row in rows_of(layout, GroupImageRow)],
        tools=rows_of(layout, ToolsRow),
        calibration=rows_of(layout, GroupCalibrationRow),
        cmc=rows_of(layout, CmcRow),
        roc=rows_of(layout, RocRow),
        recognition=rows_of(layout, GroupRecognitionRow),
        crowd=rows_of(layout, CrowdRow),
        phenotypes=rows_of(layout, PhenotypeRow),
    )


def of_suffix(tables: GroupTables, suffix: str) -> GroupTables:
    """Tables of one kind of image, such as T1w; `images`, which has no column for it, stays whole."""
    return replace(
        tables,
        summary=matching(tables.summary, suffix=suffix),
        participants=matching(tables.participants, suffix=suffix),
        tools=matching(tables.tools, suffix=suffix),
        calibration=matching(tables.calibration, suffix=suffix),
        cmc=matching(tables.cmc, suffix=suffix),
        roc=matching(tables.roc, suffix=suffix),
        recognition=matching(tables.recognition, suffix=suffix),
        crowd=matching(tables.crowd, suffix=suffix),
        phenotypes=matching(tables.phenotypes, suffix=suffix),
    )


def matching(rows: Iterable[RowType], **wanted: str | None) -> list[RowType]:
    """Rows that have the wanted values, by name of the column."""
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


def by_tool(rows: Sequence[RowType]) -> Iterator[tuple[str, list[RowType]]]:
    """Tools in alphabetical order, each with its rows, of a table that has a column ``tool``."""
    for tool in sorted(set(filter(None, map(attrgetter("tool"), rows)))):
        yield tool, matching(rows, tool=tool)


def shown_phenotypes(rows: Sequence[PhenotypeRow]) -> list[PhenotypeRow]:
    """Rows that pages show: facial voxels by ridge regression, by the network where it is alone."""
    from_faces = matching(rows, roi="face")
    return matching(from_faces, model="ridge") or matching(from_faces, model="cnn")


def headline_part(summary: Iterable[SummaryRow]) -> str:
    """The part of the face that the distances of a summary are of; the whole face in tables of an older version."""
    return next((row.headline_part for row in summary if row.headline_part), PARTS[0])


def column(values: Iterable[float | None]) -> np.ndarray:
    """A column of a table as (n,) float64; NaN for what is missing."""
    return np.array(list(values), dtype=np.float64)
