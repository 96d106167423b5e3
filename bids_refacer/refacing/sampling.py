"""One sample of the cascade on the canonical grids.

The first stage draws the residual of the fields (where the skin is, what tissue is there) over their linear estimate;
every later one that of the image over what the stage before left: the image of the fields, then the upsampled image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from bids_refacer.refacing.weights import AttackModel

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


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One draw of the cascade.

    Attributes
    ----------
    volume : (i, j, k) float32 model intensities on the finest grid; equal to the head's values where known
    fields : (1, 2, i, j, k) skin and tissue of the head on the coarsest grid, as the first stage drew them
    """

    volume: np.ndarray
    fields: Tensor


def sample_cascade(
    model: AttackModel, head: Canonical, seed: int, settings: SamplingSettings, count: Count, *, mirrored: bool = False
) -> Sample:
    """Draw one head.

    Parameters
    ----------
    head : on the canonical grid of `model.finest` mm
    seed : decides the sample, whatever else is sampled with it
    count : called with (steps done, steps in all)
    mirrored : draw the other side of the sample of this seed, which deviates from the learned mean by the opposite
        (antithetic variates, Hammersley & Morton 1956): the mean of both then has next to none of the noise of either
    """
    generator, side = torch.Generator().manual_seed(seed), -1.0 if mirrored else 1.0
    total = sum(settings.steps or config.steps for config, _ in model.stages)
    levels = pyramid(head.values, head.known, head.unknown, model.finest, model.coarsest)
    done, fields = 0, head.fields

    def tick(step: int) -> None:
        count(step + 1, total)

    for config, denoiser in model.stages[: _field_stages(model)]:
        draw = Draw(config, denoiser, generator, settings, _shifted(tick, done), side)
        fields = fields + draw.residual(levels[config.spacing], fields, 2, head.left_open)
        done += settings.steps or config.steps
    volume = _painted(model, head, levels, fields, generator, settings, _shifted(tick, done), side)
    return Sample(volume=volume, fields=fields)


def mean_sample(
    model: AttackModel, head: Canonical, samples: Sequence[Sample], seed: int, settings: SamplingSettings
) -> np.ndarray:
    """The volume of the mean of samples: of their fields, painted once more.

    The mean of distances to the skin is a face; the mean of images is a blurred one, whose skin lies elsewhere.
    """
    fields, generator = torch.stack([sample.fields for sample in samples]).mean(0), torch.Generator().manual_seed(seed)
    levels = pyramid(head.values, head.known, head.unknown, model.finest, model.coarsest)
    return _painted(model, head, levels, fields, generator, settings, lambda step: None, 1.0)


def _field_stages(model: AttackModel) -> int:
    """How many of the stages draw fields; the others, later, draw images."""
    return sum(config.augmentation == 0 for config, _ in model.stages)


def _painted(
    model: AttackModel,
    head: Canonical,
    levels: dict[int, Level],
    fields: Tensor,
    generator: torch.Generator,
    settings: SamplingSettings,
    tick: Callable[[int], None],
    side: float,
) -> np.ndarray:
    """The image of fields, (i, j, k) float32, and what the later stages draw over it."""
    spacing, done = model.coarsest, 0
    image: Tensor | None = None
    for config, denoiser in model.stages[_field_stages(model) :]:
        fields = upsample(fields + side * CONDITION_NOISE * _noise(fields, generator) * levels[spacing].unknown)
        skin, tissue = fields.split(1, 1)
        base = render(skin, tissue, config.spacing) if image is None else upsample(image)
        level, draw = levels[config.spacing], Draw(config, denoiser, generator, settings, _shifted(tick, done), side)
        painted = base + residual_scale(skin) * draw.residual(level, torch.cat([base, skin], 1), 1)
        image, spacing = torch.where(level.known > 0, level.values, painted), config.spacing
        done += settings.steps or config.steps
    if image is None:  # a model without a later stage
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

    def residual(self, level: Level, estimate: Tensor, channels: int, left_open: Tensor | None = None) -> Tensor:
        """Sample a residual over an estimate, (1, channels, i, j, k), in the box of the unknown voxels; 0 elsewhere.

        Parameters
        ----------
        level : what is known, on the grid of the stage
        estimate : (1, 2, i, j, k), as of `condition_volume`
        left_open : (1, channels, i, j, k), share of the estimate's variance that is left where it was moved to agree
            with what is seen: the learned mean counts by it. Beside such skin the moved estimate is surer than any that
            a network was trained over. The deviation from the mean is left alone: scaled by the root of the share,
            intervals were too narrow on held-out heads (50 % ones held 36 and 45 %).
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
            mean = bound(torch.zeros_like(start), sigmas[:1].to(device, torch.float32))
            share = torch.ones_like(mean) if left_open is None else left_open[box].to(device)
            drawn = mean * share
            if temperature:
                drawn = drawn + self.side * temperature * _smoothed(sample() - mean, unknown)
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


def _shifted(tick: Callable[[int], None], before: int) -> Callable[[int], None]:
    """A sampler's step counter, shifted by the steps of earlier stages."""
    return lambda step: tick(before + step)
