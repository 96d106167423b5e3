"""Counted nouns and lists of names, and that no sentence of the app counts without them."""

from __future__ import annotations

import re

import pytest
from test_import_rules import PACKAGE

from bids_refacer.wording import counted, listed

NOUNS = "images|participants|tools|heads|columns|errors|outputs|sessions"


@pytest.mark.parametrize(
    ("number", "noun", "plural", "words"),
    [
        (0, "image", None, "0 images"),
        (1, "image", None, "1 image"),
        (2, "other image", None, "2 other images"),
        (1, "person", "people", "1 person"),
        (3, "person", "people", "3 people"),
    ],
)
def test_counted(number: int, noun: str, plural: str | None, words: str) -> None:
    assert counted(number, noun, plural) == words


@pytest.mark.parametrize(
    ("names", "most", "words"),
    [
        ([], None, ""),
        (["a"], None, "a"),
        (["a", "b"], None, "a and b"),
        (["a", "b", "c"], None, "a, b and c"),
        (["a", "b", "c"], 3, "a, b and c"),
        (["a", "b", "c", "d"], 2, "a, b and 2 more"),
    ],
)
def test_listed(names: list[str], most: int | None, words: str) -> None:
    assert listed(names, most) == words


def test_no_sentence_counts_by_itself() -> None:
    """``f"{len(x)} images"`` says "1 images" sooner or later."""
    found = [
        f"{path.name}: {match}"
        for path in PACKAGE.rglob("*.py")
        for match in re.findall(rf"\{{len\([^{{}}]*\}} (?:\w+ )?(?:{NOUNS})\b", path.read_text())
    ]
    assert found == []
