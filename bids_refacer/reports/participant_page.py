"""Pages of a participant: one without any face, to be shared, and one with faces, for the identifiable dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bids_refacer.dataset.names import group_page, identifiable_dir, participant_page
from bids_refacer.reports.page import write_page
from bids_refacer.reports.participant_data import ImageResult, ParticipantResult, ToolResult, gather, read_tables
from bids_refacer.reports.participant_pictures import FacePictures, ToolPictures, brain_pictures
from bids_refacer.surfaces.gifti import GiftiError
from bids_refacer.surfaces.region import PARTS
from bids_refacer.surfaces.verdicts import MEASURED
from bids_refacer.volumes.nifti import ImageError

TYPES = {
    "defaced": "defaced image",
    "average": "average face",
    "refaced": "sample",
    "refaced_mean": "mean of the samples",
    "refaced_sample_mean": "samples, distances averaged",
    "refaced_best": "best sample",
}
_ORDER = {"fail": 0, "warn": 1, "pass": 2, None: 3}


def write_participant_pages(output_dir: Path, bids_dir: Path, labels: Sequence[str] | None = None) -> list[Path]:
    """Make the pages of participants from the outputs of the participant level.

    Parameters
    ----------
    output_dir : the shareable dataset
    bids_dir : the raw dataset, from which slices of the original are shown where it is there
    labels : participants without ``sub-``; everyone whom a table knows when None

    Returns
    -------
    list of Path
        What was written: of each participant the shareable page, and the one with faces where faces are kept.
    """
    tables = read_tables(output_dir)
    known = sorted({name.removeprefix("sub-") for rows in tables.values() for name in rows})
    written: list[Path] = []
    for label in known if labels is None else [label for label in labels if label in known]:
        result = gather(output_dir, tables, label)
        written.append(_write(participant_page(output_dir, label), result, output_dir, bids_dir, private=False))
        private = participant_page(identifiable_dir(output_dir), label)
        if (identifiable_dir(output_dir) / f"sub-{label}").is_dir():
            written.append(_write(private, result, output_dir, bids_dir, private=True))
        else:
            private.unlink(missing_ok=True)  # of an earlier run that kept faces
    return written


def _write(path: Path, result: ParticipantResult, output_dir: Path, bids_dir: Path, *, private: bool) -> Path:
    images = [_image(image, bids_dir, number, private) for number, image in enumerate(result.images)]
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
        "group": ("../" if private else "") + group_page(output_dir).name,
        "group_is_there": group_page(output_dir).is_file(),
        "other": _other_page(output_dir, result.label, private),
    }
    write_page(path, "participant.html.j2", values)
    return path


def _other_page(output_dir: Path, label: str, private: bool) -> str | None:
    """Link from the page with faces to the one without; the shareable one must not point to what is not shared."""
    return f"../{participant_page(output_dir, label).name}" if private else None


def _image(image: ImageResult, bids_dir: Path, number: int, private: bool) -> dict[str, Any]:
    """What the template shows of one image."""
    pictures: FacePictures | None = None
    missing: list[str] = []
    if private:
        try:
            pictures = FacePictures(image, bids_dir)
            missing = pictures.missing
        except (ImageError, GiftiError) as error:
            missing = [f"No faces are shown: {error}"]
    limit = pictures.limit() if pictures else 0.0
    tools = [_tool(image, tool, pictures, limit, private) for tool in image.tools]
    tools.sort(key=lambda one: min(_ORDER.get(one["defacing"].get(f"{kind}_verdict"), 3) for kind in ("face", "brain")))
    return {
        "id": f"image-{number}",
        "path": image.path,
        "tools": tools,
        "missing": missing,
        "truth": pictures.true_face() if pictures else [],
        "limit": limit,
        # "<" would end the script element if a name ever held one
        "meshes": Markup(pictures.viewer(limit).replace("<", "\\u003c")) if pictures and pictures.meshes else None,
        "choices": pictures.choices if pictures else [],
    }


def _tool(
    image: ImageResult, tool: ToolResult, pictures: FacePictures | None, limit: float, private: bool
) -> dict[str, Any]:
    if pictures:
        shown = pictures.of(tool, limit)
    else:
        shown = ToolPictures() if private else brain_pictures(image, tool)
    return {
        "tool": tool.tool,
        "status": tool.status,
        "defacing": tool.defacing,
        "left": [(part, f"{part}_left_percent") for part in MEASURED],
        "table": _distances(tool),
        "parts": PARTS,
        "spread": _spread(tool),
        "calibration": [row for row in tool.calibration if row["part"] == "face"],
        "pictures": shown,
        "provenance": _provenance(tool),
        "files": image.names.surfacedistance(tool.tool).relative_to(image.names.output_dir).as_posix(),
        "line": _line(tool),
    }


def _distances(tool: ToolResult) -> list[dict[str, Any]]:
    """One line for each type of image and sample, with a cell for each part of the face."""
    lines: dict[tuple[str, str | None], dict[str, Any]] = {}
    for row in tool.distances:
        key = str(row["image_type"]), row["sample"]
        lines.setdefault(key, {"type": key[0], "sample": key[1], "cells": {}})["cells"][row["part"]] = row
    order = list(TYPES)
    return sorted(lines.values(), key=lambda line: (order.index(line["type"]), int(line["sample"] or 0)))


def _spread(tool: ToolResult) -> str:
    """How much the samples differ, in words."""
    known = [row["masd_mm"] for row in (tool.distance("refaced", sample=n) for n in tool.samples) if row["masd_mm"]]
    if len(known) < 2:
        return "One sample was drawn, so there is no spread (--num-samples 2 or more gives one)."
    low, high = min(known, key=float), max(known, key=float)
    return (
        f"{len(known)} samples: the whole face lies {float(low):.2f} to {float(high):.2f} mm from the true one. Where "
        "samples differ, the defaced image says little of the face."
    )


def _line(tool: ToolResult) -> str:
    """What the figures of this image say; one image, so nothing is tested."""
    if tool.status.get("status") not in (None, "ok"):
        return f"Not done ({tool.status.get('stage')}): {tool.status.get('message')}"
    ours = tool.distance("refaced_mean")["masd_mm"] or tool.distance("refaced_sample_mean")["masd_mm"]
    theirs = tool.distance("average")["masd_mm"]
    if ours is None or theirs is None:
        return "There is no recovered face to compare with the average one."
    nearer = "nearer to" if float(ours) < float(theirs) else "not nearer to"
    return (
        f"The recovered face lies {float(ours):.2f} mm from the true one, an average face {float(theirs):.2f} mm: here "
        f"the attack comes {nearer} the true face than an average face does. One image proves nothing of the tool."
    )


def _provenance(tool: ToolResult) -> list[tuple[str, str]]:
    """What made these results, from their record."""
    if tool.record is None:
        return []
    key, deface, reface = tool.record.key, tool.record.deface, tool.record.reface
    facts: Mapping[str, Any] = {
        "Version of bids_refacer": key.get("AppVersion"),
        "Defacing": deface.content.get("Command"),
        "Version of the tool": deface.version,
        "Options of the tool": deface.content.get("Options"),
        "Registration": deface.registration,
        "Warnings": [*deface.warnings, *reface.warnings],
        "Model of the attack": key.get("Model"),
        "Options of the attack": reface.content.get("Options"),
        "Seed of the run": key.get("Seed"),
        "Weights (SHA-256)": key.get("WeightsSHA256"),
        "Run time, s": tool.record.run_time_s,
    }
    shown = {name: value for name, value in facts.items() if value not in (None, [], {})}
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in shown.items()]
