"""One style for all figures: matplotlib draws in place-holder colours, which the page's style sheet fills in.

A figure so follows the page into dark mode and onto paper, and its texts stay texts.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
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
    svg = svg[svg.index("<svg") :].strip()
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
    """A figure, and what it shows for those who do not see it."""

    figure: Figure
    alt: str


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

    def drawn(self, prefix: str) -> list[Markup]:
        """The figures as SVG elements; `prefix` keeps ids of several kinds of image apart."""
        return [Markup(to_svg(f, f"{prefix}-{self.name}-{n}", alt)) for n, (f, alt) in enumerate(self.panels)]
