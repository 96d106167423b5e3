"""Typed rows: a dataclass for each table, read from its TSV and written to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.rows.checked import check_cells
from bids_refacer.dataset.tables import read_numbered, table_lines, write_table
from bids_refacer.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table; the fields are the columns of its data dictionary, in the same order."""

    table: ClassVar[str]


RowType = TypeVar("RowType", bound=Row)
Kind = type[str] | type[int] | type[float]


def read_rows(path: Path, kind: type[RowType], participant: str | None = None) -> list[RowType]:
    """Rows of a TSV; none where there is no file. Columns that an older table lacks are None, others are passed over.

    With `participant` (``sub-01``), rows about others are passed over unread.

    Raises
    ------
    ValueError
        When a cell is no number in a column of numbers, or lines have different numbers of cells, or when one names a
        participant or a file that no output can be about.
    """
    columns = columns_of(kind)
    lines = read_numbered(path, participant)
    for number, cells in lines:
        check_cells(f"{path}, line {number}:", cells, "delete the file and run again.")
    return [kind(**_values(path, number, columns, cells)) for number, cells in lines]


def rows_of(layout: Layout, kind: type[RowType], participant: str | None = None) -> list[RowType]:
    """Rows of a table of the shareable dataset; see `read_rows`."""
    return read_rows(dataset_table(layout, kind.table), kind, participant)


def write_rows(path: Path, kind: type[RowType], rows: Iterable[RowType]) -> None:
    """Write rows as TSV; see `dataset.tables.write_table`."""
    write_table(path, kind.table, [_cells(row) for row in rows])


def lines_of(path: Path, kind: type[RowType], rows: Iterable[RowType]) -> list[str]:
    """The lines of rows in their table; see `dataset.tables.table_lines`."""
    return table_lines(path, kind.table, [_cells(row) for row in rows])


def row_from(kind: type[RowType], cells: Mapping[str, object]) -> RowType:
    """A row from values by their columns, as JSON holds them. Raises TypeError for a wrong column, or type of value."""
    allowed = _allowed(kind)  # type: ignore[arg-type]  # mypy takes no class with a TypeVar for hashable
    for name, value in cells.items():
        if name not in allowed or isinstance(value, bool) or not isinstance(value, allowed[name]):
            raise TypeError(f"the table '{kind.table}' has no column {name} with {value!r} in it")
    return kind(**cells)


@cache
def _allowed(kind: type) -> dict[str, tuple[type, ...]]:
    """Types of the values of each column; JSON may hold a number of a column of floats as an int."""
    hints = get_type_hints(kind)
    types = {one.name: get_args(hints[one.name]) or (hints[one.name],) for one in fields(kind)}
    return {name: (*own, int) if float in own else own for name, own in types.items()}


def _cells(row: Row) -> dict[str, str | int | float]:
    return {name: value for name, value in asdict(row).items() if value is not None}


def _values(path: Path, number: int, columns: Mapping[str, Kind], cells: Mapping[str, str | None]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, convert in columns.items():
        text = cells.get(name)
        try:
            values[name] = None if text is None else convert(text)
        except ValueError as error:
            raise ValueError(
                f"{path} has '{text}' in line {number}, column '{name}', where a number must be: delete the file and "
                "run again."
            ) from error
    return values


def columns_of(kind: type[Row]) -> dict[str, Kind]:
    """The columns of a table in their order, and what each of their cells is: a text, or a number of one kind."""
    hints = get_type_hints(kind)
    return {field.name: (get_args(hints[field.name]) or (hints[field.name],))[0] for field in fields(kind)}
