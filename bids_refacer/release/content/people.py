"""Tables of a release: no columns that name a person, no times, no rows about what is not released."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from bids_refacer.dataset.rows.tsv import NOT_AVAILABLE, read_tsv
from bids_refacer.release.content.metadata import Lists, Removed

OLDEST = 89
"""Ages above are not told apart (45 CFR 164.514(b)(2)(i)(C)); BIDS wants such an age as this number."""

_REMEDY = "correct it, or leave the file out of the dataset."
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d+)?(Z?)")
_LEAST_YEARS, _SPREAD_YEARS = 120, 20
"""Dates are moved back by so many years, and by up to so many more: BIDS knows shifted dates by years before 1925."""


@dataclass(frozen=True, kw_only=True)
class TableRules:
    """What is done with tables.

    Attributes
    ----------
    lists : columns by their names
    cap_ages : whether ages over `OLDEST` become `OLDEST`
    shift_key : secret from which the offset of each participant comes; None where times are removed
    """

    lists: Lists
    cap_ages: bool = False
    shift_key: bytes | None = None


def release_table(
    path: Path, name: str, rules: TableRules, withheld: Collection[str]
) -> tuple[str | None, list[Removed]]:
    """The text of a table as it is released, None where that is the file's own, and what was removed.

    Parameters
    ----------
    path : of the table
    name : its path in the dataset, with forward slashes
    rules : what is done
    withheld : paths of all that is not released, and of folders without anything that is

    Raises
    ------
    TableError
        When the file is no table.
    """
    table = read_tsv(path, _REMEDY, short_rows=True)
    removed: list[Removed] = []
    columns = [list(column) for column in zip(*table.cells, strict=True)] or [[] for _ in table.columns]
    kept: dict[str, list[str]] = {}
    for title, cells in zip(table.columns, columns, strict=True):
        changed = _column(title, cells, name, rules)
        if changed is None or changed != cells:
            removed.append(Removed(field=title, value=cells))
        if changed is not None:
            kept[title] = changed
    every = zip(*kept.values(), strict=True)
    rows = [row for row in every if _subject(dict(zip(kept, row, strict=True)), name) not in withheld]
    if len(rows) == len(table.cells) and not removed:
        return None, []
    return "".join("\t".join(row) + "\n" for row in (tuple(kept), *rows)), removed


def _column(title: str, cells: list[str], name: str, rules: TableRules) -> list[str] | None:
    """The cells of a column as they are released; None where it is removed."""
    low = title.lower()
    if rules.lists.denies_column(title):
        return None
    if low in rules.lists.time_columns - rules.lists.asked:
        if rules.shift_key is None:
            return None
        return [_shifted(cell, rules.shift_key, name) for cell in cells]
    if rules.cap_ages and low == "age":
        return [_capped(cell) for cell in cells]
    return cells


def _capped(cell: str) -> str:
    try:
        return str(OLDEST) if float(cell.rstrip("+")) > OLDEST else cell
    except ValueError:
        return cell


def _shifted(cell: str, key: bytes, name: str) -> str:
    """A time moved back by the offset of the participant in whose folder the table lies; else ``n/a``."""
    match = _TIME.fullmatch(cell.strip())
    if match is None:
        return NOT_AVAILABLE
    moved = datetime.fromisoformat(match[1]) - timedelta(days=_offset_days(key, PurePosixPath(name).parts[0]))
    return f"{moved.isoformat()}{match[2] or ''}{match[3]}"


def _offset_days(key: bytes, participant: str) -> int:
    """Days by which all times of a participant are moved back, which nobody can tell without the key."""
    number = int.from_bytes(hmac.new(key, participant.encode(), hashlib.sha256).digest()[:8], "big")
    return 365 * _LEAST_YEARS + number % (365 * _SPREAD_YEARS)


def _subject(row: dict[str, str], name: str) -> str | None:
    """The file or folder that a row is about; None for rows of other tables."""
    folder, kind = PurePosixPath(name).parent, PurePosixPath(name).stem.split("_")[-1]
    if kind == "scans" and "filename" in row:
        return (folder / row["filename"].strip()).as_posix()
    if kind == "sessions" and "session_id" in row:
        return (folder / row["session_id"].strip()).as_posix()
    if name == "participants.tsv" and "participant_id" in row:
        return f"sub-{row['participant_id'].strip().removeprefix('sub-')}"
    return None
