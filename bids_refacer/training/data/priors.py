"""Linear priors for training: cross-fitted, kept on disk; and how unusual the training heads are to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bids_refacer.files import unfinished
from bids_refacer.refacing.defaced_head import estimated_head
from bids_refacer.refacing.fields import skin_certain, skin_field, tissue_field
from bids_refacer.refacing.prior import BLOCKS, Block, LinearPrior, fit_prior
from bids_refacer.refacing.range_check import extremes, measures
from bids_refacer.refacing.unknown import Level, NothingRemovedError
from bids_refacer.training.data.heads import FIELD_SPACING, SPACING, Head
from bids_refacer.volumes.grid import pool

FOLDS = 5


def folds_of(heads: Sequence[Head]) -> np.ndarray:
    """(n,) int: the fold of each head. All heads of a participant share one, as they share the face; participants get
    theirs in the order in which they come."""
    people = {name: place for place, name in enumerate(dict.fromkeys(head.participant for head in heads))}
    return np.array([people[head.participant] % FOLDS for head in heads], dtype=int)


def cross_fitted_priors(heads: list[Head], modes: int, noise: float) -> list[LinearPrior]:
    """One prior per fold, fitted without that fold's participants, and last one on all.

    Each head is there with its mirror image. The network must see linear estimates as wrong as those of an unseen
    head.
    """
    rows = [_quantities(head) for head in heads]
    stacked = {name: np.stack([v for row in rows for v in (row[name], row[name][::-1])]) for name in rows[0]}
    views = {"intensity": stacked.pop("seen"), "skin": stacked.pop("certain")}
    views["tissue"] = views["intensity"]
    fold = np.repeat(folds_of(heads), 2)
    priors = []
    for out in [*range(FOLDS), -1]:
        keep = fold != out
        data = {name: volumes[keep] for name, volumes in stacked.items()}
        priors.append(fit_prior(data, {name: view[keep] for name, view in views.items()}, modes, noise))
    return priors


def _quantities(head: Head) -> dict[str, np.ndarray]:
    """What a prior models, on the 4 mm grid, and where a head shows it: `seen`, and `certain` for the skin."""
    values, seen = pool(head.values, head.seen)
    skin = skin_field(head.skin_mm.astype(np.float32))
    tissue = tissue_field(values, skin, seen)
    return {
        "intensity": values,
        "skin": skin,
        "tissue": tissue,
        "seen": seen,
        "certain": skin_certain(skin, seen, FIELD_SPACING),
    }


def save_priors(priors: list[LinearPrior], path: Path, mark: str = "") -> None:
    """Write priors to one .npz file, atomically; `mark` says what they were made from (`stored_mark`)."""
    arrays: dict[str, np.ndarray] = {"noise": np.array([prior.noise for prior in priors]), "mark": np.array(mark)}
    for number, prior in enumerate(priors):
        for name, block in prior.blocks.items():
            for part in ("mean", "modes", "support"):
                arrays[f"{number}_{name}_{part}"] = getattr(block, part)
    with unfinished(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes no arrays by keyword


def stored_mark(path: Path) -> str | None:
    """The mark that `save_priors` was given; None without such a file."""
    if not path.exists():
        return None
    with np.load(path) as content:
        return str(content["mark"]) if "mark" in content else ""


def load_priors(path: Path) -> list[LinearPrior]:
    """Read what `save_priors` wrote."""
    with np.load(path) as content:
        return [
            LinearPrior(
                {n: Block(*(content[f"{number}_{n}_{part}"] for part in ("mean", "modes", "support"))) for n in BLOCKS},
                float(noise),
            )
            for number, noise in enumerate(content["noise"])
        ]


def training_ranges(
    heads: list[Head], priors: Sequence[LinearPrior], regions: Sequence[Callable[[Head], np.ndarray]]
) -> dict[str, tuple[float, float]]:
    """Extremes over training heads, each defaced in several ways and judged by the prior that did not see it.

    Parameters
    ----------
    priors : one for each fold (`folds_of`)
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
