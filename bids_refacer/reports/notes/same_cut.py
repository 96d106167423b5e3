"""Tools that made one cut: what one of them shows, the other does not confirm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bids_refacer.dataset.rows.audit import DefacingRow
from bids_refacer.dataset.rows.group import SummaryRow
from bids_refacer.wording import counted, listed

SAME_CUT = 0.95
"""Dice of the facial skin that two tools removed; above it they are one cut (docs/tools.md)."""

_ONE_MASK = {"niimath", "pydeface"}  # both use the mask of pydeface's template

Counts = Mapping[tuple[str, str], tuple[int, int]]
"""Two tools -> images in which they removed nearly the same skin, and all images."""


def same_cut_lines(counts: Counts) -> list[str]:
    """That tools made one cut, and why."""
    lines = []
    for tools, (same, number) in sorted(counts.items()):
        why = " Both cut by one mask, and without FSL also by one registration." if set(tools) == _ONE_MASK else ""
        lines.append(
            f"{listed(tools)} removed nearly the same skin of the face in {same} of {counted(number, 'image')} (Dice "
            f"above {SAME_CUT}).{why} Count them as one tool: what one shows, the other does not confirm."
        )
    return lines


def same_cut_counts(rows: Iterable[DefacingRow]) -> Counts:
    """Counts over images, whose rows name the tool that is most alike."""
    images: dict[tuple[str, str], set[str | None]] = {}
    judged: dict[str | None, set[str | None]] = {}
    for row in rows:
        if row.most_alike_dice is not None:
            judged.setdefault(row.tool, set()).add(row.image)
        if row.most_alike and (row.most_alike_dice or 0) > SAME_CUT:
            first, second = sorted((str(row.tool), row.most_alike))
            images.setdefault((first, second), set()).add(row.image)
    return {pair: (len(found), len(judged[pair[0]] | judged.get(pair[1], set()))) for pair, found in images.items()}


def summary_same_cut(summary: Sequence[SummaryRow]) -> Counts:
    """Counts over the images of a group."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for row in summary:
        if row.most_alike and row.tool:
            first, second = sorted((row.tool, row.most_alike))
            counts[first, second] = max(counts.get((first, second), (0, 0)), (row.n_same_cut or 0, row.n_judged or 0))
    return counts
