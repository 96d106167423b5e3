"""Pages of a participant: one without any face, to be shared, and one with faces, for the identifiable dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.descriptions.shareable_text import Places, shareable_json
from bids_refacer.dataset.names import faces_page, group_page, participant_page
from bids_refacer.dataset.rows.audit import UNFINISHED, CalibrationRow, DefacingRow, DistanceRow, StatusRow
from bids_refacer.layout import Layout
from bids_refacer.reports.findings import Marks, image_marks
from bids_refacer.reports.notes.same_cut import same_cut_counts, same_cut_lines
from bids_refacer.reports.page import write_page
from bids_refacer.reports.participant_data import ImageResult, ParticipantResult, ToolResult, gather, read_tables
from bids_refacer.reports.participant_pictures import (
    ToolPictures,
    TrueHead,
    View,
    brain_pictures,
    colour_limit,
    face_pictures,
    read_true_head,
    renders,
)
from bids_refacer.reports.viewer import Viewer, make_viewer
from bids_refacer.surfaces.gifti import GiftiError
from bids_refacer.surfaces.region import PARTS, PLACES, REMOVED
from bids_refacer.surfaces.verdicts import MEASURED
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.wording import listed

TYPES = {
    "defaced": "defaced image",
    "average": "average face",
    "refaced": "sample",
    "refaced_mean": "mean of the samples",
    "refaced_sample_mean": "samples, distances averaged",
    "refaced_best": "best sample",
}
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

    `table` is the file with all distances, `place` says where the headline distances are measured, `provenance` has
    names and facts.
    """

    tool: str
    status: StatusRow
    defacing: DefacingRow
    marks: Marks
    distances: Sequence[DistanceLine]
    spread: str
    calibration: Sequence[CalibrationRow]
    pictures: ToolPictures
    provenance: Sequence[tuple[str, str]]
    table: str
    place: str
    line: str


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
    limit : end of the colour scale of distances, mm
    viewer : faces to turn; None where there is none
    """

    id: str
    path: str
    tools: Sequence[ToolSection]
    missing: Sequence[str]
    notices: Sequence[str]
    truth: Sequence[View]
    limit: float
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
    known = tables.labels()
    written: list[Path] = []
    for label in known if labels is None else [label for label in labels if label in known]:
        result = gather(layout, tables, label)
        written.append(_write(result, layout, bids_dir, private=False))
        if (layout.identifiable / f"sub-{label}").is_dir():
            written.append(_write(result, layout, bids_dir, private=True))
        else:
            faces_page(layout, label).unlink(missing_ok=True)  # of an earlier run that kept faces
    return written


def _write(result: ParticipantResult, layout: Layout, bids_dir: Path, *, private: bool) -> Path:
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
        "images": images,
        "types": TYPES,
        "parts": (REMOVED, *PARTS),
        "places": PLACES,
        "measured": MEASURED,
        "group": to_shareable + group_page(layout).name,
        "group_is_there": group_page(layout).is_file(),
        "other": to_shareable + participant_page(layout, result.label).name if private else None,
    }
    write_page(path, "participant.html.j2", values)
    return path


def _image_section(image: ImageResult, bids_dir: Path, number: int, private: bool) -> ImageSection:
    head: TrueHead | None = None
    missing: Sequence[str] = ()
    if private:
        try:
            head = read_true_head(image, bids_dir)
            missing = head.missing
        except (ImageError, GiftiError) as error:
            missing = [f"No faces are shown: {error}"]
    limit = colour_limit(head, image.tools) if head else 0.0
    pictures = [_pictures(image, tool, head, limit, private) for tool in image.tools]
    tools = [_tool_section(image, tool, shown) for tool, shown in zip(image.tools, pictures, strict=True)]
    return ImageSection(
        id=f"image-{number}",
        path=image.path,
        tools=sorted(tools, key=_worst_verdict),
        missing=missing,
        notices=[*_notices(image.tools), *same_cut_lines(same_cut_counts(tool.defacing for tool in image.tools))],
        truth=renders(head.face) if head else (),
        limit=limit,
        viewer=make_viewer(head.face, limit, [one for shown in pictures for one in shown.viewer]) if head else None,
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


def _pictures(image: ImageResult, tool: ToolResult, head: TrueHead | None, limit: float, private: bool) -> ToolPictures:
    """Pictures with faces where there is a true face; the shareable page has the brain alone."""
    if head:
        return face_pictures(head, tool, limit)
    return ToolPictures() if private else brain_pictures(image, tool)


def _worst_verdict(tool: ToolSection) -> int:
    return min(_VERDICTS.get(str(verdict), 3) for verdict in (tool.defacing.face_verdict, tool.defacing.brain_verdict))


def _tool_section(image: ImageResult, tool: ToolResult, pictures: ToolPictures) -> ToolSection:
    return ToolSection(
        tool=tool.tool,
        status=tool.status,
        defacing=tool.defacing,
        marks=image_marks(tool.defacing.face_verdict, _recovered(tool), tool.masd_mm("average")),
        distances=_distance_lines(tool),
        spread=_spread(tool),
        calibration=[row for row in tool.calibration if row.part == "face"],
        pictures=pictures,
        provenance=_provenance(tool),
        table=image.names.surfacedistance(tool.tool).relative_to(image.names.layout.shareable).as_posix(),
        place=PLACES[tool.headline],
        line=_line(tool),
    )


def _distance_lines(tool: ToolResult) -> list[DistanceLine]:
    """A line for each type of image and sample."""
    lines: dict[tuple[str, int | None], DistanceLine] = {}
    for row in tool.distances:
        image_type = str(row.image_type)
        line = lines.setdefault((image_type, row.sample), DistanceLine(image_type, row.sample, {}))
        line.parts[str(row.part)] = row
    order = list(TYPES)
    return sorted(lines.values(), key=lambda line: (order.index(line.image_type), line.sample or 0))


def _spread(tool: ToolResult) -> str:
    """How much the samples differ, in words."""
    measured = [mm for mm in (tool.masd_mm("refaced", sample) for sample in tool.samples) if mm is not None]
    if len(measured) < 2:
        return "One sample was drawn, so there is no spread (--num-samples 2 or more gives one)."
    return (
        f"{len(measured)} samples: they lie {min(measured):.2f} to {max(measured):.2f} mm from the true face "
        f"{PLACES[tool.headline]}. Where samples differ, the defaced image says little of the face."
    )


def _recovered(tool: ToolResult) -> float | None:
    """Distance of the recovered face, mm: of the mean image, or else the mean of the samples' distances."""
    mean = tool.masd_mm("refaced_mean")
    return tool.masd_mm("refaced_sample_mean") if mean is None else mean


def _line(tool: ToolResult) -> str:
    """What the figures of this image say; one image, so nothing is tested."""
    if words := UNFINISHED.get(str(tool.status.status)):
        return f"Not done yet: {words} when this page was made, or left so by a run that was killed."
    if tool.status.status not in (None, "ok"):
        return f"Not done ({tool.status.stage}): {tool.status.message}"
    recovered, average = _recovered(tool), tool.masd_mm("average")
    if recovered is None or average is None:
        return "There is no recovered face to compare with the average one."
    nearer = "nearer to" if recovered < average else "not nearer to"
    return (
        f"The recovered face lies {recovered:.2f} mm from the true one {PLACES[tool.headline]}, an average face "
        f"{average:.2f} mm: here the attack comes {nearer} the true face than an average face does. One image proves "
        "nothing of the tool."
    )


def _provenance(tool: ToolResult) -> list[tuple[str, str]]:
    """What made these results, from their record."""
    if tool.record is None:
        return []
    key, deface, reface = tool.record.key, tool.record.deface, tool.record.reface
    facts: Mapping[str, object] = {
        "Version of bids_refacer": key.get("AppVersion"),
        "Defacing": deface.content.get("Command"),
        "Version of the tool": deface.version,
        "Options of the tool": deface.content.get("Options"),
        "Registration": deface.registration,
        "Warnings": " ".join([*deface.warnings, *reface.warnings]) or None,
        "Outside the range of training": "; ".join(reface.outside_training) or None,
        "Model of the attack": key.get("Model"),
        "Options of the attack": reface.content.get("Options"),
        "Seed of the run": key.get("Seed"),
        "Weights (SHA-256)": key.get("WeightsSHA256"),
        "Run time, s": tool.record.run_time_s,
    }
    shown = {name: value for name, value in facts.items() if value not in (None, [], {})}
    texts = shareable_json(shown)
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in texts.items()]
