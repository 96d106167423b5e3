"""Training examples, each a pure function of (heads, seed, step): any step can be made again, so resuming is exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bids_refacer.refacing.conditioning import (
    Level,
    condition_volume,
    linear_estimate,
    pyramid,
    residual_scale,
    upsample,
    working_box,
)
from bids_refacer.refacing.unknown import TISSUE, near_missing
from bids_refacer.training.augment import apply_intensity, apply_pose, draw_augmentation
from bids_refacer.training.heads import SPACING, Head
from bids_refacer.training.regions import draw_region
from bids_refacer.volumes.grid import pool
from bids_refacer.volumes.prior import LinearPrior, fit_prior

FOLDS = 5
AIR = -0.94
"""Model intensity under which a voxel counts as zeroed background."""


BOX_MULTIPLE = 8
"""Sides of training boxes are multiples of this; the networks of the cascade take them."""


@dataclass(frozen=True)
class Item:
    """Arguments of `Denoiser.loss` for one example: condition has 3 channels, all others (1, 1, i, j, k).

    The weight brings errors of the target, which is in units of `residual_scale`, back to intensities.
    """

    target: Tensor
    condition: Tensor
    unknown: Tensor
    weight: Tensor
    augmentation: float


@dataclass(frozen=True)
class Example:
    """One augmented head with an unknown region, on the 2 mm grid.

    values (96, 128, 128) float32; known, unknown (96, 128, 128) bool, neither outside the field of view; fold of the
    head
    """

    values: np.ndarray
    known: np.ndarray
    unknown: np.ndarray
    fold: int


def draw_example(heads: list[Head], seed: int, step: int) -> Example:
    """The example of a step: a head, an unknown region, a pose and an intensity augmentation, all from one seed."""
    rng = np.random.default_rng([seed, step])
    index = int(rng.integers(len(heads)))
    head = heads[index]
    draw = draw_augmentation(rng)
    region = draw_region(head, rng)
    if rng.random() < 0.5:  # scanners and tools that write exact zeros in air: air and removed cannot be told apart
        region = (region | (head.values < AIR)) & near_missing(region & (head.values > TISSUE), SPACING)
    values = apply_intensity(head.values, head.brain, draw)
    labels = apply_pose(head.seen.astype(np.uint8) + (head.seen & ~region), draw, 0)  # 1 seen, 2 known
    values = np.where(labels > 0, apply_pose(values, draw, -1.0), -1).astype(np.float32)
    return Example(values, labels == 2, labels == 1, index % FOLDS)


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


def coarse_item(example: Example, prior: LinearPrior) -> Item:
    """The example at 4 mm, for the first stage: the residual over the linear estimate."""
    level = pyramid(example.values, example.known, example.unknown, SPACING, 2 * SPACING)[2 * SPACING]
    base = linear_estimate(prior, level)
    truth = torch.from_numpy(pool(example.values, example.known | example.unknown)[0])[None, None]
    return _item(level, truth, base, 0.0, 2 * SPACING)


def fine_item(example: Example, rng: np.random.Generator, augmentation: float, crop: int) -> Item:
    """A cube of `crop` voxels of the example with a corrupted coarse volume, for a later stage.

    The coarse volume of an attack is a sample, sharp here and wrong there. It is imitated by the pooled truth plus
    Gaussian noise of a random level (conditioning augmentation, Ho et al. 2022, section 3), which the network is told.
    """
    box = fine_crop(example, rng, crop)
    values, known, unknown = example.values[box], example.known[box], example.unknown[box]
    levels = pyramid(values, known, unknown, SPACING, 2 * SPACING)
    coarse = torch.from_numpy(pool(values, np.ones_like(known))[0])[None, None]
    noise = torch.from_numpy(rng.standard_normal(coarse.shape).astype(np.float32))
    level = float(augmentation * rng.random())
    base = upsample(torch.where(levels[2 * SPACING].unknown > 0, coarse + level * noise, coarse))
    return _item(levels[SPACING], torch.from_numpy(values)[None, None], base, level, SPACING)


def _item(level: Level, truth: Tensor, base: Tensor, augmentation: float, spacing: int) -> Item:
    """Target and conditioning, cut to the box that a sampler would work in."""
    box = working_box(level.unknown, BOX_MULTIPLE)
    condition = condition_volume(level.values, level.known, base)
    scale = residual_scale(base, spacing)
    target = (truth - base) / scale * level.unknown
    weight = scale**2 * level.unknown
    return Item(target[box], condition[box], level.unknown[box], weight[box], augmentation)


def fine_crop(example: Example, rng: np.random.Generator, size: int) -> tuple[slice, slice, slice]:
    """A cube of `size` voxels around a random unknown voxel, tissue preferred."""
    places = np.flatnonzero(example.unknown & (example.values > -0.8))
    if not places.size:
        places = np.flatnonzero(example.unknown)
    shape = example.unknown.shape
    chosen = places[rng.integers(places.size)] if places.size else rng.integers(example.unknown.size)
    centre = np.unravel_index(chosen, shape) + rng.integers(-8, 9, 3)
    i, j, k = (int(np.clip(c - size // 2, 0, s - size)) // 2 * 2 for c, s in zip(centre, shape, strict=True))
    return slice(i, i + size), slice(j, j + size), slice(k, k + size)
