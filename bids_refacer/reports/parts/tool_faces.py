"""The faces of a tool on a page, in their order, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.rows.audit import DistanceRow
from bids_refacer.reports.participant_data import ToolResult

WORDS = {"defaced": "defaced image", "average": "average face", "refaced_mean": "mean of the samples"}


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
        return WORDS.get(self.kind, f"sample {self.sample}")

    @property
    def key(self) -> str:
        """Its name in the viewer."""
        return f"{self.tool.tool}-{self.kind}{self.sample or ''}"

    @property
    def row(self) -> DistanceRow | None:
        """Its distances in the headline part."""
        return self.tool.distance(self.kind, self.sample)


def tool_faces(tool: ToolResult) -> Iterator[ToolFace]:
    """Defaced, recovered, average."""
    yield ToolFace(tool, "defaced")
    yield from _recovered_faces(tool)
    yield ToolFace(tool, "average")


def _recovered_faces(tool: ToolResult) -> Iterator[ToolFace]:
    """The mean first, where there is one."""
    if tool.distance("refaced_mean"):
        yield ToolFace(tool, "refaced_mean")
    for sample in tool.samples:
        yield ToolFace(tool, "refaced", sample)


def sliced_images(names: OutputNames, tool: ToolResult) -> Iterator[tuple[str, Path]]:
    """Words and path of the images of a tool that are shown as slices: of the samples only the first."""
    yield "defaced", names.defaced(tool.tool)
    for one in _recovered_faces(tool):
        if one.sample is None:
            yield one.words, names.refaced_mean(tool.tool)
        elif one.number == 1:
            yield f"refaced, sample {one.sample}", names.refaced(tool.tool, one.sample)
    yield "average face", names.average_face(tool.tool)
