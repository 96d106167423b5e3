"""One style for all figures: matplotlib draws in place-holder colours, which the page's style sheet fills in.

A figure so follows the page into dark mode and onto paper, and its texts stay texts.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# name -> place-holder; page.css has a variable --c-<name> for each. The four kinds of face are told apart by lightness
# and by marker as well as by hue (Okabe and Ito's set, which colour-blind readers can tell apart)
COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "original": "#040404",
    "defaced": "#050505",
    "average": "#060606",
    "recovered": "#070707",
}
MARKERS = {"original": "D", "defaced": "v", "average": "s", "recovered": "o"}
WORDS = {
    "original": "true face",
    "defaced": "defaced image",
    "average": "average face",
    "recovered": "recovered face",
}
_BY_CODE = {code: name for name, code in COLOURS.items()}
_RC: Any = {  # matplotlib types the keys as literals
    "svg.fonttype": "none",
    "svg.hashsalt": "bids_refacer",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlecolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def new_figure(width: float = 3.6, height: float = 2.7) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, inches; narrow enough for a telephone, so that it is never scaled down."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        axes = figure.add_subplot(facecolor="none")
        axes.grid(True, axis="y")
        axes.set_axisbelow(True)
    return figure, axes


def to_svg(figure: Figure, name: str, alt: str) -> str:
    """The figure as an SVG element for the page.

    Parameters
    ----------
    figure : Figure
    name : unique on the page; all ids of the element begin with it
    alt : what it shows, for those who do not see it
    """
    text = io.StringIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = _few_elements(svg[svg.index("<svg") :].strip())
    svg = re.sub(r"#(0[1-9])\1\1\b", lambda found: f"var(--c-{_BY_CODE[found.group()]})", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    width = re.search(r'width="([\d.]+)pt"', svg)
    points = float(width.group(1)) if width else 260.0
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    label = html.escape(alt, quote=True)
    return svg.replace(
        "<svg", f'<svg class="figure" role="img" aria-label="{label}" style="max-width:{points * 4 / 3:.0f}px"', 1
    )


class Panel(NamedTuple):
    """A figure, what it shows for those who do not see it, and whose points are where.

    `points` are (x, y, participant) in the units of the axes.
    """

    figure: Figure
    alt: str
    points: Sequence[tuple[float, float, str]] = ()


@dataclass(frozen=True)
class Plot:
    """A heading with figures, or with a sentence in their place.

    Attributes
    ----------
    name : unique on the page
    title, caption : words above and below
    table : the table that has the numbers
    panels : one figure, or one for each tool or phenotype
    if_none : why there is no figure
    kinds : kinds of face whose colours need a key
    """

    name: str
    title: str
    table: str
    caption: str
    panels: Sequence[Panel]
    if_none: str
    kinds: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Why there is no figure; empty where there is one."""
        return "" if self.panels else self.if_none

    def drawn(self, prefix: str, pages: Container[str] = ()) -> list[Markup]:
        """The figures as SVG elements.

        Parameters
        ----------
        prefix : keeps ids of several kinds of image apart
        pages : participants who have a page, to which their points lead
        """
        return [Markup(_drawn(panel, f"{prefix}-{self.name}-{n}", pages)) for n, panel in enumerate(self.panels)]


def _drawn(panel: Panel, name: str, pages: Container[str]) -> str:
    svg = to_svg(panel.figure, name, panel.alt)
    led = [point for point in panel.points if point[2] in pages]
    if not led:
        return svg
    x, y = panel.figure.axes[0].transData.transform([point[:2] for point in led]).T
    height = panel.figure.bbox.height
    scale = 72 / panel.figure.dpi
    places = [
        [round(float(a * scale), 1), round(float((height - b) * scale), 1), label]
        for a, b, (_, _, label) in zip(x, y, led, strict=True)
    ]
    return svg.replace("<svg", f'<svg data-points="{html.escape(json.dumps(places), quote=True)}"', 1)


_USES = re.compile(r'(?:\s*<use xlink:href="#[^"]+" x="[-\d.]+" y="[-\d.]+" style="[^"]*"/>)+')
_USE = re.compile(r'<use xlink:href="#([^"]+)" x="([-\d.]+)" y="([-\d.]+)" style="([^"]*)"/>')
_MOST_MARKERS = 100
_DOT = 2.6  # points, of a marker that is one of many


def _few_elements(svg: str) -> str:
    """Where a figure has many markers of a kind, all of them as one path of dots: browsers are slow with thousands."""

    def one_path(found: re.Match[str]) -> str:
        uses = _USE.findall(found.group())
        if len(uses) <= _MOST_MARKERS:
            return found.group()
        dots = "".join(f"M{float(x):.1f} {float(y):.1f}h0" for _, x, y, _ in uses)
        style = dict(part.split(":", 1) for part in uses[0][3].replace(" ", "").split(";") if ":" in part)
        opacity = style.get("stroke-opacity", style.get("fill-opacity", "1"))
        return (
            f'<path d="{dots}" style="fill: none; stroke: {style.get("stroke", style.get("fill", "#000"))}; '
            f'stroke-width: {_DOT}; stroke-linecap: round; stroke-opacity: {opacity}"/>'
        )

    return _USES.sub(one_path, svg)
