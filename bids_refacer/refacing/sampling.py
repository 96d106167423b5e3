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
from bids_refacer.refacing.conditioning import condition_volume, upsample
from bids_refacer.volumes.grid import pool
from bids_refacer.weights import AttackModel

CONDITION_NOISE = 0.03
"""Standard deviation of the noise added to a coarse volume before the next stage sees it (Ho et al. 2022, section 4)."""

Count = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """sampler: a key of SAMPLERS; steps: of every stage, each stage's own default when None; device: of the network."""

    sampler: str
    steps: int | None
    device: torch.device


@dataclass(frozen=True)
class Level:
    """What is known at one resolution: values (1, 1, i, j, k) float32, known (1, 1, i, j, k) 0 or 1."""

    values: Tensor
    known: Tensor


def pyramid(values: np.ndarray, known: np.ndarray, finest: int, coarsest: int) -> dict[int, Level]:
    """Levels from `finest` to `coarsest` mm, each half the resolution of the one before."""
    levels = {}
    spacing = finest
    while spacing <= coarsest:
        levels[spacing] = Level(_tensor(values), _tensor(known))
        values, known = pool(values, known)
        spacing *= 2
    return levels


def sample_cascade(
    model: AttackModel, values: np.ndarray, known: np.ndarray, seed: int, settings: SamplingSettings, count: Count
) -> np.ndarray:
    """Draw one head.

    Parameters
    ----------
    values : (i, j, k) float32, model intensities on the canonical grid of `model.finest` mm, used where known
    known : (i, j, k) bool
    seed : decides the sample, whatever else is sampled with it
    count : called with (steps done, steps in all)

    Returns
    -------
    (i, j, k) float32; equal to `values` where known
    """
    generator = torch.Generator().manual_seed(seed)
    levels = pyramid(values, known, model.finest, model.coarsest)
    total = sum(settings.steps or config.steps for config, _ in model.stages)
    done = 0
    volume = _linear(model, levels[model.coarsest])
    for config, denoiser in model.stages:
        level = levels[config.spacing]
        base = volume if config.augmentation == 0 else _next_base(volume, levels[2 * config.spacing], generator)
        residual = _residual(config, denoiser, level, base, generator, settings, _ticker(count, done, total))
        volume = torch.where(level.known > 0, level.values, base + residual)
        done += settings.steps or config.steps
    for _ in range(int(np.log2(volume.shape[-1]) < np.log2(values.shape[-1]))):
        volume = upsample(volume)  # a model without a fine stage
    return np.where(known, values, volume[0, 0].clamp(-1, 1).numpy()).astype(np.float32)


def _linear(model: AttackModel, level: Level) -> Tensor:
    estimate = model.prior.conditional_mean(level.values[0, 0].numpy(), level.known[0, 0].numpy() > 0)
    return _tensor(estimate)


def _next_base(volume: Tensor, level: Level, generator: torch.Generator) -> Tensor:
    noise = CONDITION_NOISE * torch.randn(volume.shape, generator=generator)
    return upsample(torch.where(level.known > 0, volume, volume + noise))


def _residual(
    config: StageConfig,
    denoiser: Denoiser,
    level: Level,
    base: Tensor,
    generator: torch.Generator,
    settings: SamplingSettings,
    tick: Callable[[int], None],
) -> Tensor:
    """Sample a stage's residual in the bounding box of the unknown voxels; 0 where known."""
    steps = settings.steps or config.steps
    sigmas = karras_sigmas(steps, config.noise.sigma_min, config.noise.sigma_max)
    box = (slice(None), slice(None), *_box(level.known[0, 0].numpy() == 0, config.network.multiple))
    start = torch.randn(base.shape, generator=generator)[box]  # on the whole grid: the box must not change a sample
    condition = condition_volume(level.values, level.known, base)[box].to(settings.device)
    unknown = (1 - level.known[box]).to(settings.device)
    augmentation = torch.full((1,), CONDITION_NOISE if config.augmentation else 0.0, device=settings.device)
    bound = sampling_denoiser(denoiser, condition, unknown, augmentation)

    def draw(step: int) -> Tensor:
        return torch.randn(base.shape, generator=generator)[box].to(settings.device)

    residual = torch.zeros_like(base)
    residual[box] = (SAMPLERS[settings.sampler](bound, start.to(settings.device), sigmas, draw, tick) * unknown).cpu()
    return residual


def _ticker(count: Count, before: int, total: int) -> Callable[[int], None]:
    """A sampler's step counter, shifted by the steps of earlier stages."""
    return lambda step: count(before + step + 1, total)


def _box(mask: np.ndarray, multiple: int) -> tuple[slice, ...]:
    """Bounding box of a mask, grown to sides that the network takes, inside the grid."""
    where = np.argwhere(mask)
    if not len(where):
        return tuple(slice(0, multiple) for _ in mask.shape)
    box = []
    for low, high, side in zip(where.min(0) - 4, where.max(0) + 5, mask.shape, strict=True):
        low, high = max(0, int(low)), min(side, int(high))
        size = min(side, -(-(high - low) // multiple) * multiple)
        low = min(low, side - size)
        box.append(slice(low, low + size))
    return tuple(box)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
