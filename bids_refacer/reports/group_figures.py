"""Figures of a group: arrays in, `matplotlib.figure.Figure` out. What they show is in the tables, number for number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bids_refacer.reports.theme import COLOURS, MARKERS, new_figure

Curve = tuple[np.ndarray, np.ndarray]
Estimate = tuple[str, str, float, float, float]
"""Label, kind of face, estimate, lower and upper bound."""


def paired_figure(tool: str, average: np.ndarray, recovered: np.ndarray, limit: float) -> Figure:
    """Distances of average and recovered face to the true one, a line for each participant.

    Parameters
    ----------
    tool : title
    average, recovered : (n,) float, mm, the same participant at the same place
    limit : end of the axis, mm, the same for all tools
    """
    figure, axes = new_figure(2.9, 2.9)
    gap = np.full(len(average), np.nan)
    x = np.column_stack([np.zeros(len(average)), np.ones(len(average)), gap]).ravel()
    y = np.column_stack([average, recovered, gap]).ravel()
    fade = max(0.08, min(0.6, 12 / max(len(average), 1)))
    axes.plot(x, y, color=COLOURS["muted"], alpha=fade, linewidth=0.8, gid="participants")
    for place, kind, values in ((0, "average", average), (1, "recovered", recovered)):
        axes.plot(np.full(len(values), place), values, MARKERS[kind], color=COLOURS[kind], ms=2.5, alpha=fade + 0.2)
    means = [float(np.mean(average)), float(np.mean(recovered))]
    axes.plot([0, 1], means, color=COLOURS["ink"], linewidth=2.2, marker="_", ms=20, mew=2.2, gid="means")
    axes.set(xlim=(-0.35, 1.35), ylim=(0, limit), ylabel="distance to the true face (mm)", title=tool)
    axes.set_xticks([0, 1], ["average\nface", "recovered\nface"])
    return figure


def curves_figure(
    tool: str, curves: Mapping[str, Curve], chance: Curve | None, *, x: str, y: str, log: bool = False
) -> Figure:
    """Cumulative match or ROC curves of one tool.

    Parameters
    ----------
    tool : title
    curves : kind of face -> (n,) x and (n,) y
    chance : what guessing gives
    x, y : labels
    log : logarithmic x axis
    """
    figure, axes = new_figure(2.9, 2.7)
    if chance is not None:
        axes.plot(*chance, ":", color=COLOURS["muted"], linewidth=1.2, gid="chance")
    for kind, (first, second) in curves.items():
        axes.plot(first, second, color=COLOURS[kind], linewidth=1.8, gid=kind, clip_on=False)
        marked = slice(None, None, max(len(first) // 6, 1))  # a marker at every point would hide the curve
        axes.plot(first[marked], second[marked], MARKERS[kind], color=COLOURS[kind], ms=4, clip_on=False)
    if log:
        axes.set_xscale("log")
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50) if curves and tick <= max(c[0][-1] for c in curves.values())]
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
    axes.set(ylim=(0, 1.02), xlabel=x, ylabel=y, title=tool)
    return figure


def estimates_figure(title: str, rows: Sequence[Estimate], zero: float | None, x: str) -> Figure:
    """Estimates with their intervals, one below the other."""
    figure, axes = new_figure(3.6, 0.9 + 0.27 * len(rows))
    if zero is not None:
        axes.axvline(zero, color=COLOURS["muted"], linewidth=1, linestyle=":")
    for place, (_, kind, estimate, low, high) in enumerate(rows):
        (bar,) = axes.plot([low, high], [place, place], color=COLOURS[kind], linewidth=2, solid_capstyle="butt")
        bar.set_gid(f"interval-{place}")
        axes.plot([estimate], [place], MARKERS[kind], color=COLOURS[kind], ms=6, gid=f"estimate-{place}")
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=x, title=title)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    return figure


def calibration_figure(tool: str, predicted: np.ndarray, error: np.ndarray, share: np.ndarray) -> Figure:
    """Real against predicted error of the samples, mm; the area of a point is its share of the face's area."""
    figure, axes = new_figure(2.9, 2.9)
    limit = 1.08 * float(max(predicted.max(), error.max()))
    axes.plot([0, limit], [0, limit], ":", color=COLOURS["muted"], linewidth=1.2, gid="identity")
    axes.scatter(predicted, error, s=12 + 160 * share, color=COLOURS["recovered"], alpha=0.85, gid="bins")
    axes.plot(predicted, error, color=COLOURS["recovered"], linewidth=1)
    axes.set(xlim=(0, limit), ylim=(0, limit), xlabel="predicted error (mm)", ylabel="real error (mm)", title=tool)
    axes.grid(True, axis="x")
    return figure


def strips_figure(tools: Sequence[str], values: Sequence[np.ndarray], limits: Sequence[float], x: str) -> Figure:
    """One point for each participant in a row for each tool, on a scale that is linear up to the first limit.

    Parameters
    ----------
    tools : names of the rows
    values : (n,) float for each tool
    limits : vertical lines, such as those of a verdict
    x : label
    """
    figure, axes = new_figure(3.6, 1.0 + 0.36 * len(tools))
    for limit in limits:
        axes.axvline(limit, color=COLOURS["muted"], linewidth=1, linestyle=":")
    rng = np.random.default_rng(0)  # only spreads points that would lie on each other
    for place, known in enumerate(values):
        heights = place + rng.uniform(-0.25, 0.25, len(known))
        axes.plot(known, heights, "o", color=COLOURS["recovered"], ms=3, alpha=0.5, gid=f"tool-{place}", clip_on=False)
    _linear_then_log(axes, limits[0], max([float(known.max()) for known in values if len(known)] + [limits[-1]]))
    axes.set_yticks(range(len(tools)), tools)
    axes.set(ylim=(len(tools) - 0.4, -0.6), xlabel=x)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    return figure


def strip_points(figure: Figure, count: int) -> list[tuple[float, float]]:
    """Coordinates of the points of `strips_figure`, those of the first tool first."""
    lines = {line.get_gid(): line for line in figure.axes[0].lines}
    own = [lines[f"tool-{place}"].get_xydata() for place in range(count)]
    return [(float(x), float(y)) for points in own for x, y in np.asarray(points)]


def _linear_then_log(axes: Axes, first: float, last: float) -> None:
    axes.set_xscale("symlog", linthresh=first)
    axes.set_xlim(-0.15 * first, last * 1.5)
    ticks = [0.0, *(value for value in (0.1, 1.0, 5.0, 10.0, 20.0, 50.0, 100.0) if first <= value <= last * 1.5)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def trade_figure(tools: Sequence[str], utility: np.ndarray, privacy: np.ndarray, x: str, y: str) -> Figure:
    """One point for each tool: right is more useful, up is more private."""
    figure, axes = new_figure(3.6, 3.2)
    axes.plot(utility, privacy, "o", color=COLOURS["recovered"], ms=7, gid="tools", clip_on=False)
    order = np.argsort(privacy)
    for rank, number in enumerate(order):
        # neighbours in height would write over each other: every second name goes to the left
        close = rank > 0 and abs(privacy[number] - privacy[order[rank - 1]]) < 0.08 * (np.ptp(privacy) or 1)
        left = close and rank % 2 == 1
        axes.annotate(
            tools[number],
            (utility[number], privacy[number]),
            xytext=(-7 if left else 7, 0),
            va="center",
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=9,
            color=COLOURS["ink"],
        )
    axes.margins(x=0.35, y=0.18)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(True, axis="x")
    return figure
