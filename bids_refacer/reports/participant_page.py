"""Pages of a participant: one without any face, to be shared, and one with faces, for the identifiable dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.names import dataset_table, faces_page, figures_dir, group_page, participant_page, tool_label
from bids_refacer.dataset.rows.audit import CalibrationRow, DefacingRow, DistanceRow, StatusRow
from bids_refacer.layout import Layout
from bids_refacer.reports.faces import LIMIT_MM
from bids_refacer.reports.findings import image_marks
from bids_refacer.reports.notes.recognition import recognised_lines
from bids_refacer.reports.notes.same_cut import same_cut_counts, same_cut_lines
from bids_refacer.reports.page import write_page
from bids_refacer.reports.participant_data import ImageResult, ParticipantResult, ToolResult, gather, read_tables
from bids_refacer.reports.participant_pictures import (
    StackedImage,
    ToolPictures,
    TrueHead,
    View,
    brain_pictures,
    face_pictures,
    read_true_head,
    renders,
)
from bids_refacer.reports.parts.cards import Card, brain_thumbnails, face_thumbnails, participant_card
from bids_refacer.reports.parts.figure_files import write_figures
from bids_refacer.reports.parts.neighbours import Neighbours, everyone, neighbours
from bids_refacer.reports.parts.participant_figures import distances_figure
from bids_refacer.reports.parts.provenance import provenance
from bids_refacer.reports.parts.sentences import recovered_mm, spread, tool_line
from bids_refacer.reports.parts.stacks import APART_MM, STACKS
from bids_refacer.reports.viewer import Viewer, make_viewer
from bids_refacer.surfaces.gifti import GiftiError
from bids_refacer.surfaces.region import PARTS, PLACES, REMOVED
from bids_refacer.surfaces.verdicts import MEASURED
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.wording import listed

TYPES = {
    "defaced": "defaced image",
    "average": "average face",
    "average-fitted": "average face warped onto the original: it knows the truth",
    "refaced": "sample",
    "refaced_mean": "mean of the samples",
    "refaced_sample_mean": "samples, distances averaged",
    "refaced_best": "best sample",
}
_OF_SAMPLES = ("refaced_sample_mean", "refaced_best")
_COLUMNS = {  # of the table of tools
    "worst_part": "left of the worst part, %",
    "brain_verdict": "Brain cut",
    "brain_removed_percent": "cut, %",
    "brain_hole_ml": "hole, mL",
    "removed_head_ml": "removed, mL",
    "run_time_s": "time, s",
    "notes": "Notes",
}
_DIGITS = {"brain_removed_percent": 2, "brain_hole_ml": 2, "removed_head_ml": 0, "run_time_s": 0}
_VERDICTS = {"fail": 0, "warn": 1, "pass": 2}
"""Order of tools on the page, by the worse of their verdicts."""


@dataclass(frozen=True)
class DistanceLine:
    """Distances of one type of image: part of the face -> row; `sample` is None where it is not of one sample."""

    image_type: str
    sample: int | None
    parts: dict[str, DistanceRow]


@dataclass(frozen=True)
class ToolSection:
    """What the template shows of one tool.

    `parts` are those of the face with any distance, `table` is the file with all distances, `place` says where the
    headline distances are measured, `provenance` has names and facts.
    """

    tool: str
    status: StatusRow
    defacing: DefacingRow
    card: Card
    parts: Sequence[str]
    figure: Markup | None
    distances: Sequence[DistanceLine]
    spread: str
    calibration: Sequence[CalibrationRow]
    pictures: ToolPictures
    provenance: Sequence[tuple[str, str]]
    table: str
    place: str
    line: str
    recognised: Sequence[str]


@dataclass(frozen=True)
class ImageSection:
    """What the template shows of one image.

    Attributes
    ----------
    id : of the section
    path : in the raw dataset
    tools : those that failed a verdict first
    missing : sentences about what cannot be shown
    notices : what to know of the attack on this head and of its tools, each once
    truth : pictures of the true face
    stack : the original in slices that scroll; None where it is not there
    columns : of the table of tools, those that have anything
    viewer : faces to turn; None where there is none
    """

    id: str
    path: str
    tools: Sequence[ToolSection]
    missing: Sequence[str]
    notices: Sequence[str]
    truth: Sequence[View]
    stack: StackedImage | None
    columns: Sequence[str]
    viewer: Viewer | None


def write_participant_pages(layout: Layout, bids_dir: Path, labels: Sequence[str] | None = None) -> list[Path]:
    """Make the pages of participants from the outputs of the participant level.

    Parameters
    ----------
    layout : the folders of the output
    bids_dir : the raw dataset, from which slices of the original are shown where it is there
    labels : participants without ``sub-``; everyone whom a table knows when None

    Returns
    -------
    list of Path
        What was written: of each participant the shareable page, and the one with faces where faces are kept.
    """
    tables = read_tables(layout, Places(bids_dir=bids_dir, layout=layout), labels)
    known, all_labels = tables.labels(), everyone(dataset_table(layout, "status"))
    written: list[Path] = []
    for label in known if labels is None else [label for label in labels if label in known]:
        result = gather(layout, tables, label)
        written.append(_write(result, layout, bids_dir, neighbours(all_labels, label), private=False))
        if (layout.identifiable / f"sub-{label}").is_dir():
            with_faces = [name for name in all_labels if (layout.identifiable / f"sub-{name}").is_dir()]
            written.append(_write(result, layout, bids_dir, neighbours(with_faces, label), private=True))
        else:
            faces_page(layout, label).unlink(missing_ok=True)  # of an earlier run that kept faces
    return written


def _write(result: ParticipantResult, layout: Layout, bids_dir: Path, beside: Neighbours, *, private: bool) -> Path:
    path = (faces_page if private else participant_page)(layout, result.label)
    to_shareable = f"{layout.from_identifiable()}/" if private else ""
    images = [_image_section(image, bids_dir, number, private) for number, image in enumerate(result.images)]
    sections = [(f"image-{number}", Path(image.path).name) for number, image in enumerate(result.images)]
    if result.problems:
        sections.insert(0, ("problems", "Problems"))
    values = {
        "title": f"sub-{result.label}: {'faces' if private else 'how its images were defaced'}",
        "private": private,
        "sections": sections,
        "problems": result.problems,
        "beside": beside,
        "images": images,
        "types": TYPES,
        "limit": LIMIT_MM,
        "stacks": STACKS,
        "apart": APART_MM,
        "columns": _COLUMNS,
        "numeric": _DIGITS,
        "places": PLACES,
        "measured": MEASURED,
        "group": to_shareable + group_page(layout).name,
        "group_is_there": group_page(layout).is_file(),
        "other": to_shareable + participant_page(layout, result.label).name if private else None,
    }
    write_page(path, "participant.html.j2", values)
    if not private:
        drawn = [(image.path, tool) for image in images for tool in image.tools if tool.figure]
        figures = {
            f"{_stem(path, result.label)}_desc-{tool_label(tool.tool)}_distances": str(tool.figure)
            for path, tool in drawn
        }
        write_figures(figures_dir(layout), f"sub-{result.label}_", figures)
    return path


def _stem(image: str, label: str) -> str:
    """Name of an image without the participant and the extension."""
    return Path(image).name.split(".")[0].removeprefix(f"sub-{label}_")


def _image_section(image: ImageResult, bids_dir: Path, number: int, private: bool) -> ImageSection:
    head: TrueHead | None = None
    missing: Sequence[str] = ()
    if private:
        try:
            head = read_true_head(image, bids_dir)
            missing = head.missing
        except (ImageError, GiftiError) as error:
            missing = [f"No faces are shown: {error}"]
    pictures = [_pictures(image, tool, head, private) for tool in image.tools]
    truth = renders(head.face) if head else []
    section = f"image-{number}"
    tools = [
        _tool_section(image, tool, shown, truth, section) for tool, shown in zip(image.tools, pictures, strict=True)
    ]
    return ImageSection(
        id=section,
        path=image.path,
        tools=sorted(tools, key=_worst_verdict),
        missing=missing,
        notices=[*_notices(image.tools), *same_cut_lines(same_cut_counts(tool.defacing for tool in image.tools))],
        truth=truth,
        stack=head.stack if head else None,
        columns=[name for name in _COLUMNS if any(getattr(tool.defacing, name) is not None for tool in image.tools)],
        viewer=make_viewer(head.face, [one for shown in pictures for one in shown.viewer]) if head else None,
    )


def _notices(tools: Sequence[ToolResult]) -> list[str]:
    """What the attack warns of, each sentence once, with the tools where it is not of all."""
    of_tool: dict[str, list[str]] = {}
    for tool in tools:
        for sentence in tool.record.reface.warnings if tool.record else ():
            of_tool.setdefault(Places().shareable(sentence), []).append(tool.tool)
    return [
        sentence if len(names) == len(tools) else f"After {listed(names)}: {sentence}"
        for sentence, names in of_tool.items()
    ]


def _pictures(image: ImageResult, tool: ToolResult, head: TrueHead | None, private: bool) -> ToolPictures:
    """Pictures with faces where there is a true face; the shareable page has the brain alone."""
    if head:
        return face_pictures(head, tool)
    return ToolPictures() if private else brain_pictures(image, tool)


def _worst_verdict(tool: ToolSection) -> int:
    return min(_VERDICTS.get(str(verdict), 3) for verdict in (tool.defacing.face_verdict, tool.defacing.brain_verdict))


def _tool_section(
    image: ImageResult, tool: ToolResult, pictures: ToolPictures, truth: Sequence[View], section: str
) -> ToolSection:
    recovered, average = recovered_mm(tool), tool.masd_mm("average")
    marks = image_marks(tool.defacing.face_verdict, recovered, average)
    parts = [part for part in (REMOVED, *PARTS) if any(_measured(row, part) for row in tool.distances)]
    figure = distances_figure(tool, parts, f"{section}-{tool.tool}-parts")
    small = face_thumbnails(truth, pictures) if truth else brain_thumbnails(pictures)
    return ToolSection(
        tool=tool.tool,
        status=tool.status,
        defacing=tool.defacing,
        card=participant_card(tool, marks, small, recovered, average),
        parts=parts,
        figure=Markup(figure) if figure else None,
        distances=_distance_lines(tool),
        spread=spread(tool),
        calibration=[row for row in tool.calibration if row.part == "face"],
        pictures=pictures,
        provenance=provenance(tool),
        table=image.names.surfacedistance(tool.tool).relative_to(image.names.layout.shareable).as_posix(),
        place=PLACES[tool.headline],
        line=tool_line(tool),
        recognised=recognised_lines(tool.recognition, tool.ranks),
    )


def _measured(row: DistanceRow, part: str) -> bool:
    return row.part == part and row.masd_mm is not None


def _distance_lines(tool: ToolResult) -> list[DistanceLine]:
    """A line for each type of image and sample; what a single sample would only say again is left out."""
    lines: dict[tuple[str, int | None], DistanceLine] = {}
    again = _OF_SAMPLES if len(tool.samples) == 1 else ()
    for row in (row for row in tool.distances if row.image_type not in again):
        image_type = str(row.image_type)
        line = lines.setdefault((image_type, row.sample), DistanceLine(image_type, row.sample, {}))
        line.parts[str(row.part)] = row
    order = list(TYPES)
    return sorted(lines.values(), key=lambda line: (order.index(line.image_type), line.sample or 0))
