"""Sentences of a Markdown page, to count their words."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

_END = re.compile(r"(?<=[.!?:])(?:[)\"*]*)\s+(?=[\"(*]*[A-Z0-9`])")


def sentences(markdown: str) -> list[str]:
    """Sentences of paragraphs and list items, without code blocks, tables and headings."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    found = []
    for before, token in zip(tokens, tokens[1:], strict=False):
        if token.type == "inline" and before.type == "paragraph_open":
            found += _END.split(_words_of(token))
    return [sentence for sentence in map(str.strip, found) if len(sentence.split()) > 2]


def _words_of(token: Token) -> str:
    """Text as it is read: code is one word, however long; a break of the line is a space."""
    pieces = {"code_inline": "CODE", "softbreak": " ", "hardbreak": ". "}
    return "".join(
        pieces.get(child.type, child.content if child.type == "text" else "") for child in token.children or []
    )
