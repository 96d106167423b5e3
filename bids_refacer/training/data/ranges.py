"""What heads a model was trained on, told as ranges (`refacing.range_check`), so that an audit can warn of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bids_refacer.refacing.defaced_head import estimated_head
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.range_check import extremes, measures
from bids_refacer.refacing.unknown import Level, NothingRemovedError
from bids_refacer.training.data.heads import SPACING, Head
from bids_refacer.training.data.priors import folds_of


def training_ranges(
    heads: list[Head], priors: Sequence[LinearPrior], regions: Sequence[Callable[[Head], np.ndarray]]
) -> dict[str, tuple[float, float]]:
    """Extremes over training heads, each defaced in several ways and judged by the prior that did not see it.

    Parameters
    ----------
    priors : one for each fold (`priors.folds_of`)
    regions : of a head, (96, 128, 128) bool, what is removed
    """
    rows = []
    for head, fold in zip(heads, folds_of(heads), strict=True):
        for region in regions:
            kept = head.seen & ~region(head)
            try:
                seen = Level(head.values, kept, head.seen & ~kept, SPACING)
                view = estimated_head(seen, priors[fold], "linear")
            except NothingRemovedError:
                continue
            rows.append(measures(view, head.alignment, priors[fold]))
    return extremes(rows) if rows else {}
