"""What heads a model was trained on, told as ranges (`refacing.typical`), so that an audit can warn of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bids_refacer.refacing.canonical import canonical_head
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.typical import extremes, measures
from bids_refacer.refacing.unknown import NothingRemovedError
from bids_refacer.training.data.heads import FIELD_SPACING, SPACING, Head
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
                view = canonical_head(
                    head.values, kept, head.seen, priors[fold], spacing=SPACING, coarsest=FIELD_SPACING, anchored=False
                )
            except NothingRemovedError:
                continue
            rows.append(measures(view, head.alignment, priors[fold], SPACING, FIELD_SPACING))
    return extremes(rows) if rows else {}
