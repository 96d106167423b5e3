"""The page of a group: which tool to use and how sure that is, who has to be done again, and every number behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bids_refacer.dataset.descriptions.derivatives import read_description
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import dataset_table, group_page, participant_page
from bids_refacer.dataset.rows.group import GroupImageRow, GroupParticipantRow, SummaryRow
from bids_refacer.dataset.rows.group_people import PhenotypeRow
from bids_refacer.dataset.tables import GROUP_TABLES, TABLES, data_dictionary
from bids_refacer.layout import Layout
from bids_refacer.reports import answer, findings
from bids_refacer.reports.group_plots import group_plots
from bids_refacer.reports.group_tables import (
    GroupTables,
    headline_part,
    matching,
    of_suffix,
    read_group_tables,
    shown_phenotypes,
)
from bids_refacer.reports.notes.same_cut import same_cut_lines, summary_same_cut
from bids_refacer.reports.notes.unfinished import unfinished_lines
from bids_refacer.reports.page import markdown, write_page
from bids_refacer.reports.theme import WORDS, Plot
from bids_refacer.surfaces.region import PLACES
from bids_refacer.wording import counted

_SECTIONS = (  # id of the section, words of the link that leads there
    ("answer", "The answer"),
    ("tools", "Tools"),
    ("participants", "Participants"),
    ("figures", "Figures"),
    ("assumptions", "What the attack assumes"),
    ("methods", "Methods"),
    ("files", "Files"),
)


class PageError(DatasetError):
    """A page cannot be made: one sentence with the file, what is wrong, and the remedy."""


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


@dataclass(frozen=True)
class PhenotypeKept:
    """What a tool leaves of the signal of one phenotype; rows are None where nothing was predicted."""

    target: str
    original: PhenotypeRow | None
    defaced: PhenotypeRow | None
    line: str


@dataclass(frozen=True)
class ToolLine:
    """A line of the table of tools: its figures, and a sentence for each question."""

    row: SummaryRow
    marks: findings.Marks
    face: str
    distance: str
    identity: str
    brain: str
    phenotypes: Sequence[PhenotypeKept]


@dataclass(frozen=True)
class ImageKind:
    """Everything about one kind of image, such as T1w.

    Attributes
    ----------
    suffix : of the images
    headline : the part of the face that distances are of
    place : the same in words
    choice, sure, redo : sentences of the first answer
    tools : lines of the table of tools
    plots : each with its figures as SVG
    """

    suffix: str
    headline: str
    place: str
    choice: Sequence[str]
    sure: Sequence[str]
    redo: str
    tools: Sequence[ToolLine]
    plots: Sequence[tuple[Plot, Sequence[Markup]]]


def write_group_page(layout: Layout) -> Path:
    """Make ``group.html`` from the tables of the group level.

    Parameters
    ----------
    layout : where the tables are, and the page will be

    Raises
    ------
    PageError
        When the group level has not run there.
    """
    tables = read_group_tables(layout)
    if not tables.images:
        raise PageError(f"{dataset_table(layout, 'group_images')} has no rows: run the level 'group' first.")
    path = group_page(layout)
    suffixes = sorted({row.suffix for row in tables.participants})
    write_page(
        path,
        "group.html.j2",
        {
            "title": f"Which defacing tool for the dataset '{_dataset_name(layout)}'?",
            "private": False,
            "sections": _SECTIONS,
            "kinds": [_image_kind(tables, suffix) for suffix in suffixes],
            "people": _listed_participants(tables, layout),
            "notes": _part(layout, "group.md", "## What was found", "## Made with"),
            "rules": _part(layout, "group.md", "# Group level", "## What was found"),
            "made": _part(layout, "group.md", "## Made with", None),
            "methods": _part(layout, "CITATION.md", "", None),
            "files": _files(layout),
            "words": WORDS,
        },
    )
    return path


def _image_kind(tables: GroupTables, suffix: str) -> ImageKind:
    own = of_suffix(tables, suffix)
    phenotypes, headline = shown_phenotypes(own.phenotypes), headline_part(own.summary)
    tests = answer.number_of_tests(own.summary)
    return ImageKind(
        suffix=suffix,
        headline=headline,
        place=PLACES[headline],
        choice=answer.answer_lines(own.summary, own.tools),
        sure=[
            *unfinished_lines(own.summary),
            *same_cut_lines(summary_same_cut(own.summary)),
            *findings.sure_lines(own.summary, own.tools),
            *findings.warned_lines(own.participants),
        ],
        redo=findings.redo_line(own.participants, _without_tool(tables)),
        tools=[_tool_line(row, phenotypes, tests) for row in own.summary],
        plots=[(plot, plot.drawn(suffix)) for plot in group_plots(tables, suffix)],
    )


def _tool_line(row: SummaryRow, phenotypes: Sequence[PhenotypeRow], tests: int) -> ToolLine:
    targets = dict.fromkeys(str(row.target) for row in phenotypes)
    return ToolLine(
        row=row,
        marks=findings.tool_marks(row),
        face=findings.face_line(row),
        distance=findings.distance_line(row, tests),
        identity=findings.identity_line(row),
        brain=findings.brain_line(row),
        phenotypes=[_phenotype_kept(matching(phenotypes, target=target), target, row.tool) for target in targets],
    )


def _phenotype_kept(rows: Sequence[PhenotypeRow], target: str, tool: str | None) -> PhenotypeKept:
    original = next(iter(matching(rows, image_type="original")), None)
    defaced = next(iter(matching(rows, image_type="defaced", tool=tool)), None)
    return PhenotypeKept(target, original, defaced, findings.phenotype_line(original, defaced))


def _without_tool(tables: GroupTables) -> list[GroupImageRow]:
    """Images that failed before any tool, and participants without result."""
    return [row for row in tables.images if row.tool is None or row.image is None]


def _listed_participants(tables: GroupTables, layout: Layout) -> list[ListedParticipant]:
    """The list of participants, those to do again first."""
    nameless = [
        GroupParticipantRow(
            participant_id=row.participant_id, suffix="", tool=row.tool, state=row.state, reason=row.reason
        )
        for row in _without_tool(tables)
    ]
    listed = [_listed(row, layout) for row in [*tables.participants, *nameless]]
    return sorted(listed, key=lambda one: (one.rank, one.row.participant_id, one.row.tool or ""))


def _listed(row: GroupParticipantRow, layout: Layout) -> ListedParticipant:
    name = "look" if findings.to_look_at(row) else str(row.state)
    state = _STATES[name]
    page = participant_page(layout, row.participant_id.removeprefix("sub-"))
    return ListedParticipant(row, name, state.rank, state.words, page.name if page.is_file() else None)


def _files(layout: Layout) -> list[tuple[str, str]]:
    """Name and words of every table and text of the dataset that is there."""
    found = []
    for name in (*GROUP_TABLES, *TABLES):
        path = dataset_table(layout, name)
        if path.is_file():
            found.append((path.name, f"{counted(len(data_dictionary(name)), 'column')}"))
            if path.with_suffix(".json").is_file():
                found.append((path.with_suffix(".json").name, "what the columns mean"))
    texts = {"group.md": "this page's findings as text", "CITATION.md": "methods text", "README": "the dataset"}
    return found + [(name, words) for name, words in texts.items() if (layout.shareable / name).is_file()]


def _part(layout: Layout, name: str, start: str, end: str | None) -> Markup | None:
    """A part of a text file of the dataset as HTML, without its first heading; None when it is not there."""
    path = layout.shareable / name
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    if start not in text:
        return None
    body = text[text.index(start) :]
    body = body[: body.index(end)] if end and end in body else body
    return markdown(body.split("\n", 1)[1] if start else body) if body.strip() else None


def _dataset_name(layout: Layout) -> str:
    name = str(read_description(layout.shareable).get("Name", layout.output_dir.name))
    return name.removeprefix("Audit of defacing: ")
