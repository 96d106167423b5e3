"""One sample of the cascade on the canonical grids.

Every stage does the same: take a base (the linear estimate for the first, the upsampled stage before for the others),
draw the residual over it where voxels are unknown, put the known voxels back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser, sampling_denoiser
from bids_refacer.diffusion.samplers import SAMPLERS
from bids_refacer.diffusion.schedule import karras_sigmas
from bids_refacer.refacing.conditioning import (
    Level,
    condition_volume,
    linear_estimate,
    pyramid,
    residual_scale,
    upsample,
    working_box,
)
from bids_refacer.weights import AttackModel

CONDITION_NOISE = 0.03
"""Standard deviation of the noise added to a coarse volume before the next stage sees it (Ho et al. 2022, 4.2)."""

Count = Callable[[int, int], None]


@dataclass(frozen=True)
class Canonical:
    """A defaced head on a canonical grid, all (i, j, k).

    values : float32 model intensities, used where known
    known, unknown : bool, both False outside the field of view; `unknown` is to be painted
    """

    values: np.ndarray
    known: np.ndarray
    unknown: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """sampler: a key of SAMPLERS; steps: of every stage, each stage's own default when None; device: of the network."""

    sampler: str
    steps: int | None
    device: torch.device


def sample_cascade(
    model: AttackModel, head: Canonical, seed: int, settings: SamplingSettings, count: Count
) -> np.ndarray:
    """Draw one head.

    Parameters
    ----------
    head : on the canonical grid of `model.finest` mm
    seed : decides the sample, whatever else is sampled with it
    count : called with (steps done, steps in all)

    Returns
    -------
    (i, j, k) float32 model intensities; equal to `head.values` where known
    """
    generator = torch.Generator().manual_seed(seed)
    levels = pyramid(head.values, head.known, head.unknown, model.finest, model.coarsest)
    total = sum(settings.steps or config.steps for config, _ in model.stages)
    done = 0
    volume = linear_estimate(model.prior, levels[model.coarsest])
    for config, denoiser in model.stages:
        level = levels[config.spacing]
        base = volume if config.augmentation == 0 else _next_base(volume, levels[2 * config.spacing], generator)
        residual = _residual(config, denoiser, level, base, generator, settings, _ticker(count, done, total))
        painted = base + residual_scale(base, config.spacing) * residual
        volume = torch.where(level.known > 0, level.values, painted)
        done += settings.steps or config.steps
    while volume.shape[-1] < head.values.shape[-1]:  # a model without a fine stage
        volume = upsample(volume)
    return np.where(head.known, head.values, volume[0, 0].clamp(-1, 1).numpy()).astype(np.float32)


def _next_base(volume: Tensor, level: Level, generator: torch.Generator) -> Tensor:
    noise = CONDITION_NOISE * _noise(volume, generator)
    return upsample(torch.where(level.unknown > 0, volume + noise, volume))


def _residual(
    config: StageConfig,
    denoiser: Denoiser,
    level: Level,
    base: Tensor,
    generator: torch.Generator,
    settings: SamplingSettings,
    tick: Callable[[int], None],
) -> Tensor:
    """Sample a residual, in units of `residual_scale`, in the box of the unknown voxels; 0 elsewhere."""
    steps = settings.steps or config.steps
    sigmas = karras_sigmas(steps, config.noise.sigma_min, config.noise.sigma_max)
    box = working_box(level.unknown, config.network.multiple)
    start = config.temperature * _noise(base, generator)[box]  # on the whole grid: the box must not change a sample
    condition = condition_volume(level.values, level.known, base)[box].to(settings.device)
    unknown = level.unknown[box].to(settings.device)
    augmentation = torch.full((1,), CONDITION_NOISE if config.augmentation else 0.0, device=settings.device)
    bound = sampling_denoiser(denoiser, condition, unknown, augmentation)

    def draw(step: int) -> Tensor:
        return config.temperature * _noise(base, generator)[box].to(settings.device)

    residual = torch.zeros_like(base)
    residual[box] = (SAMPLERS[settings.sampler](bound, start.to(settings.device), sigmas, draw, tick) * unknown).cpu()
    return residual


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator)


def _ticker(count: Count, before: int, total: int) -> Callable[[int], None]:
    """A sampler's step counter, shifted by the steps of earlier stages."""
    return lambda step: count(before + step + 1, total)
