"""One sample of the cascade on the canonical grids.

The first stage draws the residual of the fields (where the skin is, what tissue is there) over their estimate; every
later one that of the image over what the stage before left: the image of the fields, then the upsampled image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser, sampling_denoiser
from bids_refacer.diffusion.samplers import SAMPLERS, Callback
from bids_refacer.diffusion.schedule import karras_sigmas
from bids_refacer.refacing.conditioning import (
    condition_volume,
    image_of,
    render,
    residual_scale,
    upsample,
    working_box,
)
from bids_refacer.refacing.defaced_head import DefacedHead
from bids_refacer.refacing.fields import Fields, from_torch, to_torch
from bids_refacer.refacing.prior import FIELD_SPACING
from bids_refacer.refacing.unknown import Level
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.smoothing import masked_mean

CONDITION_NOISE = 0.03
"""Standard deviation of the noise added to a coarse volume before the next stage sees it (Ho et al. 2022, 4.2)."""

DEVIATION_VOXELS = 1.0
"""Standard deviation of the Gaussian by which a draw's deviation from the learned mean is smoothed. What is finer is
noise that an imperfect denoiser left, and makes a face lumpy; the spread of the samples hardly shrinks by it."""

Report = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


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

    def steps_of(self, config: StageConfig) -> int:
        """Steps of a stage."""
        return self.steps or config.steps


@dataclass(frozen=True)
class SampleSeed:
    """What decides a sample, whatever else is sampled with it.

    Attributes
    ----------
    seed : of its noise
    mirrored : the opposite of the sample of this seed: it deviates from the learned mean by as much on the other side
        (antithetic variates, Hammersley & Morton 1956). The mean of both has next to none of the noise of either
    """

    seed: int
    mirrored: bool = False


def paired_seeds(seeds: Sequence[int]) -> tuple[SampleSeed, ...]:
    """One for each seed; where a seed occurs for the second (fourth, ..) time, the sample is the mirrored one."""
    return tuple(SampleSeed(seed, seeds[:number].count(seed) % 2 == 1) for number, seed in enumerate(seeds))


class NoiseSource:
    """The random numbers of one sample, the same on every device."""

    def __init__(self, seed: SampleSeed) -> None:
        self._generator = torch.Generator().manual_seed(seed.seed)
        self.sign = -1.0 if seed.mirrored else 1.0
        """By which whatever follows from the noise is multiplied: -1 in a mirrored sample."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """The next standard normal numbers, float32: the same in a sample and its mirrored one."""
        return torch.randn(tuple(shape), generator=self._generator)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One draw of the cascade.

    Attributes
    ----------
    volume : (i, j, k) float32 model intensities on the finest grid; equal to the head's values where known
    fields : of the head on the prior's grid, as the first stage drew them
    """

    volume: np.ndarray
    fields: Fields


@dataclass(frozen=True)
class StageSampler:
    """One stage of a cascade, ready to draw residuals."""

    config: StageConfig
    denoiser: Denoiser
    settings: SamplingSettings

    @property
    def steps(self) -> int:
        """Sampler steps of a draw."""
        return self.settings.steps_of(self.config)

    def residual(
        self,
        level: Level,
        estimate: Tensor,
        noise: NoiseSource,
        callback: Callback,
        left_open: Fields | None = None,
    ) -> Tensor:
        """Draw a residual over an estimate, (1, c, i, j, k), in the box of the unknown voxels; 0 elsewhere.

        Parameters
        ----------
        level : what is known, on the grid of the stage
        estimate : (1, 2, i, j, k), see `condition_volume`; the residual belongs to its first c channels
        callback : called with every step, from 0
        left_open : share of the estimate's variance that is left where it was moved to agree with what is seen: the
            learned mean counts by it. Beside such skin the moved estimate is surer than any that a network was trained
            over. The deviation from the mean is left alone: scaled by the root of the share, intervals were too narrow
            (docs/model-card.md)
        """
        box = working_box(level.unknown, self.config.network.multiple)
        device = self.settings.device
        unknown = to_torch(level.unknown)[box].to(device)
        denoise = sampling_denoiser(
            self.denoiser,
            condition_volume(level, estimate)[box].to(device),
            unknown,
            torch.full((1,), CONDITION_NOISE if self.config.draws == "image" else 0.0, device=device),
        )
        # Noise is drawn on the whole grid: the box must not change a sample.
        whole = (1, self.config.network.target_channels, *level.unknown.shape)
        draw = _Draw(self, denoise, unknown, lambda: noise.normal(whole)[box].to(device), noise.sign, callback)
        residual = torch.zeros(whole)
        if self.config.noise.blind == 0:
            drawn = draw.fair()
        else:
            drawn = draw.about_mean(None if left_open is None else to_torch(left_open)[box].to(device))
        residual[box] = (drawn * unknown).cpu()
        return residual


@dataclass(frozen=True)
class _Draw:
    """One residual in its box.

    denoise : of the stage, conditioned; noise : the next standard normal numbers in the box; sign : see `NoiseSource`
    """

    stage: StageSampler
    denoise: Callable[[Tensor, Tensor], Tensor]
    unknown: Tensor
    noise: Callable[[], Tensor]
    sign: float
    callback: Callback

    @property
    def temperature(self) -> float:
        return self.stage.config.temperature_of(self.stage.settings.alone)

    def sample(self, scale: float, start: Tensor) -> Tensor:
        sampler = SAMPLERS[self.stage.settings.sampler]
        return sampler(self.denoise, start, self.sigmas, lambda step: scale * self.noise(), self.callback)

    @property
    def sigmas(self) -> Tensor:
        levels = self.stage.config.noise
        return karras_sigmas(self.stage.steps, levels.sigma_min, levels.sigma_max)

    def fair(self) -> Tensor:
        """By a network that knows targets in noise alone: the temperature is on the noise."""
        scale = self.sign * self.temperature
        return self.sample(scale, scale * self.noise())

    def about_mean(self, left_open: Tensor | None) -> Tensor:
        """By a network that learned the mean: mean + temperature * smoothed deviation of a fair draw."""
        start = self.noise()
        mean = self.denoise(torch.zeros_like(start), self.sigmas[:1].to(start.device, torch.float32))
        drawn = mean * (torch.ones_like(mean) if left_open is None else left_open)
        if not self.temperature:
            self.callback(self.stage.steps - 1)
            return drawn
        deviation = smoothed(self.sample(1.0, start) - mean, self.unknown)
        return drawn + self.sign * self.temperature * deviation


def smoothed(deviation: Tensor, inside: Tensor) -> Tensor:
    """Gaussian mean over the voxels inside, (1, c, i, j, k) and (1, 1, i, j, k); 0 elsewhere."""
    width = (0, 0, *(DEVIATION_VOXELS,) * 3)
    mean, _ = masked_mean(deviation.cpu().numpy(), inside.cpu().numpy(), width, 1e-3)
    return (torch.from_numpy(mean) * inside.cpu()).to(deviation)


@dataclass
class _Steps:
    """Counts the steps of all stages of a sample."""

    total: int
    report: Report
    before: int = field(default=0)
    """Steps of the stages that are done."""

    def __call__(self, step: int) -> None:
        self.report(self.before + step + 1, self.total)


@dataclass(frozen=True)
class Cascade:
    """A model, ready to be sampled: stages that draw fields, then stages that draw images."""

    model: AttackModel
    settings: SamplingSettings

    def stages(self, draws: str) -> list[StageSampler]:
        """The stages that draw ``fields`` or an ``image``, from coarse to fine."""
        return [StageSampler(*stage, self.settings) for stage in self.model.used_stages if stage[0].draws == draws]

    def sample(self, head: DefacedHead, seed: SampleSeed, report: Report) -> Sample:
        """Draw one head.

        Parameters
        ----------
        head : on the canonical grid of `model.finest` mm
        report : called with every step
        """
        noise = NoiseSource(seed)
        steps = _Steps(sum(self.settings.steps_of(config) for config, _ in self.model.used_stages), report)
        fields = to_torch(head.fields)
        for stage in self.stages("fields"):
            level = head.level.at(stage.config.spacing)
            fields = fields + stage.residual(level, fields, noise, steps, head.left_open)
            steps.before += stage.steps
        drawn = from_torch(fields)
        return Sample(volume=self._painted(head, drawn, noise, steps), fields=drawn)

    @property
    def paints(self) -> bool:
        """Whether the model's own stages paint the image, in place of the template (`drawing.head`)."""
        return self.model.drawing == "stages"

    def mean(self, head: DefacedHead, samples: Sequence[Sample], seed: SampleSeed) -> Sample:
        """The mean of samples: of their fields, painted once more.

        The mean of distances to the skin is a face; the mean of images is a blurred one, whose skin lies elsewhere.
        """
        fields = from_torch(torch.stack([to_torch(sample.fields) for sample in samples]).mean(0))
        volume = self._painted(head, fields, NoiseSource(seed), _Steps(0, lambda done, total: None))
        return Sample(volume=volume, fields=fields)

    def _painted(self, head: DefacedHead, fields: Fields, noise: NoiseSource, steps: _Steps) -> np.ndarray:
        """The image of fields, (i, j, k) float32, and what the later stages draw over it."""
        image: Tensor | None = None
        tensor, spacing = to_torch(fields), FIELD_SPACING
        for stage in self.stages("image"):
            level, unknown = head.level.at(stage.config.spacing), to_torch(head.level.at(spacing).unknown)
            tensor = upsample(tensor + noise.sign * CONDITION_NOISE * noise.normal(tensor.shape) * unknown)
            skin, tissue = tensor[:, :1], tensor[:, 1:]
            base = render(skin, tissue, stage.config.spacing) if image is None else upsample(image)
            residual = stage.residual(level, torch.cat([base, skin], 1), noise, steps)
            painted = base + residual_scale(skin) * residual
            image = torch.where(to_torch(level.known) > 0, to_torch(level.values), painted)
            spacing, steps.before = stage.config.spacing, steps.before + stage.steps
        volume = image_of(fields, head.level.spacing) if image is None else image[0, 0].numpy()
        return np.where(head.known, head.values, volume.clip(-1, 1)).astype(np.float32)
