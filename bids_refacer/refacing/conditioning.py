"""The networks' conditioning, built the same way in training and in an attack. Canonical grids, model intensities."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from bids_refacer.refacing.fields import SKIN_UNIT_MM, Fields, to_torch
from bids_refacer.refacing.prior import FIELD_SPACING
from bids_refacer.refacing.unknown import Level
from bids_refacer.volumes.intensity import MODEL_AIR

_Field = TypeVar("_Field", np.ndarray, Tensor)

SCALE_FLOOR = 0.12
LEAST_SIDE = 24
"""Shortest side of a working box. Under it, the coarsest level of a network is 2 voxels deep, where oneDNN's bfloat16
weight gradient of a 3x3x3 convolution is garbage (torch 2.13, AVX512-BF16: infinite at depth 2, right at others)."""


def condition_volume(level: Level, estimate: Tensor) -> Tensor:
    """Conditioning of a stage, (1, 4, i, j, k): known intensities, known mask, and what the residual is drawn over.

    Parameters
    ----------
    level : what is known, on the grid of the stage
    estimate : (1, 2, i, j, k), the fields skin and tissue (first stage), or base image and skin field (later stages)
    """
    values, known = to_torch(level.values), to_torch(level.known)
    return torch.cat([values * known, known, estimate], dim=1)


def upsample(volume: Tensor) -> Tensor:
    """(n, c, i, j, k) -> (n, c, 2i, 2j, 2k), cubic (linear would flatten the tip of a nose), voxel edges kept."""
    x, y, z = (_doubling(side) for side in volume.shape[2:])
    return torch.einsum("ai,ncijk,bj,dk->ncabd", x, volume, y, z)


def doubled(field: np.ndarray) -> np.ndarray:
    """`upsample` of one (i, j, k) field: (2i, 2j, 2k) float32."""
    return np.asarray(upsample(to_torch(field))[0, 0].numpy())


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
    return (tissue - MODEL_AIR) * tissue_share(skin, spacing) + MODEL_AIR


def tissue_share(skin: _Field, spacing: float) -> _Field:
    """Share of tissue in voxels of `spacing` mm, 0 to 1, by the `skin` field there (any shape): a half at the skin."""
    return (0.5 - skin * (SKIN_UNIT_MM / spacing)).clip(0, 1)


def image_of(fields: Fields, spacing: int) -> np.ndarray:
    """The image of fields on the prior's grid, upsampled to one of `spacing` mm: (i, j, k) float32."""
    tensor, at = to_torch(fields), FIELD_SPACING
    while at > spacing:
        tensor, at = upsample(tensor), at // 2
    return np.asarray(render(tensor[:, :1], tensor[:, 1:], at)[0, 0].numpy())


def residual_scale(skin: Tensor) -> Tensor:
    """How large a residual over the base may be expected to be, relative to that in tissue.

    A later stage draws the residual in this unit. Far outside the skin there is hardly one. Without the unit a network
    has to learn that voxel by voxel, and until then its samples leave speckle in air.

    Parameters
    ----------
    skin : (n, 1, i, j, k) skin field

    Returns
    -------
    (n, 1, i, j, k), 1 up to 2 mm outside the skin, falling to 0.12 at 8 mm
    """
    return (1 - (skin - 0.25) * (1 - SCALE_FLOOR) / 0.75).clamp(SCALE_FLOOR, 1.0)


def working_box(unknown: np.ndarray, multiple: int) -> tuple[slice, ...]:
    """Bounding box of the unknown voxels with a margin of 4, its sides multiples of `multiple`.

    Parameters
    ----------
    unknown : (i, j, k) bool

    Returns
    -------
    index of a (1, c, i, j, k) tensor
    """
    where = np.argwhere(unknown)
    if not len(where):
        least = -(-LEAST_SIDE // multiple) * multiple
        return (slice(None), slice(None), *(slice(0, min(least, side)) for side in unknown.shape))
    box = [slice(None), slice(None)]
    for low, high, side in zip(where.min(0) - 4, where.max(0) + 5, unknown.shape, strict=True):
        low, high = max(0, int(low)), min(side, int(high))
        size = min(side, -(-max(high - low, LEAST_SIDE) // multiple) * multiple)
        low = min(low, side - size)
        box.append(slice(low, low + size))
    return tuple(box)
