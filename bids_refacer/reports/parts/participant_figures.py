"""The figure of a tool on the page of a participant: distances by part of the face."""

from __future__ import annotations

from collections.abc import Sequence

from bids_refacer.reports.page import shown
from bids_refacer.reports.participant_data import ToolResult
from bids_refacer.reports.theme import COLOURS, MARKERS, WORDS, new_figure, to_svg

_TYPES = {"average": ("average",), "recovered": ("refaced_mean", "refaced_sample_mean", "refaced")}


def distances_figure(tool: ToolResult, parts: Sequence[str], name: str) -> str | None:
    """Average and recovered face in every part, as an SVG element; None where neither was measured.

    Parameters
    ----------
    tool : ToolResult
    parts : rows of the figure
    name : unique on the page
    """
    points = {kind: _distances(tool, types) for kind, types in _TYPES.items()}
    if not all(points.values()):
        return None
    figure, axes = new_figure(4.6, 0.75 + 0.26 * len(parts))
    for kind, distances in points.items():
        rows = [place for place, part in enumerate(parts) if part in distances]
        x = [distances[parts[place]] for place in rows]
        axes.plot(x, rows, MARKERS[kind], color=COLOURS[kind], ms=6, gid=kind, clip_on=False)
    axes.set_yticks(range(len(parts)), list(parts))
    axes.set(ylim=(len(parts) - 0.5, -0.5), xlabel="distance to the true face (mm)")
    axes.set_xlim(left=0)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    alt = "; ".join(
        f"{WORDS[kind]}: " + ", ".join(f"{part} {shown(distances[part])} mm" for part in parts if part in distances)
        for kind, distances in points.items()
    )
    return to_svg(figure, name, f"{tool.tool}. {alt}")


def _distances(tool: ToolResult, types: Sequence[str]) -> dict[str, float]:
    """Part -> mm, of the first of the types of image that was measured."""
    for image_type in types:
        rows = [row for row in tool.distances if row.image_type == image_type and row.masd_mm is not None]
        if rows:
            return {str(row.part): row.masd_mm for row in rows if row.masd_mm is not None}
    return {}
