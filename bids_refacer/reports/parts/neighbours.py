"""The pages before and after that of a participant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.tables import read_table


@dataclass(frozen=True)
class Neighbours:
    """Name and page of the participants before and after one; None at the ends."""

    before: tuple[str, str] | None
    after: tuple[str, str] | None


def everyone(table: Path) -> list[str]:
    """Participants (without ``sub-``) whom a table names, in order; none where there is no table.

    The table of status is read for it, which has a row for each image and tool: larger ones would cost too much.
    """
    return sorted({(row["participant_id"] or "").removeprefix("sub-") for row in read_table(table)})


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
