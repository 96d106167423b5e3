"""Training examples, each a pure function of (heads, seed, step): any step can be made again, so resuming is exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from bids_refacer.refacing.conditioning import condition_volume, render, residual_scale, upsample, working_box
from bids_refacer.refacing.defaced_head import DefacedHead, estimated_head
from bids_refacer.refacing.estimate import linear_fields
from bids_refacer.refacing.fields import Fields, skin_certain, skin_field, tissue_field, to_torch
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.unknown import Level, NothingRemovedError
from bids_refacer.training.data.augment import Augmentation, apply_intensity, apply_pose, draw_augmentation, size_factor
from bids_refacer.training.data.heads import FIELD_SPACING, SPACING, Head
from bids_refacer.training.data.priors import folds_of
from bids_refacer.training.data.regions import KINDS, draw_region
from bids_refacer.volumes.grid import pool

Box = tuple[slice, slice, slice]

ZEROED_BELOW = -0.94
"""Model intensity under which a voxel counts as zeroed background."""

BOX_MULTIPLE = 8
"""Sides of training boxes are multiples of this; the networks of the cascade take them."""

SOLID_VOXELS = 2
"""Half the width of the smallest solid block of zeroed background: a signal void in the head is smaller, as it has to
be for a tool's removed region to be told from noise (`volumes.masks.constant_fill`)."""

FAR_WEIGHT = 0.1
"""Weight in the loss of the skin field far from the skin, and of the tissue field in air: neither shows in an image.

Far from the skin of the *estimate*: weights that follow the truth bias what is learned. The mean of a distance,
weighted by whether it is small, is too small everywhere, and the field is flat where the skin is uncertain.
"""

LEAST_STD, STD_PER_MM = 0.1, 1 / 200
"""Expected error of the linear estimate, in units of the fields: at known voxels, and its growth with the distance from
them. Residuals are weighed by its inverse square. Without, bare brains, whose every face voxel is far from what is
known, make most of the loss."""


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
    """One augmented head with a region removed.

    Attributes
    ----------
    head : the head it was made from
    draw : its augmentation
    values : (96, 128, 128) float32, the truth, on the 2 mm grid
    known, seen : (96, 128, 128) bool, what is not removed, and what is inside the field of view
    skin, tissue : (48, 64, 64) float32, the truth, on the 4 mm grid
    skin_seen : (48, 64, 64) bool, where the true distance to the skin is certain in spite of a cut field of view
    fold : of the head's participant (`priors.folds_of`)
    """

    head: Head
    draw: Augmentation
    values: np.ndarray
    known: np.ndarray
    seen: np.ndarray
    skin: np.ndarray
    tissue: np.ndarray
    skin_seen: np.ndarray
    fold: int


@dataclass(frozen=True)
class Attacked:
    """An example, and what an attack makes of its defaced image: `level` is `view` on the 4 mm grid."""

    truth: Example
    view: DefacedHead
    level: Level

    @property
    def unknown(self) -> np.ndarray:
        """(48, 64, 64) bool, to be painted."""
        return self.level.unknown


def draw_example(heads: list[Head], seed: int, step: int, kinds: Mapping[str, float] = KINDS) -> Example:
    """The example of a step: a head, an unknown region, a pose and an intensity augmentation, all from one seed.

    `kinds` are the shares of the regions' kinds (`regions.draw_region`).
    """
    rng = np.random.default_rng([seed, step])
    index = int(rng.integers(len(heads)))
    head, fold = heads[index], int(folds_of(heads)[index])
    draw = draw_augmentation(rng)
    region = draw_region(head, rng, kinds)
    zeroed_air = rng.random() < 0.5  # scanners and tools that write exact zeros: air and removed cannot be told apart
    values = apply_pose(head.values, SPACING, draw, SPACING, cval=-1.0)
    seen = apply_pose(head.seen.astype(np.float32), SPACING, draw, SPACING) > 0.99
    # as in an attack: a voxel is known only when all that it is interpolated from is
    known = seen & (apply_pose(region.astype(np.float32), SPACING, draw, SPACING) < 0.01)
    if zeroed_air:
        known &= ~ndimage.binary_opening(values < ZEROED_BELOW, iterations=SOLID_VOXELS)
    brain = apply_pose(head.brain.astype(np.float32), SPACING, draw, SPACING) > 0.5
    values = apply_intensity(np.where(seen, values, -1), SPACING, draw, brain)
    skin = skin_field(
        size_factor(draw) * apply_pose(head.skin_mm, FIELD_SPACING, draw, FIELD_SPACING, order=3, cval=99)
    )
    pooled, whole = pool(values, seen)
    tissue = tissue_field(pooled, skin, whole)
    return Example(head, draw, values, known, seen, skin, tissue, skin_certain(skin, whole, FIELD_SPACING), fold)


def attacked(example: Example, prior: LinearPrior) -> Attacked:
    """The example as an attack finds it; nothing is unknown where no tissue is missing."""
    try:
        seen = Level(example.values, example.known, example.seen & ~example.known, SPACING)
        view = estimated_head(seen, prior, "kriged", shares=False)
    except NothingRemovedError:
        whole = Level(example.values, example.seen, np.zeros_like(example.known), SPACING)
        view = DefacedHead(whole, linear_fields(prior, whole.at(FIELD_SPACING)))
    return Attacked(example, view, view.level.at(FIELD_SPACING))


def coarse_item(found: Attacked) -> Item:
    """The example for the first stage: the residual of the fields over the linear estimate."""
    example, level, base = found.truth, found.level, to_torch(found.view.fields)
    truth, unknown = to_torch(Fields(example.skin, example.tissue)), to_torch(level.unknown)
    box = working_box(level.unknown, BOX_MULTIPLE)
    condition = condition_volume(level, base)
    target = (truth - base) * unknown
    near = (base[:, :1].abs() < 1).float() * (1 - FAR_WEIGHT) + FAR_WEIGHT
    inside = (base[:, :1] < 0.5).float() * (1 - FAR_WEIGHT) + FAR_WEIGHT
    weight = torch.cat([near * to_torch(example.skin_seen), inside], 1) * unknown * expected_precision(found)
    return Item(target[box], condition[box], unknown[box], weight[box], 0.0)


def expected_precision(found: Attacked) -> Tensor:
    """(1, 1, i, j, k): relative weight of a residual by its distance from known voxels, 1 at 20 mm."""
    distance = ndimage.distance_transform_edt(found.unknown, sampling=FIELD_SPACING)
    return to_torch(((LEAST_STD + 20 * STD_PER_MM) / (LEAST_STD + distance * STD_PER_MM)) ** 2)


def fine_item(
    found: Attacked, rng: np.random.Generator, augmentation: float, crop: int, *, over_estimate: bool = False
) -> Item:
    """A cube of `crop` voxels of 2 mm of the example with corrupted fields, for a later stage.

    The fields of an attack are a sample where voxels are unknown, sharp here and wrong there, and the linear estimate
    elsewhere. The sample is imitated by the true fields plus Gaussian noise of a random level (conditioning
    augmentation, Ho et al. 2022, section 3), which is an input of the network. With `over_estimate`, there is no sample
    and the estimate stands everywhere, for a network that has to do without a first stage.
    """
    example, box = found.truth, fine_crop(found, rng, crop)
    i, j, k = (slice(2 * part.start, 2 * part.stop) for part in box)
    view, values = found.view.level, to_torch(example.values[i, j, k])
    cut = Level(view.values[i, j, k], view.known[i, j, k], view.unknown[i, j, k], SPACING)
    unknown = to_torch(cut.unknown)
    noise = torch.from_numpy(rng.standard_normal((1, 2, *example.skin[box].shape)).astype(np.float32))
    level = float(augmentation * rng.random())
    estimate = to_torch(Fields(found.view.fields.skin[box], found.view.fields.tissue[box]))
    truth = to_torch(Fields(example.skin[box], example.tissue[box]))
    sample = (estimate if over_estimate else truth) + level * noise
    fields = torch.where(to_torch(found.unknown[box]) > 0, sample, estimate)
    upsampled = upsample(fields)
    skin, tissue = upsampled[:, :1], upsampled[:, 1:]
    base = render(skin, tissue, SPACING)
    scale = residual_scale(skin)
    target = (values - base) / scale * unknown
    certain = to_torch(example.skin_seen[box].repeat(2, 0).repeat(2, 1).repeat(2, 2))
    condition = condition_volume(cut, torch.cat([base, skin], 1))
    return Item(target, condition, unknown, scale**2 * unknown * certain, level)


def fine_crop(found: Attacked, rng: np.random.Generator, size: int) -> Box:
    """A cube of `size` voxels of 2 mm, as a box of the 4 mm grid, around a random unknown voxel near the skin."""
    unknown = found.unknown
    places = np.flatnonzero(unknown & (np.abs(found.truth.skin) < 1))
    shape, side = unknown.shape, size // 2
    chosen = places[rng.integers(places.size)] if places.size else rng.integers(unknown.size)
    centre = np.unravel_index(chosen, shape) + rng.integers(-4, 5, 3)
    i, j, k = (int(np.clip(c - side // 2, 0, s - side)) for c, s in zip(centre, shape, strict=True))
    return slice(i, i + side), slice(j, j + side), slice(k, k + side)
