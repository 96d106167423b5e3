"""What the figures of one image and tool say, in words; one image, so nothing is tested."""

from __future__ import annotations

from bids_refacer.dataset.rows.audit import UNFINISHED
from bids_refacer.reports.participant_data import ToolResult
from bids_refacer.surfaces.region import PLACES


def spread(tool: ToolResult) -> str:
    """How much the samples differ, in words."""
    measured = [mm for mm in (tool.masd_mm("refaced", sample) for sample in tool.samples) if mm is not None]
    if len(measured) < 2:
        return "One sample was drawn, so there is no spread (--num-samples 2 or more gives one)."
    return (
        f"{len(measured)} samples: they lie {min(measured):.2f} to {max(measured):.2f} mm from the true face "
        f"{PLACES[tool.headline]}. Where samples differ, the defaced image says little of the face."
    )


def recovered_mm(tool: ToolResult) -> float | None:
    """Distance of the recovered face, mm: of the mean image, or else the mean of the samples' distances."""
    mean = tool.masd_mm("refaced_mean")
    return tool.masd_mm("refaced_sample_mean") if mean is None else mean


def tool_line(tool: ToolResult) -> str:
    """What the figures of this image say; one image, so nothing is tested."""
    if words := UNFINISHED.get(str(tool.status.status)):
        return f"Not done yet: {words} when this page was made, or left so by a run that was killed."
    if tool.status.status not in (None, "ok"):
        return f"Not done ({tool.status.stage}): {tool.status.message}"
    recovered, average = recovered_mm(tool), tool.masd_mm("average")
    if recovered is None or average is None:
        return "There is no recovered face to compare with the average one."
    nearer = "nearer to" if recovered < average else "not nearer to"
    return (
        f"The recovered face lies {recovered:.2f} mm from the true one {PLACES[tool.headline]}, an average face "
        f"{average:.2f} mm: here the attack comes {nearer} the true face than an average face does. One image proves "
        "nothing of the tool."
    )
