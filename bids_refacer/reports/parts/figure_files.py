"""Figures of pages as SVG files of their own, for papers and talks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bids_refacer.files import write_text

LIGHT = {
    "ink": "#16191d",
    "muted": "#5b636e",
    "grid": "#dfe3e8",
    "original": "#16191d",
    "defaced": "#6f7782",
    "average": "#b45f06",
    "recovered": "#0072b2",
}
"""Colours of the page's style sheet on white paper."""

_POINTS = re.compile(r' data-points="[^"]*"')
_STYLE = re.compile(r' style="max-width:\d+px"')


def write_figures(folder: Path, start: str, figures: Mapping[str, str]) -> None:
    """Write ``<start><name>.svg`` into a folder, and remove what an earlier run wrote under that start.

    Parameters
    ----------
    folder : made where it is not there and there is a figure
    start : of the names of the files
    figures : name -> SVG element of a page
    """
    for old in folder.glob(f"{start}*.svg"):
        if old.stem.removeprefix(start) not in figures:
            old.unlink()
    for name, svg in figures.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{start}{name}.svg", standalone(svg))


def standalone(svg: str) -> str:
    """An SVG element of a page as a file: with colours, a size and a white ground, without data for scripts."""
    text = _STYLE.sub("", _POINTS.sub("", svg))
    text = re.sub(r"var\(--c-(\w+)\)", lambda found: LIGHT[found.group(1)], text)
    ground = '<rect width="100%" height="100%" style="fill: #ffffff"/>'
    head, body = text.split(">", 1)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)[0]
    head = f'{head} width="{width}pt" height="{height}pt" font-family="Arial, Helvetica, sans-serif"'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{ground}{body}\n'
