"""Reads pages as a browser would, without one: elements, their attributes, and the numbers that tables gave."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_EMPTY = {"meta", "link", "img", "input", "br", "use", "path", "hr"}


@dataclass
class Number:
    """A number on a page: its table, its row, its column, and the table's text."""

    table: str
    row: str
    column: str
    value: str
    part: str | None
    shown: str = ""


@dataclass
class PageReader(HTMLParser):
    """Collects what tests ask about."""

    numbers: list[Number] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # (attribute, value) of everything that names a resource
    images: list[dict[str, str | None]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    policy: str = ""
    unnamed: list[str] = field(default_factory=list)  # controls and pictures without a name

    def __post_init__(self) -> None:
        super().__init__()
        self._table = self._row = ""
        self._part: str | None = None
        self._silent = False
        self._labels: set[str] = set()
        self._controls: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        self._silent = tag in ("style", "script")
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            if name in about:
                self.links.append((name, about[name] or ""))
        if about.get("id"):
            self.ids.append(str(about["id"]))
        if about.get("http-equiv") == "Content-Security-Policy":
            self.policy = about["content"] or ""
        if tag == "table":
            self._table = about.get("data-table") or ""
        if tag == "tr":
            self._row = about.get("data-row") or ""
        if tag == "td":
            self._part = about.get("data-part")
        if tag == "data":
            row = self._row
            self.numbers.append(Number(self._table, row, str(about["data-column"]), str(about["value"]), self._part))
        if tag == "img":
            self.images.append(about)
            if "alt" not in about:
                self.unnamed.append("img")
        if tag in ("svg", "canvas") and not about.get("aria-label"):
            self.unnamed.append(tag)
        if tag == "label":
            self._labels.add(str(about.get("for")))
        if tag in ("input", "select"):
            self._controls.append(about)

    def handle_endtag(self, tag: str) -> None:
        self._silent = False
        if tag == "table":
            self._table = self._row = ""

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)
            if self.numbers and not self.numbers[-1].shown:
                self.numbers[-1].shown = data.strip()

    @property
    def text(self) -> str:
        """All words, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def controls_without_label(self) -> list[dict[str, str | None]]:
        """Controls that a screen reader could not name."""
        return [c for c in self._controls if not c.get("aria-label") and str(c.get("id")) not in self._labels]


def read_page(path: Path) -> PageReader:
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def assert_self_contained(path: Path) -> None:
    """Nothing on the page is loaded from anywhere, and the browser is told so; links lead to files beside it."""
    page, text = read_page(path), path.read_text(encoding="utf-8")
    assert page.policy.startswith("default-src 'none';") and "http" not in page.policy
    for name, target in page.links:
        if name == "href":
            assert re.match(r"(#|data:,|[\w./-]+\.(tsv|json|md|html)$|README$)", target), target
        else:
            assert target.startswith(("data:", "#")), target
    styles = re.findall(r"<style.*?</style>|style=\"[^\"]*\"", text, flags=re.DOTALL)
    assert not [style for style in styles if re.search(r"@import|url\((?!['\"]?(#|data:))", style)]
    assert len(page.ids) == len(set(page.ids)), "ids are unique"
    assert page.unnamed == [] and page.controls_without_label() == []
