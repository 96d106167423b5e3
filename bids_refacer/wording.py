"""Counted nouns and lists of names, as sentences on pages, on the terminal and in texts need them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 image``, ``2 images``; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int | None = None) -> str:
    """``a``, ``a and b``, ``a, b and c``; with `most`, no more names than that: ``a, b and 3 more``."""
    shown = list(names if most is None else names[:most])
    if len(shown) < len(names):
        shown.append(f"{len(names) - len(shown)} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
