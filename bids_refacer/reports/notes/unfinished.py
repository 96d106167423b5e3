"""That a run has not ended."""

from __future__ import annotations

from collections.abc import Sequence

from bids_refacer.dataset.rows.group import SummaryRow


def unfinished_lines(summary: Sequence[SummaryRow]) -> list[str]:
    """That the run had not ended, and how much is left of it."""
    left, all_images = (sum(getattr(row, name) or 0 for row in summary) for name in ("n_unfinished", "n_images"))
    if not left:
        return []
    return [
        f"The participant level has not ended: {left} of {all_images} image x tool are not done yet (group_images.tsv "
        "names them), and nothing here counts them. Run the level group again when it has."
    ]
