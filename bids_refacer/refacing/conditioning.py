"""What the network is told, built the same way in training and in an attack. Canonical grids, model intensities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from bids_refacer.refacing.fields import SKIN_LIMIT, SKIN_UNIT_MM, skin_certain, tissue_field
from bids_refacer.refacing.kriging import VIEW_MM, ErrorCovariance, krige
from bids_refacer.refacing.prior import FIELDS, SPACING, LinearPrior
from bids_refacer.volumes.grid import pool

_Field = TypeVar("_Field", np.ndarray, Tensor)

SCALE_FLOOR = 0.12
AIR = -1.0
ANCHOR_MM = 1.5
"""Voxels this near to known skin show how wrong the linear estimate is there."""
WORST_MM = 6.0
"""An estimate that seems to be wrong by more has met an artefact and not the skin: no anchor."""
SHARE = 0.1
"""A voxel's share of tissue by its intensity and by its distance to the skin agree within this where the skin is real.
The surface that was measured was smoothed, and mixes what is known with what is estimated: beside a cut it may lie
millimetres off. On 12 held-out heads cut by a plane, anchors chosen so bring the skin from 1.79 to 1.59 mm (the linear
estimate: 1.68), with the template region from 1.35 to 1.34 (1.51)."""
LEAST_REAL = 0.2
"""With a smaller share of such voxels, the surface beside the unknown region is that of noise, and the few that agree
do so by chance: the linear estimate is not moved. On held-out heads as they are the share is above 0.6. Under a bias
field and noise of a seventh of the brain's intensity it is 0.02 to 0.15, and moving made all of these worse."""
_LEAST_TISSUE = 0.2  # above air, model intensities

LEAST_SIDE = 24
"""Shortest side of a working box. Under it, the coarsest level of a network is 2 voxels deep, where oneDNN's bfloat16
weight gradient of a 3x3x3 convolution is garbage (torch 2.13, AVX512-BF16: infinite at depth 2, right at others)."""


@dataclass(frozen=True)
class Level:
    """One resolution of a head, all (1, 1, i, j, k) float32.

    values : used where known; known, unknown : 0 or 1, both 0 outside the field of view
    """

    values: Tensor
    known: Tensor
    unknown: Tensor


def pyramid(values: np.ndarray, known: np.ndarray, unknown: np.ndarray, finest: int, coarsest: int) -> dict[int, Level]:
    """Levels from `finest` to `coarsest` mm, each half the resolution of the one before.

    A coarse voxel is known when all eight voxels in it are, and unknown when any of them is.
    """
    levels = {}
    for spacing in (finest * 2**n for n in range(8) if finest * 2**n <= coarsest):
        levels[spacing] = Level(as_tensor(values), as_tensor(known), as_tensor(unknown))
        unknown = ~pool(values, ~unknown)[1]
        values, known = pool(values, known)
    return levels


def linear_fields(prior: LinearPrior, level: Level) -> Tensor:
    """The linear attack's estimate of the fields from the known voxels, (1, 2, i, j, k): skin, tissue."""
    values, known, unknown = (t[0, 0].numpy() for t in (level.values, level.known, level.unknown))
    return torch.from_numpy(prior.conditional_fields(values, known > 0, unknown > 0))[None]


def anchored_fields(
    prior: LinearPrior, level: Level, skin: np.ndarray, *, shares: bool = True
) -> tuple[Tensor, Tensor]:
    """The linear estimate, moved to agree with the skin and the tissue seen beside the unknown region (`krige`).

    Not moved where that skin is lost in noise (`LEAST_REAL`).

    Parameters
    ----------
    skin : (i, j, k) float, the `skin` field of the head, used at known voxels next to the skin alone
    shares : whether `left_open` is asked for (`krige`)

    Returns
    -------
    fields : (1, 2, i, j, k): skin, tissue
    left_open : (1, 2, i, j, k), share of the estimate's variance that what was seen leaves, 1 where it was not moved
    """
    values, known, unknown = (t[0, 0].numpy() for t in (level.values, level.known, level.unknown))
    fit = prior.fitted(values, known > 0, unknown > 0)
    estimate = prior.fields_at(fit.scores)
    tissue = tissue_field(values, skin, known > 0)
    errors = np.stack([skin, tissue]) - estimate
    near = (known > 0) & skin_certain(skin, known + unknown > 0, SPACING) & (np.abs(skin) * SKIN_UNIT_MM <= ANCHOR_MM)
    near &= ndimage.distance_transform_edt(unknown <= 0, sampling=SPACING) < VIEW_MM
    seen = (values - AIR) / np.maximum(tissue - AIR, _LEAST_TISSUE)
    real = near & (np.abs(seen - tissue_share(skin, SPACING)) < SHARE)
    if real.sum() < LEAST_REAL * near.sum():
        return torch.from_numpy(estimate)[None], torch.ones(1, *estimate.shape)
    anchors = real & (np.abs(errors[0]) * SKIN_UNIT_MM <= WORST_MM)
    moving = np.abs(estimate[0]) < SKIN_LIMIT
    covariance = ErrorCovariance([prior.blocks[name] for name in FIELDS], fit.covariance)
    expected, left_open = krige(errors, anchors, unknown > 0, moving, covariance, shares=shares)
    limits = np.array([SKIN_LIMIT, 1], np.float32).reshape(-1, 1, 1, 1)
    moved = np.clip(estimate + expected, -limits, limits)
    return torch.from_numpy(moved)[None], torch.from_numpy(left_open)[None]


def condition_volume(values: Tensor, known: Tensor, estimate: Tensor) -> Tensor:
    """Conditioning of a stage, (n, 4, i, j, k): known intensities, known mask, and what the residual is drawn over.

    Parameters
    ----------
    values, known : (n, 1, i, j, k); `known` is 0 or 1
    estimate : (n, 2, i, j, k), the fields skin and tissue (first stage), or base image and skin field (later stages)
    """
    return torch.cat([values * known, known, estimate], dim=1)


def upsample(volume: Tensor) -> Tensor:
    """(n, c, i, j, k) -> (n, c, 2i, 2j, 2k), cubic (linear would flatten the tip of a nose), voxel edges kept."""
    x, y, z = (_doubling(side) for side in volume.shape[2:])
    return torch.einsum("ai,ncijk,bj,dk->ncabd", x, volume, y, z)


@cache
def _doubling(side: int) -> Tensor:
    """(2n, n): cubic spline interpolation along one axis. It is linear and separable: three small matrices instead of a
    spline in space, twenty times as fast."""
    doubled = ndimage.zoom(np.eye(side), (2, 1), order=3, mode="nearest", grid_mode=True)
    return torch.from_numpy(doubled.astype(np.float32))


def render(skin: Tensor, tissue: Tensor, spacing: int) -> Tensor:
    """The image of two fields: tissue inside the skin, air outside, partial volume in between.

    Parameters
    ----------
    skin, tissue : (n, 1, i, j, k), on the grid of the image
    spacing : of the grid, mm

    Returns
    -------
    (n, 1, i, j, k) model intensities; half of the tissue's signal where `skin` is 0
    """
    return (tissue - AIR) * tissue_share(skin, spacing) + AIR


def tissue_share(skin: _Field, spacing: float) -> _Field:
    """Share of tissue in voxels of `spacing` mm, 0 to 1, by the `skin` field there (any shape): a half at the skin."""
    return (0.5 - skin * (SKIN_UNIT_MM / spacing)).clip(0, 1)


def image_of(fields: Tensor, spacing: int, finest: int) -> Tensor:
    """The image of fields on a grid of `spacing` mm, upsampled to one of `finest` mm: (n, 1, i, j, k)."""
    while spacing > finest:
        fields, spacing = upsample(fields), spacing // 2
    return render(fields[:, :1], fields[:, 1:], spacing)


def residual_scale(skin: Tensor) -> Tensor:
    """How large a residual over the base may be expected to be, relative to that in tissue.

    A later stage draws the residual in this unit. Far outside the skin there is hardly one, and a network that is not
    told so has to learn it voxel by voxel: until it has, its samples leave speckle in air.

    Parameters
    ----------
    skin : (n, 1, i, j, k) skin field

    Returns
    -------
    (n, 1, i, j, k), 1 up to 2 mm outside the skin, falling to 0.12 at 8 mm
    """
    return (1 - (skin - 0.25) * (1 - SCALE_FLOOR) / 0.75).clamp(SCALE_FLOOR, 1.0)


def working_box(unknown: Tensor, multiple: int) -> tuple[slice, ...]:
    """Index of the bounding box of the unknown voxels with a margin of 4, its sides multiples of `multiple`.

    Parameters
    ----------
    unknown : (1, 1, i, j, k), 0 or 1
    """
    mask = unknown[0, 0].numpy() > 0
    where = np.argwhere(mask)
    if not len(where):
        least = -(-LEAST_SIDE // multiple) * multiple
        return (slice(None), slice(None), *(slice(0, min(least, side)) for side in mask.shape))
    box = [slice(None), slice(None)]
    for low, high, side in zip(where.min(0) - 4, where.max(0) + 5, mask.shape, strict=True):
        low, high = max(0, int(low)), min(side, int(high))
        size = min(side, -(-max(high - low, LEAST_SIDE) // multiple) * multiple)
        low = min(low, side - size)
        box.append(slice(low, low + size))
    return tuple(box)


def as_tensor(array: np.ndarray) -> Tensor:
    """(i, j, k) array -> (1, 1, i, j, k) float32."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
