"""Tables (TSV) and their data dictionaries (JSON).

The dictionaries in ``bids_refacer/data/columns`` are the one place that names columns: a table has the columns of its
dictionary in their order, so that no column can be written without a description.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_refacer.dataset.rows.tsv import NOT_AVAILABLE, read_tsv
from bids_refacer.files import write_json, write_text
from bids_refacer.problems import printable

_OF_PARTICIPANTS = "Participants with results in this dataset; what else is known of them is in the source dataset."
TABLES = ("participants", "status", "defacing", "surfacedistance", "calibration", "recognition")
RELEASE_TABLES = ("release", "release_review")
GROUP_TABLES = tuple(
    f"group_{name}"
    for name in (
        "summary participants images surfacedistance comparison tools calibration identification cmc roc recognition "
        "recognition_comparison crowd reference phenotype phenotype_predictions"
    ).split()
)


def data_dictionary(table: str) -> dict[str, dict[str, Any]]:
    """Column name -> LongName, Description, Units, Levels of one of `TABLES`, in the order of the columns."""
    text = (files("bids_refacer") / "data" / "columns" / f"{table}.json").read_text(encoding="utf-8")
    content: dict[str, dict[str, Any]] = json.loads(text)
    return content


def write_table(path: Path, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as TSV with the columns of `table`; None, NaN and absent keys are written as ``n/a``.

    Numbers keep six significant digits; tabs and line breaks in texts become spaces. The file appears whole or not at
    all.

    Raises
    ------
    ValueError
        When a row has a key that the table's dictionary does not describe, or a value that is none of its levels.
    """
    write_lines(path, table, table_lines(path, table, rows))


def table_lines(path: Path, table: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines of rows as `write_table` writes them, without the header; `path` is for its errors."""
    columns = data_dictionary(table)
    lines = []
    for row in rows:
        unknown = set(row) - set(columns)
        if unknown:
            raise ValueError(f"{path}: the table '{table}' has no column {sorted(unknown)}: describe it in its JSON.")
        for name, value in row.items():
            levels = columns[name].get("Levels")
            if levels and value not in levels:
                raise ValueError(f"{path}: {value!r} is no level of the column '{name}': use one of {list(levels)}.")
        lines.append("\t".join(cell_text(row.get(name)) for name in columns))
    return lines


def write_lines(path: Path, table: str, lines: Iterable[str]) -> None:
    """Write lines of `table_lines` below the header of their table; the file appears whole or not at all."""
    write_text(path, "\n".join(["\t".join(data_dictionary(table)), *lines]) + "\n")


def write_dictionary(path: Path, table: str) -> None:
    """Write the data dictionary of `table` to `path` (JSON).

    The validator asks for a description of the table itself where it knows the table, which are the participants.
    """
    about = {"Description": _OF_PARTICIPANTS} if table == "participants" else {}
    write_json(path, {**about, **data_dictionary(table)})


def read_table(path: Path) -> list[dict[str, str | None]]:
    """Read a TSV as one dict of texts a row, ``n/a`` as None; an absent file is a table without rows.

    Raises
    ------
    TableError
        When the file is no table, or a row has not as many cells as the header.
    """
    return [cells for _, cells in read_numbered(path)]


def read_numbered(path: Path, participant: str | None = None) -> list[tuple[int, dict[str, str | None]]]:
    """`read_table` with the line of each row; with `participant` (``sub-01``) the rows about them alone."""
    if not path.exists():
        return []
    table = read_tsv(path, "delete the file and run again.")
    rows = list(enumerate(table.cells, start=2))
    if participant is not None and "participant_id" in table.columns:
        place = table.columns.index("participant_id")
        rows = [(number, cells) for number, cells in rows if cells[place] == participant]
    return [(number, dict(zip(table.columns, map(_cell, cells), strict=True))) for number, cells in rows]


def _cell(text: str) -> str | None:
    return None if text == NOT_AVAILABLE else text


def cell_text(value: Any) -> str:
    """A value as tables write it: ``n/a`` for None and NaN, numbers with six significant digits, texts in one line.

    Characters that control a terminal are written as Python escapes them.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_AVAILABLE
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(" ".join(str(value).split()) or NOT_AVAILABLE)
