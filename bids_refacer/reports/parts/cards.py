"""Verdict cards: what a steward has to know of a tool, with a row of small pictures, before everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bids_refacer.dataset.rows.group import SummaryRow
from bids_refacer.reports.findings import Marks, failed_images
from bids_refacer.reports.page import shown
from bids_refacer.reports.participant_data import ToolResult
from bids_refacer.reports.participant_pictures import ToolPictures, View
from bids_refacer.wording import counted

VIEW = "three-quarter"
"""The view of a face that small pictures show."""

_BRAIN = {"pass": "not cut", "warn": "a little cut, look at it", "fail": "cut"}


@dataclass(frozen=True)
class Thumbnail:
    """A small picture: data URI, and words below it."""

    source: str
    words: str


@dataclass(frozen=True)
class Card:
    """What stands on a card: both marks, pictures, and facts as name and words."""

    tool: str
    version: str | None
    marks: Marks
    pictures: Sequence[Thumbnail]
    facts: Sequence[tuple[str, str]]


def participant_card(
    tool: ToolResult, marks: Marks, pictures: Sequence[Thumbnail], recovered: float | None, average: float | None
) -> Card:
    """The card of a tool on the page of a participant; distances in mm, None where they were not measured."""
    facts, defacing = [], tool.defacing
    if recovered is not None:
        facts.append(("Recovered face", f"{shown(recovered)} mm from the true one"))
    if average is not None:
        facts.append(("Average face", f"{shown(average)} mm"))
    if defacing.worst_part and (left := getattr(defacing, f"{defacing.worst_part}_left_percent", None)) is not None:
        facts.append(("Skin left", f"at most {shown(left, 1)} % ({defacing.worst_part})"))
    if defacing.brain_verdict:
        facts.append(("Brain", _BRAIN[defacing.brain_verdict]))
    return Card(tool.tool, defacing.version, marks, pictures, facts)


def brain_thumbnails(pictures: ToolPictures) -> list[Thumbnail]:
    """What a shareable page may show: the brain alone."""
    return [Thumbnail(one.source, one.words) for one in pictures.brain]


def face_thumbnails(truth: Sequence[View], pictures: ToolPictures) -> list[Thumbnail]:
    """The true face, the defaced one, the recovered one, and the distance of this on the true one; those there are."""
    recovered = [face for face in pictures.faces if face.kind.startswith("refaced")]
    defaced = [face for face in pictures.faces if face.kind == "defaced"]
    maps = [face for face in pictures.maps if face.kind.startswith("refaced")]
    shown_faces = {"defaced": defaced, "recovered": recovered, "distance": maps}
    rows = {"original": truth} | {words: faces[0].views for words, faces in shown_faces.items() if faces}
    return [Thumbnail(view.source, words) for words, views in rows.items() for view in views if view.view == VIEW]


def group_card(row: SummaryRow, marks: Marks) -> Card:
    """The card of a tool on the page of a group."""
    facts = []
    if row.recovered_mm is not None:
        facts.append(("Recovered face", f"{shown(row.recovered_mm)} mm from the true one"))
        facts.append(("Average face", f"{shown(row.average_mm)} mm"))
    if row.rank1 is not None:
        chance = f", by chance {shown(row.rank1_chance, 1, percent=True)}" if row.rank1_chance is not None else ""
        facts.append(("Found again", f"{shown(row.rank1, 0, percent=True)} at rank 1{chance}"))
    if row.n_judged:
        judged = counted(row.n_judged, "image")
        facts.append(("Face left", f"in {row.n_face_fail or 0} of {judged}, {row.n_face_warn or 0} to look at"))
        facts.append(("Brain cut", f"in {row.n_brain_fail or 0} of {judged}"))
    if failed := failed_images(row):
        facts.append(("To do again", f"{failed} of {counted(row.n_images or 0, 'image')}"))
    return Card(str(row.tool), row.version, marks, (), facts)
