"""A head of a few voxels, denoisers of a line, and draws of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tiny_models import fields_of, prior_around, tiny_stage
from torch import Tensor, nn

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.refacing.defaced_head import DefacedHead
from bids_refacer.refacing.estimate import kriged_fields
from bids_refacer.refacing.fields import Fields
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.sampling import Cascade, NoiseSource, Sample, SampleSeed, SamplingSettings, StageSampler
from bids_refacer.refacing.unknown import Level
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.grid import pool

CPU = SamplingSettings(sampler="dpmpp2m", steps=None, device=torch.device("cpu"))


def block_head() -> np.ndarray:
    """Tissue of varied intensity behind, air before it: (32, 32, 32) model intensities of 2 mm."""
    values = np.random.default_rng(0).uniform(-0.2, 0.4, (32, 32, 32)).astype(np.float32)
    values[:, 20:] = -1
    return values


def prior() -> LinearPrior:
    """Around a smoother head than the one that is sampled: the estimate is wrong."""
    return prior_around(pool(np.where(block_head() > -1, 0.1, -1), np.ones((32, 32, 32), bool))[0])


def skin() -> np.ndarray:
    return fields_of(pool(block_head(), np.ones((32, 32, 32), bool))[0])[0]


def cut_head(hidden: float = -1.0) -> DefacedHead:
    """The head with its front removed (the border runs through voxels of 4 mm), and a strip outside the view."""
    values = block_head()
    unknown, seen = np.zeros(values.shape, bool), np.ones(values.shape, bool)
    unknown[4:28, 13:29, 3:30] = True
    seen[:, :, 30:] = False
    image = np.where(unknown & seen, hidden, values).astype(np.float32)
    return estimated(image, seen & ~unknown, seen & unknown)


def estimated(image: np.ndarray, known: np.ndarray, unknown: np.ndarray, spacing: int = 2) -> DefacedHead:
    level = Level(image, known, unknown, spacing)
    return DefacedHead(level, *kriged_fields(prior(), level.at(4), skin()))


def model(*stages: tuple[StageConfig, nn.Module]) -> AttackModel:
    return AttackModel("tiny", prior(), list(stages), {})


def two_stages() -> AttackModel:
    return model(tiny_stage(4, 0.0, 1), tiny_stage(2, 0.1, 2))


def sample(
    of: AttackModel, head: DefacedHead, seed: int = 5, settings: SamplingSettings = CPU, mirrored: bool = False
) -> Sample:
    return Cascade(of, settings).sample(head, SampleSeed(seed, mirrored), lambda *_: None)


class Echo(nn.Module):
    """A denoiser that takes what it is given for clean: a draw keeps its noise."""

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        return x


class Constant(nn.Module):
    """A denoiser that always says the same, and keeps what it was asked."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values).reshape(1, -1, 1, 1, 1)
        self.asked: list[tuple[Tensor, Tensor, float]] = []

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor, unknown: Tensor, augmentation: Tensor) -> Tensor:
        self.asked.append((condition, unknown, augmentation.item()))
        return self.values.expand_as(x)


def drawn_residual(
    stage: tuple[StageConfig, nn.Module],
    level: Level,
    estimate: Tensor,
    seed: SampleSeed = SampleSeed(3),  # noqa: B008  # frozen
    left_open: Fields | None = None,
) -> Tensor:
    return StageSampler(*stage, CPU).residual(level, estimate, NoiseSource(seed), lambda step: None, left_open)


def blind(config: StageConfig, **changes: float | None) -> StageConfig:
    """A stage that learned the mean itself."""
    return replace(config, noise=replace(config.noise, blind=0.5), **changes)
