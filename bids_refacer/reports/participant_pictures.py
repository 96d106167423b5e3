"""Pictures of one image and its tools: slices, faces, maps of distance. Read from the outputs, never computed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.rows.audit import DistanceRow
from bids_refacer.reports import faces, slices
from bids_refacer.reports.participant_data import ImageResult, ToolResult
from bids_refacer.reports.viewer import ViewerFace, ViewerMap
from bids_refacer.surfaces.face_map import read_face_map
from bids_refacer.surfaces.gifti import GiftiError, read_map, read_surface
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import asset

MOST_SAMPLES = 4  # that are shown as pictures; all are in the table
_WORDS = {"defaced": "defaced image", "average": "average face", "refaced_mean": "mean of the samples"}


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
    """A face, or the true one coloured by its distance to it; `row` has the distances where there are any."""

    words: str
    views: Sequence[View]
    row: DistanceRow | None


@dataclass(frozen=True)
class ToolPictures:
    """All pictures of one tool, and sentences about what could not be shown."""

    brain: Sequence[BrainSlice] = ()
    comparisons: Sequence[Comparison] = ()
    faces: Sequence[RenderedFace] = ()
    maps: Sequence[RenderedFace] = ()
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
    white : intensity that slices show white
    missing : sentences about what could not be read
    """

    names: OutputNames
    rigid: np.ndarray
    face: faces.Face
    slices: Sequence[str] | None
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
        white = _first_white(path for tool in image.tools for _, path in _sliced_images(names, tool))
        return TrueHead(names, rigid, face, None, white, [f"No slices of the original: {error}"])
    white = slices.window(original.values, None)
    return TrueHead(names, rigid, face, _slices(original, rigid, white), white, [])


def colour_limit(head: TrueHead, tools: Sequence[ToolResult]) -> float:
    """End of the colour scale, mm: the same for all tools of the image, and wide enough for the average face."""
    measured = [one for tool in tools for one in _tool_faces(tool) if one.kind != "defaced"]
    distances = [known for one in measured if (known := _distance_map(head, one)) is not None and len(known)]
    largest = max((float(np.percentile(known, 95)) for known in distances), default=3.0)
    return float(np.clip(np.ceil(largest), 2.0, 15.0))


def renders(face: faces.Face, shades: np.ndarray | None = None) -> list[View]:
    """A face from all sides; see `faces.render`."""
    return [View(faces.render(face, view, shades), view) for view in faces.VIEWS]


def face_pictures(head: TrueHead, tool: ToolResult, limit: float) -> ToolPictures:
    """Slices, faces and maps of distance of one tool; `limit` is the end of the colour scale, mm."""
    comparisons, missing = _comparisons(head, tool)
    rendered: list[RenderedFace] = []
    maps: list[RenderedFace] = []
    viewer: list[ViewerFace | ViewerMap] = []
    for one in _tool_faces(tool):
        face: faces.Face | None = None
        try:
            face = _read_face(head, one)
        except GiftiError as error:
            missing.append(str(error))
        if face is not None and one.number <= MOST_SAMPLES:
            rendered.append(RenderedFace(one.words, renders(face), one.row))
            if one.number == 1 and len(face.triangles):
                viewer.append(ViewerFace(one.key, f"{tool.tool}: {one.words}", faces.packed(face)))
        if one.kind == "defaced" or one.number > 1:
            continue
        distance = _distance_map(head, one)
        if face is None or distance is None:
            words = _WORDS.get(one.kind, "sample")
            missing.append(f"No map of distances of the {words}: its file is not there.")
            continue
        signed = faces.signed_distance(head.face, face, distance)
        maps.append(RenderedFace(one.words, renders(head.face, faces.colours(signed, limit)), one.row))
        viewer.append(ViewerMap(f"{tool.tool} {one.kind}", f"{tool.tool}: distance of the {one.words}", signed))
    return ToolPictures((), comparisons, rendered, maps, viewer, missing)


@dataclass(frozen=True)
class ToolFace:
    """One of the faces of a tool: ``defaced``, ``refaced_mean``, ``refaced`` with its sample, or ``average``."""

    tool: ToolResult
    kind: str
    sample: int | None = None

    @property
    def number(self) -> int:
        """Of the sample, from 1; 1 for what is no sample."""
        return self.sample or 1

    @property
    def words(self) -> str:
        """What the page calls it."""
        return _WORDS.get(self.kind, f"sample {self.sample}")

    @property
    def key(self) -> str:
        """Its name in the viewer."""
        return f"{self.tool.tool}-{self.kind}{self.sample or ''}"

    @property
    def row(self) -> DistanceRow | None:
        """Its distances in the headline part."""
        return self.tool.distance(self.kind, self.sample)


def _tool_faces(tool: ToolResult) -> Iterator[ToolFace]:
    yield ToolFace(tool, "defaced")
    yield from _recovered_faces(tool)
    yield ToolFace(tool, "average")


def _recovered_faces(tool: ToolResult) -> Iterator[ToolFace]:
    """The mean first, where there is one."""
    if tool.distance("refaced_mean"):
        yield ToolFace(tool, "refaced_mean")
    for sample in tool.samples:
        yield ToolFace(tool, "refaced", sample)


def _sliced_images(names: OutputNames, tool: ToolResult) -> Iterator[tuple[str, Path]]:
    """Words and path of the images of a tool that are shown as slices: of the samples only the first."""
    yield "defaced", names.defaced(tool.tool)
    for one in _recovered_faces(tool):
        if one.sample is None:
            yield one.words, names.refaced_mean(tool.tool)
        elif one.number == 1:
            yield f"refaced, sample {one.sample}", names.refaced(tool.tool, one.sample)
    yield "average face", names.average_face(tool.tool)


def _comparisons(head: TrueHead, tool: ToolResult) -> tuple[list[Comparison], list[str]]:
    """Slices of the original and of the images of a tool; sentences about those that could not be read."""
    missing = []
    pictures: dict[str, Sequence[str]] = {"original": head.slices} if head.slices else {}
    for words, path in _sliced_images(head.names, tool):
        try:
            pictures[words] = _slices(read_scan(path), head.rigid, head.white)
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
        return [], missing
    comparisons = [
        Comparison(plane, [(words, sources[number]) for words, sources in pictures.items()], outlines[number])
        for number, plane in enumerate(planes)
    ]
    return comparisons, missing


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
