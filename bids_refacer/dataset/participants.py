"""Tables about participants: participants.tsv, those of the folder phenotype, and others like them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.rows.tsv import NOT_AVAILABLE, TableError, TextTable, read_tsv

MISSING = (NOT_AVAILABLE, "")
"""Cells without a value."""

_MOST = 3  # names in a sentence
_NUMBER = re.compile(r"(\d+)(?:\.0*)?")  # spreadsheets and data frames make numbers of labels


@dataclass(frozen=True, kw_only=True)
class ParticipantTable(TextTable):
    """A table with a column ``participant_id``; `notes` are sentences about labels that are not the dataset's."""

    notes: tuple[str, ...] = ()


def read_participants(path: Path, people: Collection[str] = ()) -> ParticipantTable:
    """Read a table with a column ``participant_id``, whose cells all become ``sub-LABEL``.

    Labels with and without ``sub-`` are the same participant, and so are labels that lost the zeros that they begin
    with, where that leaves no doubt. Rows of no participant are left out; several rows of one participant all stay.

    Parameters
    ----------
    path : of the table
    people : labels (without ``sub-``) of the dataset's participants; nothing is compared with them when empty

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
    rows = [row for row in table.cells if row[place].strip() not in MISSING]
    labels = [row[place].strip().removeprefix("sub-") for row in rows]
    known = {label.removeprefix("sub-") for label in people}
    right, notes = _match(list(dict.fromkeys(labels)), known, path.name)
    cells = [
        [*row[:place], f"sub-{right.get(label, label)}", *row[place + 1 :]]
        for row, label in zip(rows, labels, strict=True)
    ]
    return ParticipantTable(columns=table.columns, cells=cells, notes=tuple(notes))


def _match(labels: Collection[str], people: Collection[str], file: str) -> tuple[dict[str, str], list[str]]:
    """Label of a table -> the dataset's label that it stands for, where they differ; and what should be known of it."""
    by_number: dict[int, list[str]] = defaultdict(list)
    for name in sorted(people):
        if name.isdecimal():
            by_number[int(name)].append(name)
    written: dict[int, list[str]] = defaultdict(list)
    for label in labels:
        if number := _NUMBER.fullmatch(label):
            written[int(number[1])].append(label)
    right: dict[str, str] = {}
    notes: list[str] = []
    for value, candidates in by_number.items():
        spelled = [label for label in written[value] if label not in people]
        if len(candidates) == len(written[value]) == len(spelled) == 1:
            right[spelled[0]] = candidates[0]
        elif spelled:
            notes.append(
                f"{file}: {_some(spelled)} may be {' or '.join(f'sub-{name}' for name in candidates)}, which is not "
                "clear, so that nobody is taken for it: write the labels of the dataset into participant_id."
            )
    if right:
        written_so = [f"{label} is sub-{name}" for label, name in right.items()]
        notes.append(f"{file}: labels without their leading zeros are matched: {_some(written_so)}.")
    if people and labels and not right and not set(labels) & set(people):
        notes.append(
            f"{file} names none of the participants of the dataset (it has {_some(sorted(labels))}; the dataset has "
            f"{_some(sorted(people))}), so that nothing in it is used: correct its column participant_id."
        )
    return right, notes


def _some(names: Collection[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_MOST]) + (f" and {len(listed) - _MOST} more" if len(listed) > _MOST else "")
