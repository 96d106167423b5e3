"""The page of a group: which tool to use and how sure that is, who has to be done again, and every number behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bids_refacer.dataset.descriptions.derivatives import read_description
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import dataset_table, figures_dir, group_page
from bids_refacer.dataset.rows.group import GroupParticipantRow, SummaryRow
from bids_refacer.dataset.rows.group_people import PhenotypeRow
from bids_refacer.dataset.tables import GROUP_TABLES, TABLES, data_dictionary
from bids_refacer.layout import Layout
from bids_refacer.reports import answer, findings
from bids_refacer.reports.group_plots import group_plots
from bids_refacer.reports.group_tables import (
    GroupTables,
    column,
    headline_part,
    matching,
    of_suffix,
    read_group_tables,
    shown_phenotypes,
)
from bids_refacer.reports.notes.recognition import recognition_line, town_lines
from bids_refacer.reports.notes.same_cut import same_cut_lines, summary_same_cut
from bids_refacer.reports.notes.unfinished import unfinished_lines
from bids_refacer.reports.page import markdown, write_page
from bids_refacer.reports.parts import people
from bids_refacer.reports.parts.cards import Card, group_card
from bids_refacer.reports.parts.figure_files import write_figures
from bids_refacer.reports.parts.strip import strip
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
class PhenotypeKept:
    """What a tool leaves of the signal of one phenotype; rows are None where nothing was predicted."""

    target: str
    original: PhenotypeRow | None
    defaced: PhenotypeRow | None
    line: str


@dataclass(frozen=True)
class ToolLine:
    """A tool: its card with a small plot, its figures for the table, and a sentence for each question."""

    row: SummaryRow
    card: Card
    strip: Markup
    marks: findings.Marks
    face: str
    distance: str
    identity: str
    brain: str
    recognition: str
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
    tools : a card and a line of the table for each tool
    columns : of those that a table may lack, the ones in which any tool has anything
    plots : each with its figures as SVG
    """

    suffix: str
    headline: str
    place: str
    choice: Sequence[str]
    sure: Sequence[str]
    redo: str
    tools: Sequence[ToolLine]
    columns: Sequence[str]
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
    listed = people.listed_participants(tables, layout)
    pages = people.participant_pages(tables, layout)
    kinds = [_image_kind(tables, suffix, pages) for suffix in suffixes]
    write_page(
        path,
        "group.html.j2",
        {
            "title": f"Which defacing tool for the dataset '{_dataset_name(layout)}'?",
            "private": False,
            "sections": _SECTIONS,
            "kinds": kinds,
            **people.people_values(listed, len(suffixes) > 1),
            "notes": _part(layout, "group.md", "## What was found", "## Made with"),
            "rules": _part(layout, "group.md", "# Group level", "## What was found"),
            "made": _part(layout, "group.md", "## Made with", None),
            "methods": _part(layout, "CITATION.md", "", None),
            "files": _files(layout),
            "words": WORDS,
        },
    )
    figures = {
        f"{kind.suffix}_{plot.name}-{number}": str(svg)
        for kind in kinds
        for plot, drawn in kind.plots
        for number, svg in enumerate(drawn, start=1)
    }
    write_figures(figures_dir(layout), "group_", figures)
    return path


def _image_kind(tables: GroupTables, suffix: str, pages: Mapping[str, str]) -> ImageKind:
    own = of_suffix(tables, suffix)
    phenotypes, headline = shown_phenotypes(own.phenotypes), headline_part(own.summary)
    tests = answer.number_of_tests(own.summary)
    return ImageKind(
        suffix=suffix,
        headline=headline,
        place=PLACES[headline],
        choice=[*answer.answer_lines(own.summary, own.tools), *town_lines(own.summary)],
        sure=[
            *unfinished_lines(own.summary),
            *same_cut_lines(summary_same_cut(own.summary)),
            *findings.sure_lines(own.summary, own.tools),
            *findings.warned_lines(own.participants),
        ],
        redo=findings.redo_line(own.participants, people.without_tool(tables)),
        tools=[_tool_line(row, phenotypes, tests, _strip(own.participants, row.tool)) for row in own.summary],
        columns=_columns(own.summary, phenotypes),
        plots=[(plot, plot.drawn(suffix, pages)) for plot in group_plots(tables, suffix)],
    )


def _tool_line(row: SummaryRow, phenotypes: Sequence[PhenotypeRow], tests: int, dots: Markup) -> ToolLine:
    targets = dict.fromkeys(str(row.target) for row in phenotypes)
    marks = findings.tool_marks(row)
    return ToolLine(
        row=row,
        card=group_card(row, marks),
        strip=dots,
        marks=marks,
        face=findings.face_line(row),
        distance=findings.distance_line(row, tests),
        identity=findings.identity_line(row),
        brain=findings.brain_line(row),
        recognition=recognition_line(row),
        phenotypes=[_phenotype_kept(matching(phenotypes, target=target), target, row.tool) for target in targets],
    )


def _columns(summary: Sequence[SummaryRow], phenotypes: Sequence[PhenotypeRow]) -> list[str]:
    known = {
        "identity": any(row.rank1 is not None for row in summary),
        "recognition": any(row.recogniser_rank1 is not None for row in summary),
        "phenotypes": bool(phenotypes),
        "run_time": any(row.run_time_median_s is not None for row in summary),
    }
    return [name for name, there in known.items() if there]


def _strip(rows: Sequence[GroupParticipantRow], tool: str | None) -> Markup:
    """How much nearer the recovered face is than an average one, of each participant; nothing where nobody has both."""
    known = [row for row in rows if row.recovered_mm is not None and row.average_mm is not None]
    limit = max((abs(_difference(row)) for row in known), default=0.0)
    own = [row for row in known if row.tool == tool]
    if not own or not limit:
        return Markup("")
    return strip(str(tool), [row.participant_id for row in own], column(map(_difference, own)), limit)


def _difference(row: GroupParticipantRow) -> float:
    return (row.recovered_mm or 0.0) - (row.average_mm or 0.0)


def _phenotype_kept(rows: Sequence[PhenotypeRow], target: str, tool: str | None) -> PhenotypeKept:
    original = next(iter(matching(rows, image_type="original")), None)
    defaced = next(iter(matching(rows, image_type="defaced", tool=tool)), None)
    return PhenotypeKept(target, original, defaced, findings.phenotype_line(original, defaced))


def _files(layout: Layout) -> list[tuple[str, str]]:
    """Name and words of every table and text of the dataset that is there."""
    found = []
    for name in (*GROUP_TABLES, *TABLES):
        path = dataset_table(layout, name)
        if path.is_file():
            found.append((path.name, f"{counted(len(data_dictionary(name)), 'column')}"))
            if path.with_suffix(".json").is_file():
                found.append((path.with_suffix(".json").name, "what the columns mean"))
    texts = {
        "group.md": "this page's findings as text",
        "CITATION.md": "methods text",
        "CITATION.bib": "its references",
        "README": "the dataset",
    }
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
