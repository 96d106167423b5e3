"""Figures of recognition by face-recognition programs: what they find here, and in larger crowds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from bids_refacer.dataset.rows.recognition import CrowdRow, GroupRecognitionRow
from bids_refacer.reports import group_figures as draw
from bids_refacer.reports.group_tables import GroupTables, by_tool, column, matching
from bids_refacer.reports.theme import COLOURS, MARKERS, Panel, Plot, new_figure

_KIND_OF_FACE = {"defaced": "defaced", "average": "average", "refaced": "recovered", "refaced_mean": "recovered"}
_NONE = (
    "Nobody was recognised: that needs the descriptors of two or more participants (identifiable/), which "
    "--no-recognition leaves out and --no-keep-refaced removes."
)


def recognition_plot(tables: GroupTables) -> Plot:
    """Rank-1 rates of each tool, by recogniser and kind of face."""
    panels = []
    for tool, rows in by_tool(matching(tables.recognition, scan="same", gate="passed")):
        known = [row for row in rows if row.rank1 is not None and row.image_type in _KIND_OF_FACE]
        known.sort(key=lambda row: (str(row.recogniser), list(_KIND_OF_FACE).index(str(row.image_type))))
        if not known:
            continue
        estimates = [_estimate(row) for row in known]
        alt = f"{tool}: " + "; ".join(f"{name} {rate:.2f}" for name, _, rate, _, _ in estimates)
        panels.append(Panel(draw.estimates_figure(tool, estimates, known[0].rank1_chance, "rank-1 rate"), alt))
    return Plot(
        name="recognition",
        title="Would a face-recognition program find people again?",
        table="group_recognition",
        caption="Share of participants whose own original is the nearest in the gallery, with 95 % bootstrap interval, "
        "by face-recognition programs that see pictures of the heads, by shape, and by the shape of what the attack "
        "painted alone. Dotted: chance. Images that count, the gallery's own scans.",
        panels=panels,
        if_none=_NONE,
        kinds=("defaced", "average", "recovered"),
    )


def _estimate(row: GroupRecognitionRow) -> draw.Estimate:
    name = f"{row.recogniser} {str(row.image_type).replace('_', ' ')}"
    rate, low, high = column((row.rank1, row.rank1_low, row.rank1_high)).tolist()
    return name, _KIND_OF_FACE[str(row.image_type)], rate, low, high


def crowd_plot(tables: GroupTables) -> Plot:
    """How the best recogniser's rate falls with the crowd, of each tool."""
    best = {str(row.tool): row.recogniser for row in tables.summary if row.recogniser}
    panels = []
    for tool, rows in by_tool(matching(tables.crowd, gate="passed")):
        own = [row for row in rows if row.recogniser == best.get(tool)]
        faces = {
            kind: matching(own, image_type=image_type)
            for image_type, kind in _KIND_OF_FACE.items()
            if matching(own, image_type=image_type)
        }
        if faces:
            ends = {kind: points[-1] for kind, points in faces.items()}
            alt = f"{tool}, {best[tool]}: " + "; ".join(
                f"{kind} {column([row.rank1])[0]:.3f} among {row.gallery:,}" for kind, row in ends.items()
            )
            panels.append(Panel(_crowd_figure(f"{tool}, {best[tool]}", faces), alt))
    return Plot(
        name="crowd",
        title="And in how large a crowd?",
        table="group_crowd",
        caption="Share of participants who would be found first among so many people, with 95 % interval, by the "
        "recogniser that finds most. Filled: measured in galleries taken out of this dataset's. Hollow: extrapolated "
        "from it, which is a projection and no measurement.",
        panels=panels,
        if_none=_NONE,
        kinds=("defaced", "average", "recovered"),
    )


def _crowd_figure(title: str, faces: dict[str, list[CrowdRow]]) -> Figure:
    """Rates against the size of the crowd, with intervals: a curve for each kind of face."""
    figure, axes = new_figure(3.6, 2.9)
    for kind, rows in faces.items():
        ordered: Sequence[CrowdRow] = sorted(rows, key=lambda row: row.gallery or 0)
        sizes, rates = column(row.gallery for row in ordered), column(row.rank1 for row in ordered)
        low, high = column(row.rank1_low for row in ordered), column(row.rank1_high for row in ordered)
        measured = np.array([row.source == "measured" for row in ordered])
        axes.fill_between(sizes, low, high, color=COLOURS[kind], alpha=0.12, linewidth=0)
        axes.plot(sizes, rates, color=COLOURS[kind], linewidth=1.6, gid=kind)
        for some, face in ((measured, COLOURS[kind]), (~measured, "none")):
            axes.plot(sizes[some], rates[some], MARKERS[kind], color=COLOURS[kind], mfc=face, ms=4, clip_on=False)
    axes.set_xscale("log")
    axes.set(ylim=(0, 1.02), xlabel="people in the crowd", ylabel="share found first", title=title)
    return figure
