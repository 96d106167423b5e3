"""Training examples, each a pure function of (heads, seed, step): any step can be made again, so resuming is exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.refacing.conditioning import coarse_condition
from bids_refacer.training.augment import apply_intensity, apply_pose, draw_augmentation
from bids_refacer.training.heads import Head
from bids_refacer.training.regions import draw_region
from bids_refacer.volumes.grid import pool
from bids_refacer.volumes.prior import LinearPrior, fit_prior

FOLDS = 5
AIR = -0.94
"""Model intensity under which a voxel connected to the border counts as air (a zeroed background)."""


@dataclass(frozen=True)
class Example:
    """One augmented head with an unknown region, on the 2 mm grid.

    values (96, 128, 128) float32; seen, known (96, 128, 128) bool; fold of the head
    """

    values: np.ndarray
    seen: np.ndarray
    known: np.ndarray
    fold: int


def draw_example(heads: list[Head], seed: int, step: int) -> Example:
    """The example of a step: a head, an unknown region, a pose and an intensity augmentation, all from one seed."""
    rng = np.random.default_rng([seed, step])
    index = int(rng.integers(len(heads)))
    head = heads[index]
    draw = draw_augmentation(rng)
    region = draw_region(head, rng)
    if rng.random() < 0.5:  # scanners and tools that write exact zeros in air: air and removed cannot be told apart
        region = region | (head.values < AIR)
    values = apply_intensity(head.values, head.brain, draw)
    labels = apply_pose(head.seen.astype(np.uint8) + (head.seen & ~region), draw, 0)  # 1 seen, 2 known
    values = np.where(labels > 0, apply_pose(values, draw, -1.0), -1).astype(np.float32)
    return Example(values, labels > 0, labels > 1, index % FOLDS)


def cross_fitted_priors(heads: list[Head], modes: int, noise: float) -> list[LinearPrior]:
    """One prior per fold, fitted without that fold's heads (each head and its mirror image), and last one on all.

    The network must see linear estimates as wrong as those of an unseen head.
    """
    pooled = [pool(head.values, head.seen) for head in heads]
    values, seen = np.stack([p[0] for p in pooled]), np.stack([p[1] for p in pooled])
    fold = np.arange(len(heads)) % FOLDS
    priors = []
    for out in [*range(FOLDS), -1]:
        keep = fold != out
        both = np.concatenate([values[keep], values[keep][:, ::-1]])
        both_seen = np.concatenate([seen[keep], seen[keep][:, ::-1]])
        priors.append(fit_prior(both, both_seen, modes, noise))
    return priors


def coarse_arrays(example: Example, prior: LinearPrior) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """condition (3, 48, 64, 64), target residual, unknown, weight, each (1, 48, 64, 64), float32."""
    condition, linear, known = coarse_condition(example.values, example.known, prior)
    truth, seen = pool(example.values, example.seen)
    unknown = ~known
    weight = unknown & seen
    target = np.where(weight, truth - linear, 0)
    return condition, target[None].astype(np.float32), _float(unknown), _float(weight)


def fine_crop(example: Example, rng: np.random.Generator, size: int) -> tuple[slice, slice, slice]:
    """A cube of `size` voxels around a random voxel of the unknown region where head tissue is near."""
    wanted = example.seen & ~example.known & (example.values > -0.8)
    places = np.flatnonzero(wanted)
    if not places.size:
        places = np.flatnonzero(~example.known)
    centre = np.unravel_index(places[rng.integers(places.size)], wanted.shape) + rng.integers(-8, 9, 3)
    start = [int(np.clip(c - size // 2, 0, s - size)) // 2 * 2 for c, s in zip(centre, wanted.shape, strict=True)]
    return tuple(slice(a, a + size) for a in start)


def _float(mask: np.ndarray) -> np.ndarray:
    return mask[None].astype(np.float32)
