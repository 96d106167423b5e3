"""Pictures of one image and its tools: slices, faces, maps of distance. Read from the outputs, never computed again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.rows.audit import DistanceRow
from bids_refacer.reports import faces, slices
from bids_refacer.reports.participant_data import ImageResult, ToolResult
from bids_refacer.reports.parts.stacks import stacked
from bids_refacer.reports.parts.tool_faces import WORDS, ToolFace, sliced_images, tool_faces
from bids_refacer.reports.viewer import ViewerFace, ViewerMap
from bids_refacer.surfaces.face_map import read_face_map
from bids_refacer.surfaces.gifti import GiftiError, read_map, read_surface
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import asset

MOST_SAMPLES = 4  # that are shown as pictures; all are in the table


@dataclass(frozen=True)
class BrainSlice:
    """A slice of the brain alone: data URI, and words for its plane."""

    source: str
    words: str


@dataclass(frozen=True)
class Comparison:
    """One plane through the head: words and data URI of each image, the first to be compared with the others."""

    plane: slices.Plane
    pictures: Sequence[tuple[str, str]]
    outline: str | None  # data URI, of the removed region


@dataclass(frozen=True)
class View:
    """A face from one side: data URI, and a key of `faces.VIEWS`."""

    source: str
    view: str


@dataclass(frozen=True)
class RenderedFace:
    """A face, or the true one coloured by its distance to it; `kind` as of `ToolFace`, `row` has its distances."""

    kind: str
    words: str
    views: Sequence[View]
    row: DistanceRow | None


@dataclass(frozen=True)
class StackedImage:
    """An image in slices that scroll: words, and data URI by name of the stack."""

    words: str
    sources: Mapping[str, str]


@dataclass(frozen=True)
class ToolPictures:
    """All pictures of one tool, and sentences about what could not be shown."""

    brain: Sequence[BrainSlice] = ()
    comparisons: Sequence[Comparison] = ()
    faces: Sequence[RenderedFace] = ()
    maps: Sequence[RenderedFace] = ()
    stacks: Sequence[StackedImage] = ()
    viewer: Sequence[ViewerFace | ViewerMap] = ()
    missing: Sequence[str] = ()


def brain_pictures(image: ImageResult, tool: ToolResult) -> ToolPictures:
    """Slices of the brain alone, from the shareable outputs."""
    try:
        brain = read_scan(image.names.brain_mask())
        defaced = read_scan(image.names.defaced(tool.tool)).values
        removed = read_scan(image.names.defacemask(tool.tool)).values > 0
    except ImageError as error:
        return ToolPictures(missing=[Places(layout=image.names.layout).shareable(str(error))])
    inside = brain.values > 0
    rigid, centre = _upright(brain, inside)
    white = slices.window(defaced, inside)

    def picture(plane: slices.Plane) -> BrainSlice:
        grey = slices.cut(Volume(defaced, brain.affine), rigid, plane)
        of_brain = slices.cut(Volume(inside, brain.affine), rigid, plane, order=0) > 0.5
        of_removed = slices.cut(Volume(removed, brain.affine), rigid, plane, order=0) > 0.5
        return BrainSlice(slices.brain_picture(grey, of_brain, of_removed, white), plane.words)

    return ToolPictures(brain=[picture(plane) for plane in slices.brain_planes(centre)])


def _upright(brain: Scan, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Native world moved so that the brain lies where the average brain does; the centre of that."""
    average = asset("average_brain_mask.nii.gz")
    there = np.argwhere(average.values > 0).mean(axis=0) @ average.affine[:3, :3].T + average.affine[:3, 3]
    here = np.argwhere(inside).mean(axis=0) @ brain.affine[:3, :3].T + brain.affine[:3, 3]
    rigid = np.eye(4)
    rigid[:3, 3] = there - here
    return rigid, there


@dataclass(frozen=True)
class TrueHead:
    """What the pictures of all tools of an image share.

    Attributes
    ----------
    names : of the image's outputs
    rigid : (4, 4) float, native world -> canonical world
    face : the true face, in the canonical frame
    slices : data URIs of the original in `slices.face_planes`; None where the original is not there
    stack : the original in slices that scroll; None alike
    white : intensity that slices show white
    missing : sentences about what could not be read
    """

    names: OutputNames
    rigid: np.ndarray
    face: faces.Face
    slices: Sequence[str] | None
    stack: StackedImage | None
    white: float
    missing: Sequence[str]


def read_true_head(image: ImageResult, bids_dir: Path) -> TrueHead:
    """Read the true face from the outputs, and the original from the raw dataset.

    Raises
    ------
    ImageError, GiftiError
        When the true face is not stored.
    """
    names = image.names
    rigid = read_face_map(names.face_map(None, "original")).rigid
    face = faces.in_frame(read_surface(names.face_surface(None, "original")), rigid)
    try:
        original = read_scan(bids_dir / image.path)
    except ImageError as error:
        white = _first_white(path for tool in image.tools for _, path in sliced_images(names, tool))
        return TrueHead(names, rigid, face, None, None, white, [f"No slices of the original: {error}"])
    white = slices.window(original.values, None)
    stack = StackedImage("original", stacked(original, rigid, white))
    return TrueHead(names, rigid, face, _slices(original, rigid, white), stack, white, [])


def renders(face: faces.Face, shades: np.ndarray | None = None) -> list[View]:
    """A face from all sides; see `faces.render`."""
    return [View(faces.render(face, view, shades), view) for view in faces.VIEWS]


def face_pictures(head: TrueHead, tool: ToolResult) -> ToolPictures:
    """Slices, faces and maps of distance of one tool."""
    comparisons, stacks, missing = _sliced(head, tool)
    rendered: list[RenderedFace] = []
    maps: list[RenderedFace] = []
    viewer: list[ViewerFace | ViewerMap] = []
    for one in tool_faces(tool):
        face: faces.Face | None = None
        try:
            face = _read_face(head, one)
        except GiftiError as error:
            missing.append(str(error))
        if face is not None and one.number <= MOST_SAMPLES:
            rendered.append(RenderedFace(one.kind, one.words, renders(face), one.row))
            if one.number == 1 and len(face.triangles):
                viewer.append(ViewerFace(one.key, f"{tool.tool}: {one.words}", faces.packed(face)))
        if one.kind == "defaced" or one.number > 1:
            continue
        distance = _distance_map(head, one)
        if face is None or distance is None:
            words = WORDS.get(one.kind, "sample")
            missing.append(f"No map of distances of the {words}: its file is not there.")
            continue
        signed = faces.signed_distance(head.face, face, distance)
        maps.append(RenderedFace(one.kind, one.words, renders(head.face, faces.colours(signed)), one.row))
        viewer.append(ViewerMap(f"{tool.tool} {one.kind}", f"{tool.tool}: distance of the {one.words}", signed))
    return ToolPictures((), comparisons, rendered, maps, stacks, viewer, missing)


def _sliced(head: TrueHead, tool: ToolResult) -> tuple[list[Comparison], list[StackedImage], list[str]]:
    """Slices of the original and of the images of a tool, some that scroll; what could not be read, as sentences."""
    missing: list[str] = []
    stacks: list[StackedImage] = []
    pictures: dict[str, Sequence[str]] = {"original": head.slices} if head.slices else {}
    for words, path in sliced_images(head.names, tool):
        try:
            scan = read_scan(path)
            pictures[words] = _slices(scan, head.rigid, head.white)
            if len(stacks) < 2 or not words.startswith("refaced"):  # of the recovered images the first
                stacks.append(StackedImage(words, stacked(scan, head.rigid, head.white)))
        except ImageError as error:
            missing.append(f"No slices of the {words}: {error}")
    planes = slices.face_planes()
    outlines: Sequence[str | None] = [None] * len(planes)
    try:
        mask = read_scan(head.names.defacemask(tool.tool))
        cuts = [slices.cut(mask.volume, head.rigid, plane, order=0) for plane in planes]
        outlines = [slices.outline(cut > 0.5) for cut in cuts]
    except ImageError as error:
        missing.append(f"The removed region is not outlined: {error}")
    if len(pictures) < 2:
        return [], stacks, missing
    comparisons = [
        Comparison(plane, [(words, sources[number]) for words, sources in pictures.items()], outlines[number])
        for number, plane in enumerate(planes)
    ]
    return comparisons, stacks, missing


def _slices(scan: Scan, rigid: np.ndarray, white: float) -> list[str]:
    """A scan in all planes of `slices.face_planes`, as data URIs."""
    cuts = [slices.cut(scan.volume, rigid, plane) for plane in slices.face_planes()]
    return [slices.picture(cut, 0.0, white) for cut in cuts]


def _first_white(paths: Iterable[Path]) -> float:
    """Intensity to show white by the first image that can be read; 1.0 when none can."""
    for path in paths:
        try:
            return slices.window(read_scan(path).values, None)
        except ImageError:
            continue
    return 1.0


def _read_face(head: TrueHead, one: ToolFace) -> faces.Face:
    path = head.names.face_surface(one.tool.tool, one.kind, one.sample)
    if not path.is_file() and one.kind == "defaced":
        return faces.Face(np.zeros((0, 3)), np.zeros((0, 3), dtype=int))  # no skin is left in the face region
    return faces.in_frame(read_surface(path), head.rigid)


def _distance_map(head: TrueHead, one: ToolFace) -> np.ndarray | None:
    """Distances (n,) float, mm, of the vertices of the true face; None when they are not there or of another face."""
    try:
        values = read_map(head.names.distance_map(one.tool.tool, one.kind, one.sample))
    except GiftiError:
        return None
    return values if len(values) == len(head.face.points) else None
