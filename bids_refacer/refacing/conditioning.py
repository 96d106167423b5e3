"""What the network is told, built the same way in training and in an attack. Canonical grids, model intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bids_refacer.volumes.grid import pool
from bids_refacer.volumes.prior import LinearPrior

SCALE_REACH_MM, SCALE_TISSUE, SCALE_FLOOR = 8, 0.4, 0.12

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


def linear_estimate(prior: LinearPrior, level: Level) -> Tensor:
    """The linear attack's estimate from the known voxels, (1, 1, i, j, k)."""
    return as_tensor(prior.conditional_mean(level.values[0, 0].numpy(), level.known[0, 0].numpy() > 0))


def condition_volume(values: Tensor, known: Tensor, base: Tensor) -> Tensor:
    """Conditioning of a stage, (n, 3, i, j, k): known intensities, known mask, base to which a residual is added.

    All (n, 1, i, j, k) on one grid; `known` is 0 or 1.
    """
    return torch.cat([values * known, known, base], dim=1)


def upsample(coarse: Tensor) -> Tensor:
    """(n, 1, i, j, k) -> (n, 1, 2i, 2j, 2k), trilinear, voxel edges kept."""
    return torch.nn.functional.interpolate(coarse, scale_factor=2.0, mode="trilinear", align_corners=False)


def residual_scale(base: Tensor, spacing: int) -> Tensor:
    """How large a residual over the base may be expected to be, relative to that in tissue.

    A stage draws the residual in this unit. Far from everything that the base takes for tissue there is hardly one, and
    a network that is not told so has to learn it voxel by voxel: until it has, its samples leave speckle in air.

    Parameters
    ----------
    base : (n, 1, i, j, k) model intensities
    spacing : mm

    Returns
    -------
    (n, 1, i, j, k), from 0.12 in air farther than 8 mm from tissue to 1 in tissue and at its border
    """
    reach = SCALE_REACH_MM // spacing
    near = torch.nn.functional.avg_pool3d(base + 1, 2 * reach + 1, 1, reach, count_include_pad=False)
    return (near / SCALE_TISSUE).clamp(SCALE_FLOOR, 1.0)


def working_box(unknown: Tensor, multiple: int) -> tuple[slice, ...]:
    """Index of the bounding box of the unknown voxels with a margin of 4, its sides multiples of `multiple`.

    Parameters
    ----------
    unknown : (1, 1, i, j, k), 0 or 1
    """
    mask = unknown[0, 0].numpy() > 0
    where = np.argwhere(mask)
    if not len(where):
        return (slice(None), slice(None), *(slice(0, multiple) for _ in mask.shape))
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
