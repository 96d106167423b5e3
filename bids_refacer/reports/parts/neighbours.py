"""The pages before and after that of a participant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Neighbours:
    """Name and page of the participants before and after one; None at the ends."""

    before: tuple[str, str] | None
    after: tuple[str, str] | None


def neighbours(labels: Sequence[str], label: str) -> Neighbours:
    """The participants before and after one, None at the ends."""
    place = labels.index(label) if label in labels else 0
    near = (labels[place - 1] if place > 0 else None, labels[place + 1] if place + 1 < len(labels) else None)
    before, after = (name and (f"sub-{name}", f"sub-{name}.html") for name in near)
    return Neighbours(before or None, after or None)
