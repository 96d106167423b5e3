"""Tables about participants: participants.tsv, those of the folder phenotype, and others like them."""

from __future__ import annotations

from pathlib import Path

from bids_refacer.dataset.rows.tsv import NOT_AVAILABLE, TableError, TextTable, read_tsv

MISSING = (NOT_AVAILABLE, "")
"""Cells without a value."""


def read_participants(path: Path) -> TextTable:
    """Read a table with a column ``participant_id``, whose cells all become ``sub-LABEL``.

    Labels with and without ``sub-`` are the same participant. Rows of no participant are left out; several rows of one
    participant all stay.

    Raises
    ------
    TableError
        When the file is no table, or has no such column.
    """
    table = read_tsv(path, "give a tab-separated file.", short_rows=True)
    if "participant_id" not in table.columns:
        raise TableError(
            f"{path} has no column 'participant_id': add it, or remove the file; columns are separated by tabs."
        )
    place = table.columns.index("participant_id")
    cells = []
    for row in table.cells:
        participant = row[place].strip()
        if participant not in MISSING:
            cells.append([*row[:place], f"sub-{participant.removeprefix('sub-')}", *row[place + 1 :]])
    return TextTable(columns=table.columns, cells=cells)
