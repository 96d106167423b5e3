"""The list of participants on the page of a group, those to do again first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bids_refacer.dataset.names import participant_page
from bids_refacer.dataset.rows.group import GroupImageRow, GroupParticipantRow
from bids_refacer.layout import Layout
from bids_refacer.reports.findings import to_look_at
from bids_refacer.reports.group_tables import GroupTables
from bids_refacer.reports.page import rendered, script_json

PAGE_ROWS = 50
"""Rows of the list that stand on the page; a script shows the others, which are in the table as well."""


HEADS = {  # columns of figures; one in which nobody has anything is left out
    "face_verdict": "Face removed",
    "worst_part_left_percent": "left of the worst part, %",
    "brain_verdict": "Brain cut",
    "brain_removed_percent": "cut, %",
    "recovered_mm": "Recovered, mm",
    "average_mm": "Average, mm",
    "run_time_s": "Time, s",
    "reason": "What to know",
}
DIGITS = {
    "worst_part_left_percent": 1,
    "brain_removed_percent": 2,
    "recovered_mm": 2,
    "average_mm": 2,
    "run_time_s": 0,
}


@dataclass(frozen=True)
class State:
    """How a participant fared with a tool: place in the list, the ones to do again first, and words."""

    rank: int
    words: str


_STATES = {
    "failed": State(0, "failed"),
    "excluded": State(1, "do again: defacing failed"),
    "absent": State(2, "not run yet"),
    "missing": State(3, "no result with this tool"),
    "unfinished": State(4, "not done yet"),
    "look": State(5, "counts, look at it"),
    "used": State(6, "counts"),
}


@dataclass(frozen=True)
class ListedParticipant:
    """A line of the list of participants.

    Attributes
    ----------
    row : figures with one tool; of an image that failed before any tool, its participant, state and reason
    state : a key of `_STATES`
    rank, words : of this state
    page : name of the participant's page; None where there is none
    """

    row: GroupParticipantRow
    state: str
    rank: int
    words: str
    page: str | None


def without_tool(tables: GroupTables) -> list[GroupImageRow]:
    """Images that failed before any tool, and participants without result."""
    return [row for row in tables.images if row.tool is None or row.image is None]


def listed_participants(tables: GroupTables, layout: Layout) -> list[ListedParticipant]:
    """The list of participants, those to do again first."""
    nameless = [
        GroupParticipantRow(
            participant_id=row.participant_id, suffix="", tool=row.tool, state=row.state, reason=row.reason
        )
        for row in without_tool(tables)
    ]
    pages = participant_pages(tables, layout)
    listed = [_listed(row, pages) for row in [*tables.participants, *nameless]]
    return sorted(listed, key=lambda one: (one.rank, one.row.participant_id, one.row.tool or ""))


def participant_pages(tables: GroupTables, layout: Layout) -> dict[str, str]:
    """Name of the page of every participant (with ``sub-``) who has one."""
    names = {row.participant_id for row in tables.participants} | {row.participant_id for row in tables.images}
    pages = {name: participant_page(layout, name.removeprefix("sub-")) for name in sorted(names)}
    return {name: page.name for name, page in pages.items() if page.is_file()}


def people_values(people: Sequence[ListedParticipant], several: bool) -> dict[str, object]:
    """What the template needs for the list; `several` is whether there are several kinds of image."""
    columns = [name for name in HEADS if any(getattr(one.row, name) is not None for one in people)]
    heads = {"words": HEADS, "numeric": DIGITS}
    rest = [rendered("people.html.j2", "person", one, columns, heads, several) for one in people[PAGE_ROWS:]]
    return {"people": people, "columns": columns, "heads": heads, "page_rows": PAGE_ROWS, "rest": script_json(rest)}


def _listed(row: GroupParticipantRow, pages: dict[str, str]) -> ListedParticipant:
    name = "look" if to_look_at(row) else str(row.state)
    state = _STATES[name]
    return ListedParticipant(row, name, state.rank, state.words, pages.get(row.participant_id))
