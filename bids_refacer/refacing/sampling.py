"""One sample of the cascade on the canonical grids.

The first stage draws the residual of the fields (where the skin is, what tissue is there) over their linear estimate;
every later one that of the image over what the stage before left: the image of the fields, then the upsampled image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser, sampling_denoiser
from bids_refacer.diffusion.samplers import SAMPLERS
from bids_refacer.diffusion.schedule import karras_sigmas
from bids_refacer.refacing.canonical import Canonical
from bids_refacer.refacing.conditioning import (
    Level,
    condition_volume,
    image_of,
    pyramid,
    render,
    residual_scale,
    upsample,
    working_box,
)
from bids_refacer.weights import AttackModel

CONDITION_NOISE = 0.03
"""Standard deviation of the noise added to a coarse volume before the next stage sees it (Ho et al. 2022, 4.2)."""

DEVIATION_VOXELS = 1.0
"""Standard deviation of the Gaussian by which a draw's deviation from the learned mean is smoothed. What is finer is
noise that an imperfect denoiser left, and makes a face lumpy; the spread of the samples hardly shrinks by it."""

Count = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How samples are drawn.

    Attributes
    ----------
    sampler : a key of SAMPLERS
    steps : of every stage, each stage's own default when None
    device : of the network
    alone : whether a sample is the only one of its image (`StageConfig.lone_temperature`)
    """

    sampler: str
    steps: int | None
    device: torch.device
    alone: bool = False


def sample_cascade(
    model: AttackModel, head: Canonical, seed: int, settings: SamplingSettings, count: Count, *, mirrored: bool = False
) -> np.ndarray:
    """Draw one head.

    Parameters
    ----------
    head : on the canonical grid of `model.finest` mm
    seed : decides the sample, whatever else is sampled with it
    count : called with (steps done, steps in all)
    mirrored : draw the other side of the sample of this seed, which deviates from the learned mean by the opposite
        (antithetic variates, Hammersley & Morton 1956): the mean of both then has next to none of the noise of either

    Returns
    -------
    (i, j, k) float32 model intensities; equal to `head.values` where known
    """
    generator, side = torch.Generator().manual_seed(seed), -1.0 if mirrored else 1.0
    levels = pyramid(head.values, head.known, head.unknown, model.finest, model.coarsest)
    total = sum(settings.steps or config.steps for config, _ in model.stages)
    done, spacing, fields = 0, model.coarsest, head.fields
    image: Tensor | None = None
    for config, denoiser in model.stages:
        tick = _ticker(count, done, total)
        level, draw = levels[config.spacing], Draw(config, denoiser, generator, settings, tick, side)
        if config.augmentation == 0:
            fields = fields + draw.residual(level, fields, 2)
        else:
            fields = upsample(fields + side * CONDITION_NOISE * _noise(fields, generator) * levels[spacing].unknown)
            skin, tissue = fields.split(1, 1)
            base = render(skin, tissue, config.spacing) if image is None else upsample(image)
            painted = base + residual_scale(skin) * draw.residual(level, torch.cat([base, skin], 1), 1)
            image = torch.where(level.known > 0, level.values, painted)
        done, spacing = done + (settings.steps or config.steps), config.spacing
    if image is None:  # a model without a fine stage
        image = image_of(fields, spacing, model.finest)
    return np.where(head.known, head.values, image[0, 0].clamp(-1, 1).numpy()).astype(np.float32)


@dataclass(frozen=True)
class Draw:
    """One stage, ready to be sampled; `side` is 1, or -1 for mirrored samples."""

    config: StageConfig
    denoiser: Denoiser
    generator: torch.Generator
    settings: SamplingSettings
    tick: Callable[[int], None]
    side: float = 1.0

    def residual(self, level: Level, estimate: Tensor, channels: int) -> Tensor:
        """Sample a residual over an estimate, (1, channels, i, j, k), in the box of the unknown voxels; 0 elsewhere.

        Parameters
        ----------
        level : what is known, on the grid of the stage
        estimate : (1, 2, i, j, k), as of `condition_volume`
        """
        config, device = self.config, self.settings.device
        steps = self.settings.steps or config.steps
        sigmas = karras_sigmas(steps, config.noise.sigma_min, config.noise.sigma_max)
        temperature, knows_mean = config.temperature_of(self.settings.alone), config.noise.blind > 0
        box = working_box(level.unknown, config.network.multiple)
        whole = estimate[:, :channels]  # noise is drawn on the whole grid: the box must not change a sample

        def noise(step: int = 0) -> Tensor:
            scale = 1.0 if knows_mean else self.side * temperature
            return scale * _noise(whole, self.generator)[box].to(device)

        condition = condition_volume(level.values, level.known, estimate)[box].to(device)
        unknown = level.unknown[box].to(device)
        augmentation = torch.full((1,), CONDITION_NOISE if config.augmentation else 0.0, device=device)
        bound = sampling_denoiser(self.denoiser, condition, unknown, augmentation)
        residual = torch.zeros_like(whole)
        start = noise()
        sample = partial(SAMPLERS[self.settings.sampler], bound, start, sigmas, noise, self.tick)
        if not knows_mean:
            drawn = sample()
        else:
            drawn = mean = bound(torch.zeros_like(start), sigmas[:1].to(device, torch.float32))
            if temperature:
                drawn = mean + self.side * temperature * _smoothed(sample() - mean, unknown)
            else:
                self.tick(steps - 1)
        residual[box] = (drawn * unknown).cpu()
        return residual


def _smoothed(deviation: Tensor, inside: Tensor) -> Tensor:
    """Gaussian mean over the voxels inside, (1, c, i, j, k); 0 elsewhere."""
    width = (0, 0, *(DEVIATION_VOXELS,) * 3)
    weight, total = (ndimage.gaussian_filter(part.cpu().numpy(), width) for part in (inside, deviation * inside))
    return (torch.from_numpy(total / np.maximum(weight, 1e-3)) * inside.cpu()).to(deviation)


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator)


def _ticker(count: Count, before: int, total: int) -> Callable[[int], None]:
    """A sampler's step counter, shifted by the steps of earlier stages."""
    return lambda step: count(before + step + 1, total)
