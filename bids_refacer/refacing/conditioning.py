"""What the network is told, built the same way in training and in an attack. Canonical grids, model intensities."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bids_refacer.volumes.grid import pool
from bids_refacer.volumes.prior import LinearPrior

CHANNELS = 3
"""Known intensities, known mask, base: the conditioning channels of every stage."""


def coarse_condition(
    values: np.ndarray, known: np.ndarray, prior: LinearPrior
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Conditioning of the coarse stage, on the 4 mm grid.

    Parameters
    ----------
    values : (96, 128, 128) float32, 2 mm, used where known
    known : (96, 128, 128) bool

    Returns
    -------
    condition : (3, 48, 64, 64) float32: known intensities (0 where unknown), known mask, linear estimate
    linear : (48, 64, 64) float32, the linear estimate, to which the stage adds its residual
    known : (48, 64, 64) bool
    """
    coarse, known4 = pool(values, known)
    linear = prior.conditional_mean(coarse, known4)
    return np.stack([coarse * known4, known4.astype(np.float32), linear]), linear, known4


def condition_volume(values: Tensor, known: Tensor, base: Tensor) -> Tensor:
    """Conditioning of a stage, (n, 3, i, j, k): known intensities, known mask, base to which a residual is added.

    All (n, 1, i, j, k) on one grid; `known` is 0 or 1.
    """
    return torch.cat([values * known, known, base], dim=1)


def upsample(coarse: Tensor) -> Tensor:
    """(n, 1, i, j, k) -> (n, 1, 2i, 2j, 2k), trilinear, voxel edges kept."""
    return torch.nn.functional.interpolate(coarse, scale_factor=2.0, mode="trilinear", align_corners=False)
