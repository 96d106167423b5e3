"""The page of a group: which tool to use and how sure that is, who has to be done again, and every number behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_refacer.dataset.description import read_description
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import dataset_table, group_page, participant_page
from bids_refacer.dataset.tables import GROUP_TABLES, TABLES, data_dictionary
from bids_refacer.reports import answers
from bids_refacer.reports.group_plots import Row, Tables, from_faces, group_plots, of
from bids_refacer.reports.page import markdown, write_page
from bids_refacer.reports.rows import blank, read_rows
from bids_refacer.reports.theme import WORDS

_STATES = {"failed": 0, "excluded": 1, "absent": 2, "missing": 3, "used": 5}
_SAID = {
    "failed": "failed",
    "excluded": "do again: defacing failed",
    "absent": "not run yet",
    "missing": "no result with this tool",
    "used": "counts",
    "look": "counts, look at it",
}
# what the page opens; (column of links, words)
_SECTIONS = (
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


def write_group_page(output_dir: Path) -> Path:
    """Make ``group.html`` from the tables of the group level.

    Parameters
    ----------
    output_dir : where the tables are, and the page will be

    Raises
    ------
    PageError
        When the group level has not run there.
    """
    tables = {name: read_rows(output_dir, name) for name in GROUP_TABLES}
    if not tables["group_images"]:
        raise PageError(f"{dataset_table(output_dir, 'group_images')} has no rows: run the level 'group' first.")
    path = group_page(output_dir)
    suffixes = sorted({str(row["suffix"]) for row in tables["group_participants"]})
    write_page(
        path,
        "group.html.j2",
        {
            "title": f"Which defacing tool? {_dataset_name(output_dir)}",
            "private": False,
            "sections": _SECTIONS,
            "kinds": [_kind(tables, suffix) for suffix in suffixes],
            "people": _people(tables, output_dir),
            "notes": _part(output_dir, "group.md", "## What was found", "## Made with"),
            "rules": _part(output_dir, "group.md", "# Group level", "## What was found"),
            "made": _part(output_dir, "group.md", "## Made with", None),
            "methods": _part(output_dir, "CITATION.md", "", None),
            "files": _files(output_dir),
            "words": WORDS,
        },
    )
    return path


def _kind(tables: Tables, suffix: str) -> dict[str, Any]:
    """Everything about one kind of image."""
    summary = of(tables["group_summary"], suffix=suffix)
    tests = of(tables["group_tools"], suffix=suffix)
    plots = group_plots(tables, suffix)
    phenotypes = from_faces(of(tables["group_phenotype"], suffix=suffix))
    targets = list(dict.fromkeys(row["target"] for row in phenotypes))
    return {
        "suffix": suffix,
        "choice": answers.choice_lines(summary, tests),
        "sure": answers.sure_lines(summary, tests),
        "redo": answers.redo_line(of(tables["group_participants"], suffix=suffix), _nameless(tables)),
        "tools": [_tool(row, phenotypes, targets) for row in summary],
        "targets": targets,
        "plots": [(plot, plot.drawn(suffix)) for plot in plots],
    }


def _tool(row: Row, phenotypes: Sequence[Row], targets: Sequence[str | None]) -> dict[str, Any]:
    """A row of the table of tools: its figures, and a line in plain language for each."""
    science, empty = [], blank("group_phenotype")
    for target in targets:
        original = next(iter(of(phenotypes, target=target, image_type="original")), None)
        defaced = next(iter(of(phenotypes, target=target, image_type="defaced", tool=row["tool"])), None)
        line = answers.phenotype_line(original, defaced)
        science.append({"target": target, "original": original or empty, "defaced": defaced or empty, "line": line})
    return {
        "row": row,
        "face": answers.face_line(row),
        "distance": answers.distance_line(row),
        "identity": answers.identity_line(row),
        "brain": answers.brain_line(row),
        "science": science,
    }


def _nameless(tables: Tables) -> list[Row]:
    """Rows of group_images that name no tool: images that failed before any, and participants without result."""
    return [row for row in tables["group_images"] if row.get("tool") is None or row.get("image") is None]


def _people(tables: Tables, output_dir: Path) -> list[dict[str, Any]]:
    """Rows of the list of participants, those to do again first."""
    found = []
    nameless = [{**blank("group_participants"), **row} for row in _nameless(tables)]
    for row in [*tables["group_participants"], *nameless]:
        state = str(row["state"])
        if state == "used" and "warn" in (row.get("face_verdict"), row.get("brain_verdict")):
            state = "look"
        page = participant_page(output_dir, str(row["participant_id"]).removeprefix("sub-"))
        rank = _STATES.get(state, 4)
        said = {"state": state, "said": _SAID[state], "rank": rank, "page": page.name if page.is_file() else None}
        found.append({"row": row, **said})
    return sorted(found, key=lambda one: (one["rank"], one["row"]["participant_id"], one["row"].get("tool") or ""))


def _files(output_dir: Path) -> list[tuple[str, str]]:
    """Name and words of every table and text of the dataset that is there."""
    found = []
    for name in (*GROUP_TABLES, *TABLES):
        path = dataset_table(output_dir, name)
        if path.is_file():
            found.append((path.name, f"{len(data_dictionary(name))} columns"))
            if path.with_suffix(".json").is_file():
                found.append((path.with_suffix(".json").name, "what the columns mean"))
    texts = {"group.md": "this page's findings as text", "CITATION.md": "methods text", "README": "the dataset"}
    return found + [(name, words) for name, words in texts.items() if (output_dir / name).is_file()]


def _part(output_dir: Path, name: str, start: str, end: str | None) -> Any:
    """A part of a text file of the dataset as HTML, without its first heading; None when it is not there."""
    path = output_dir / name
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    if start not in text:
        return None
    body = text[text.index(start) :]
    body = body[: body.index(end)] if end and end in body else body
    return markdown(body.split("\n", 1)[1] if start else body) if body.strip() else None


def _dataset_name(output_dir: Path) -> str:
    name = str(read_description(output_dir).get("Name", output_dir.name))
    return name.removeprefix("Audit of defacing: ")
