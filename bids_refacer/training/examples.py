"""Training examples, each a pure function of (heads, seed, step): any step can be made again, so resuming is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bids_refacer.refacing.conditioning import (
    Level,
    anchored_fields,
    as_tensor,
    condition_volume,
    linear_fields,
    render,
    residual_scale,
    upsample,
    working_box,
)
from bids_refacer.refacing.unknown import NothingRemovedError, paint_region
from bids_refacer.training.augment import (
    Augmentation,
    Box,
    apply_intensity,
    apply_pose,
    draw_augmentation,
    size_factor,
)
from bids_refacer.training.heads import FIELD_SPACING, SPACING, Head
from bids_refacer.training.priors import folds_of
from bids_refacer.training.regions import draw_region
from bids_refacer.volumes.fields import skin_certain, skin_field, tissue_field
from bids_refacer.volumes.prior import LinearPrior

AIR = -0.94
"""Model intensity under which a voxel counts as zeroed background."""

BOX_MULTIPLE = 8
"""Sides of training boxes are multiples of this; the networks of the cascade take them."""

FAR_WEIGHT = 0.1
"""Weight in the loss of the skin field far from the skin, and of the tissue field in air: neither shows in an image."""


@dataclass(frozen=True)
class Item:
    """Arguments of `Denoiser.loss` for one example: unknown (1, 1, i, j, k), target and weight with a channel for each
    that the stage generates, condition with 4.

    The weight of a later stage brings errors of the target, which is in units of `residual_scale`, back to intensities.
    """

    target: Tensor
    condition: Tensor
    unknown: Tensor
    weight: Tensor
    augmentation: float


@dataclass(frozen=True)
class Example:
    """One augmented head with an unknown region, on the 4 mm grid.

    Attributes
    ----------
    head : the head it was made from
    draw : its augmentation
    gain : factor of the intensities that goes with it
    values, skin, tissue : (48, 64, 64) float32, the truth
    known, unknown : (48, 64, 64) bool, neither outside the field of view
    skin_seen : (48, 64, 64) bool, where the true distance to the skin is certain in spite of a cut field of view
    fold : of the head's participant (`priors.folds_of`)
    """

    head: Head
    draw: Augmentation
    gain: float
    values: np.ndarray
    skin: np.ndarray
    tissue: np.ndarray
    known: np.ndarray
    unknown: np.ndarray
    skin_seen: np.ndarray
    fold: int


def draw_example(heads: list[Head], seed: int, step: int) -> Example:
    """The example of a step: a head, an unknown region, a pose and an intensity augmentation, all from one seed."""
    rng = np.random.default_rng([seed, step])
    index = int(rng.integers(len(heads)))
    head, fold = heads[index], int(folds_of(heads)[index])
    draw = draw_augmentation(rng)
    region = draw_region(head, rng)
    zeroed_air = rng.random() < 0.5  # scanners and tools that write exact zeros: air and removed cannot be told apart
    values = apply_pose(head.pairs, SPACING, draw, FIELD_SPACING, cval=-1.0, offset=0.5)
    seen = apply_pose(head.seen.astype(np.float32), SPACING, draw, FIELD_SPACING) > 0.99
    removed = apply_pose(region.astype(np.float32), FIELD_SPACING, draw, FIELD_SPACING) > 0.5
    skin = skin_field(
        size_factor(draw) * apply_pose(head.skin_mm, FIELD_SPACING, draw, FIELD_SPACING, order=3, cval=99)
    )
    if zeroed_air:
        removed = removed | (values < AIR)
    brain = apply_pose(head.brain.astype(np.float32), SPACING, draw, FIELD_SPACING) > 0.5
    values, gain = apply_intensity(np.where(seen, values, -1), FIELD_SPACING, draw, None, brain, None)
    tissue = tissue_field(values, skin, seen)
    known, unknown = seen & ~removed, seen & removed
    return Example(
        head, draw, gain, values, skin, tissue, known, unknown, skin_certain(skin, seen, FIELD_SPACING), fold
    )


def narrowed(example: Example, prior: LinearPrior) -> Example:
    """The example with the region that an attack would paint: near tissue that is expected and missing.

    Expected by the linear estimate, never by the truth: a region that follows the true skin at a distance tells where
    it lies, and a network would learn to read that instead of the head. Nothing is unknown where no tissue is missing.
    """
    known, unknown = painted_region(_level(example), prior)
    return replace(example, known=known, unknown=unknown)


def painted_region(level: Level, prior: LinearPrior) -> tuple[np.ndarray, np.ndarray]:
    """(known, unknown), (i, j, k) bool, of a level whose `unknown` is all that was removed: see `narrowed`."""
    known, unknown = (t[0, 0].numpy() > 0 for t in (level.known, level.unknown))
    seen, expected = known | unknown, linear_fields(prior, level)[0, 0].numpy() < 0
    try:
        paint = paint_region(unknown, seen, expected, FIELD_SPACING)
    except NothingRemovedError:
        paint = np.zeros_like(unknown)
    return seen & ~paint, paint


def coarse_item(example: Example, prior: LinearPrior) -> Item:
    """The example for the first stage: the residual of the fields over the linear estimate."""
    level = _level(example)
    base = anchored_fields(prior, level, example.skin)
    truth = torch.from_numpy(np.stack([example.skin, example.tissue]))[None]
    box = working_box(level.unknown, BOX_MULTIPLE)
    condition = condition_volume(level.values, level.known, base)
    target = (truth - base) * level.unknown
    near = (truth[:, :1].abs() < 1).float() * (1 - FAR_WEIGHT) + FAR_WEIGHT
    inside = (truth[:, :1] < 0.5).float() * (1 - FAR_WEIGHT) + FAR_WEIGHT
    weight = torch.cat([near * as_tensor(example.skin_seen), inside], 1) * level.unknown
    return Item(target[box], condition[box], level.unknown[box], weight[box], 0.0)


def fine_item(example: Example, prior: LinearPrior, rng: np.random.Generator, augmentation: float, crop: int) -> Item:
    """A cube of `crop` voxels of 2 mm of the example with corrupted fields, for a later stage.

    The fields of an attack are a sample where voxels are unknown, sharp here and wrong there, and the linear estimate
    elsewhere. The sample is imitated by the true fields plus Gaussian noise of a random level (conditioning
    augmentation, Ho et al. 2022, section 3), which the network is told.
    """
    box = fine_crop(example, rng, crop)
    i, j, k = (slice(2 * part.start, 2 * part.stop) for part in box)
    double = (i, j, k)
    values, _ = apply_intensity(_fine_values(example, double), SPACING, example.draw, example.gain, None, double)
    noise = torch.from_numpy(rng.standard_normal((1, 2, *example.values[box].shape)).astype(np.float32))
    level = float(augmentation * rng.random())
    estimate = anchored_fields(prior, _level(example), example.skin)[(slice(None), slice(None), *box)]
    truth = torch.from_numpy(np.stack([example.skin[box], example.tissue[box]]))[None]
    fields = torch.where(as_tensor(example.unknown[box]) > 0, truth + level * noise, estimate)
    skin, tissue = upsample(fields).split(1, 1)
    base = render(skin, tissue, SPACING)
    unknown, known = (_doubled(m[box]) for m in (example.unknown, example.known))
    scale = residual_scale(skin)
    target = (as_tensor(values) - base) / scale * unknown
    certain = _doubled(example.skin_seen[box])
    condition = condition_volume(as_tensor(values), known, torch.cat([base, skin], 1))
    return Item(target, condition, unknown, scale**2 * unknown * certain, level)


def _level(example: Example) -> Level:
    return Level(as_tensor(example.values), as_tensor(example.known), as_tensor(example.unknown))


def _fine_values(example: Example, box: Box) -> np.ndarray:
    return apply_pose(example.head.values, SPACING, example.draw, SPACING, box, cval=-1.0)


def _doubled(mask: np.ndarray) -> Tensor:
    return as_tensor(mask.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def fine_crop(example: Example, rng: np.random.Generator, size: int) -> Box:
    """A cube of `size` voxels of 2 mm, as a box of the 4 mm grid, around a random unknown voxel near the skin."""
    places = np.flatnonzero(example.unknown & (np.abs(example.skin) < 1))
    shape, side = example.unknown.shape, size // 2
    chosen = places[rng.integers(places.size)] if places.size else rng.integers(example.unknown.size)
    centre = np.unravel_index(chosen, shape) + rng.integers(-4, 5, 3)
    i, j, k = (int(np.clip(c - side // 2, 0, s - side)) for c, s in zip(centre, shape, strict=True))
    return slice(i, i + side), slice(j, j + side), slice(k, k + side)
