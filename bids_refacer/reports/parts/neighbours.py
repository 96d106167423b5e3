"""The pages before and after that of a participant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Neighbours:
    """Name and page of the participants before and after one; None at the ends."""

    before: tuple[str, str] | None
    after: tuple[str, str] | None


def everyone(table: Path) -> list[str]:
    """Participants (without ``sub-``) whom a table names, in order; none where there is no table.

    Only their column is read: a page of one participant must not cost the tables of all.
    """
    if not table.is_file():
        return []
    with table.open(encoding="utf-8") as lines:
        column = next(lines, "").rstrip("\n").split("\t").index("participant_id")
        return sorted({line.rstrip("\n").split("\t")[column].removeprefix("sub-") for line in lines})


def neighbours(labels: Sequence[str], label: str) -> Neighbours:
    """The participants before and after one, None at the ends and for one who is not among them."""
    if label not in labels:
        return Neighbours(None, None)
    place = labels.index(label)
    before = labels[place - 1] if place else None
    after = labels[place + 1] if place + 1 < len(labels) else None
    return Neighbours(_link(before) if before else None, _link(after) if after else None)


def _link(label: str) -> tuple[str, str]:
    return f"sub-{label}", f"sub-{label}.html"
