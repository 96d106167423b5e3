"""Pictures of one image and its tools: slices, faces, maps of distance. Read from the outputs, never computed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bids_refacer.reports import faces, slices
from bids_refacer.reports.participant_data import ImageResult, ToolResult
from bids_refacer.surfaces.face_map import read_face_map
from bids_refacer.surfaces.gifti import GiftiError, read_map, read_surface
from bids_refacer.volumes.nifti import ImageError, Scan, read_scan
from bids_refacer.volumes.templates import asset

MOST_SAMPLES = 4  # that are shown as pictures; all are in the table
_WORDS = {"defaced": "defaced image", "average": "average face", "refaced_mean": "mean of the samples"}


@dataclass
class ToolPictures:
    """Of one tool: data URIs by what they show, and sentences about what could not be shown."""

    brain: list[dict[str, str]] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def brain_pictures(image: ImageResult, tool: ToolResult) -> ToolPictures:
    """Slices of the brain alone, from the shareable outputs."""
    found = ToolPictures()
    try:
        brain = read_scan(image.names.brain_mask())
        defaced = read_scan(image.names.defaced(tool.tool)).values
        removed = read_scan(image.names.defacemask(tool.tool)).values > 0
    except ImageError as error:
        found.missing.append(str(error))
        return found
    inside = brain.values > 0
    rigid, centre = _upright(brain, inside)
    high = slices.window(defaced, inside)
    for plane in slices.brain_planes(centre):
        cuts = [slices.cut(values, brain.affine, rigid, plane, order)
                for values, order in ((defaced, 1), (inside, 0), (removed, 0))]  # fmt: skip
        source = slices.brain_picture(cuts[0], cuts[1] > 0.5, cuts[2] > 0.5, high)
        found.brain.append({"source": source, "words": plane.words})
    return found


def _upright(brain: Scan, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Native world moved so that the brain lies where the average brain does; the centre of that."""
    mask, affine = asset("average_brain_mask.nii.gz")
    there = np.argwhere(mask > 0).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    here = np.argwhere(inside).mean(axis=0) @ brain.affine[:3, :3].T + brain.affine[:3, 3]
    rigid = np.eye(4)
    rigid[:3, 3] = there - here
    return rigid, there


class FacePictures:
    """Pictures of the faces of one image; the original is read once."""

    def __init__(self, image: ImageResult, bids_dir: Path) -> None:
        """Raises ImageError or GiftiError when the true face is not stored."""
        self.image, self.names = image, image.names
        self.rigid = read_face_map(self.names.face_map(None, "original")).rigid
        self.truth = faces.in_frame(read_surface(self.names.face_surface(None, "original")), self.rigid)
        self.planes = slices.face_planes()
        self.missing: list[str] = []
        self.original: list[str] | None = None
        self.high: float | None = None
        self.meshes: dict[str, Any] = {}
        self.choices: list[tuple[str, str]] = []
        self._values: dict[str, np.ndarray] = {}
        try:
            self.original = self._slices(read_scan(bids_dir / image.path))
        except ImageError as error:
            self.missing.append(f"No slices of the original: {error}")

    def true_face(self) -> list[dict[str, str]]:
        """Renders of the true face."""
        return [{"source": faces.render(self.truth, view), "view": view} for view in faces.VIEWS]

    def limit(self) -> float:
        """End of the colour scale, mm: the same for all tools of the image, and wide enough for the average face."""
        kinds = [(tool, kind) for tool in self.image.tools for kind in [("average", None), *_recovered(tool)]]
        known = [self._map(tool, *kind) for tool, kind in kinds]
        ends = [float(np.percentile(values, 95)) for values in known if values is not None and len(values)]
        return float(np.clip(np.ceil(max(ends, default=3.0)), 2.0, 15.0))

    def of(self, tool: ToolResult, limit: float) -> ToolPictures:
        """All pictures of one tool."""
        found = ToolPictures()
        self._add_slices(tool, found)
        for kind, sample in [("defaced", None), *_recovered(tool), ("average", None)]:
            words = _WORDS.get(kind, f"sample {sample}")
            key = f"{tool.tool}-{kind}{sample or ''}"
            face = self._face(tool, kind, sample, found)
            if face is not None and (sample or 1) <= MOST_SAMPLES:
                views = [{"source": faces.render(face, view), "view": view} for view in faces.VIEWS]
                found.faces.append({"words": words, "views": views, "row": tool.distance(kind, sample=sample)})
                if (sample or 1) == 1 and len(face.triangles):
                    self.meshes[key] = faces.packed(face)
                    self.choices.append((key, f"{tool.tool}: {words}"))
            if (kind, sample) != ("defaced", None) and (sample or 1) == 1:
                self._add_map(tool, kind, sample, face, limit, found)
        return found

    def viewer(self, limit: float) -> str:
        """JSON for the viewer: the true face with all distances, and every other face."""
        meshes = {"original": faces.packed(self.truth, self._values), **self.meshes}
        return json.dumps({"limit": limit, "meshes": meshes})

    def _add_slices(self, tool: ToolResult, found: ToolPictures) -> None:
        wanted = [("defaced", self.names.defaced(tool.tool))]
        for kind, sample in _recovered(tool):
            path = self.names.refaced_mean(tool.tool) if sample is None else self.names.refaced(tool.tool, sample)
            wanted += [(_WORDS.get(kind, f"refaced, sample {sample}"), path)] if (sample or 1) == 1 else []
        wanted.append(("average face", self.names.average_face(tool.tool)))
        pictures: dict[str, list[str]] = {"original": self.original} if self.original else {}
        for words, path in wanted:
            try:
                pictures[words] = self._slices(read_scan(path))
            except ImageError as error:
                found.missing.append(f"No slices of the {words}: {error}")
        try:
            mask = read_scan(self.names.defacemask(tool.tool))
        except ImageError as error:
            found.missing.append(f"The removed region is not outlined: {error}")
            mask = None
        for number, plane in enumerate(self.planes if len(pictures) > 1 else ()):
            line = None
            if mask is not None:
                line = slices.outline(slices.cut(mask.values, mask.affine, self.rigid, plane, 0) > 0.5)
            shown = [(words, sources[number]) for words, sources in pictures.items()]
            found.slices.append({"plane": plane, "pictures": shown, "outline": line})

    def _slices(self, scan: Scan) -> list[str]:
        values = scan.values
        if self.high is None:
            self.high = slices.window(values, None)
        return [
            slices.picture(slices.cut(values, scan.affine, self.rigid, plane), 0.0, self.high) for plane in self.planes
        ]

    def _face(self, tool: ToolResult, kind: str, sample: int | None, found: ToolPictures) -> faces.Face | None:
        path = self.names.face_surface(tool.tool, kind, sample)
        if not path.is_file() and kind == "defaced":
            return faces.Face(np.zeros((0, 3)), np.zeros((0, 3), dtype=int))  # no skin is left in the face region
        try:
            return faces.in_frame(read_surface(path), self.rigid)
        except GiftiError as error:
            found.missing.append(str(error))
            return None

    def _map(self, tool: ToolResult, kind: str, sample: int | None) -> np.ndarray | None:
        try:
            values = read_map(self.names.distance_map(tool.tool, kind, sample))
        except GiftiError:
            return None
        return values if len(values) == len(self.truth.points) else None

    def _add_map(
        self, tool: ToolResult, kind: str, sample: int | None, face: faces.Face | None, limit: float,
        found: ToolPictures,
    ) -> None:  # fmt: skip
        distance = self._map(tool, kind, sample)
        if distance is None or face is None:
            found.missing.append(f"No map of distances of the {_WORDS.get(kind, 'sample')}: its file is not there.")
            return
        signed = faces.signed_distance(self.truth, face, distance)
        shades = faces.colours(signed, limit)
        words = _WORDS.get(kind, f"sample {sample}")
        views = [{"source": faces.render(self.truth, view, shades), "view": view} for view in faces.VIEWS]
        found.maps.append({"words": words, "views": views, "row": tool.distance(kind, sample=sample)})
        name = f"{tool.tool} {kind}"
        self._values[name] = signed
        self.choices.append((f"original:{name}", f"{tool.tool}: distance of the {words}, on the true face"))


def _recovered(tool: ToolResult) -> Iterator[tuple[str, int | None]]:
    """Recovered faces of a tool, the mean first where there is one."""
    if tool.distance("refaced_mean")["image_type"]:
        yield "refaced_mean", None
    for sample in tool.samples:
        yield "refaced", sample
