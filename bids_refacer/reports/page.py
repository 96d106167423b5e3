"""Pages as single files: template, style and scripts in one, with a policy by which a browser loads nothing else."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from bids_refacer import __version__
from bids_refacer.dataset.rows.table import Row
from bids_refacer.dataset.tables import cell_text
from bids_refacer.files import write_text
from bids_refacer.wording import counted

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Content Security Policy of every page: nothing is loaded from anywhere."""


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Fill a template of ``data/reports`` and write it; the file appears whole or not at all."""
    text = (
        _environment()
        .get_template(template)
        .render(
            policy=POLICY,
            version=__version__,
            css=_asset("page.css"),
            js=_asset("page.js"),
            pictures=_asset("pictures.js"),
            viewer=_asset("viewer.js"),
            **values,
        )
    )
    write_text(path, text)


def number(row: Row | None, column: str, digits: int = 2, *, percent: bool = False) -> Markup:
    """A cell of a table for the eye, with the table's own text as the element's value.

    Parameters
    ----------
    row : of a table; None where the table has none
    column : of that table
    digits : after the point
    percent : show a share of 1 in percent
    """
    value = None if row is None else getattr(row, column)
    if value is None:
        return Markup('<span class="none" title="not available">n/a</span>')
    shown_value = shown(value, digits, percent)
    return Markup('<data value="{}" data-column="{}">{}</data>').format(cell_text(value), column, shown_value)


def shown(value: float | None, digits: int = 2, percent: bool = False) -> str:
    """A number as people read it: a small one, such as a p value, as a bound; "nan" for None."""
    number = math.nan if value is None else value * (100 if percent else 1)
    if number and abs(number) < 0.5 * 10**-digits:
        return f"{'<' if number > 0 else '>'}\u2009{'' if number > 0 else '-'}{10**-digits:.{digits}f}"
    return f"{number:.{digits}f}".replace("-", "\u2212") + ("\u2009%" if percent else "")


def data_uri(content: bytes, kind: str) -> str:
    """``data:image/png;base64,...`` of the content of a file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def script_json(value: object) -> Markup:
    """A value as JSON for a script element, which no text in it can end or open."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("</", "<\\/").replace("<!", "\\u003c!"))


def rendered(template: str, macro: str, *arguments: object) -> str:
    """What a macro of a template of ``data/reports`` makes of its arguments."""
    return str(getattr(_environment().get_template(template).module, macro)(*arguments))


def markdown(text: str) -> Markup:
    """Headings, lists, paragraphs and emphasis of Markdown as HTML, headings two levels further down.

    All else stays text: HTML is escaped, and addresses become no links, as a page loads and leads nowhere else.
    """
    parser = _markdown_parser()
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag.removeprefix('h')) + 2, 6)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


@cache
def _markdown_parser() -> MarkdownIt:
    return MarkdownIt("zero").enable(["heading", "list", "emphasis"])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bids_refacer", "data/reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"number": number, "cell_text": cell_text, "counted": counted}
    return environment


@cache
def _asset(name: str) -> Markup:
    return Markup((files("bids_refacer") / "data" / "reports" / name).read_text(encoding="utf-8"))
