"""The cascade: one configuration, any number of stages (Ho et al. 2022, arXiv 2106.15282)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import nn

from bids_refacer.diffusion.denoiser import Denoiser, NoiseConfig
from bids_refacer.diffusion.unet import UNet, UNetConfig


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of the cascade.

    Attributes
    ----------
    spacing : voxel size in mm; the next finer stage has half of it
    network : shape of the U-Net
    noise : noise levels of the target: the residual over the linear estimate of the fields (first stage), or over the
        image of the stage before
    augmentation : highest standard deviation of the noise added to the conditioning coarse volume in training;
        0 for the first stage, which has none
    steps : default number of sampler steps
    temperature : of each of several samples. 1 draws from the model's distribution, less keeps nearer to its mean. In a
        stage that learned the mean (`NoiseConfig.blind`) a sample is mean + temperature * (draw - mean), the deviation
        smoothed; in others the factor is on the sampler's noise
    lone_temperature : of a single sample, `temperature` when None. Near 0 it is the closest guess, which is a stronger
        attack than a fair draw: that lies about sqrt(2) times as far from the truth as the mean does
    """

    spacing: int
    network: UNetConfig
    noise: NoiseConfig
    augmentation: float
    steps: int
    temperature: float = 1.0
    lone_temperature: float | None = None

    @property
    def draws(self) -> Literal["fields", "image"]:
        """What the stage draws: fields (first stage), or the image (later ones, which are trained on noisy fields)."""
        return "image" if self.augmentation else "fields"

    def temperature_of(self, alone: bool) -> float:
        """The temperature of a sample that is the only one, or one of several."""
        return self.temperature if self.lone_temperature is None or not alone else self.lone_temperature

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> StageConfig:
        """The inverse of `to_dict`."""
        network = UNetConfig(**{**content["network"], "channels": tuple(content["network"]["channels"])})
        return cls(**{**content, "network": network, "noise": NoiseConfig(**content["noise"])})


COARSE = StageConfig(
    spacing=4,
    network=UNetConfig(condition_channels=4, target_channels=2, channels=(48, 96, 144)),
    noise=NoiseConfig(sigma_data=0.25, sigma_min=0.004, sigma_max=8.0, log_mean=-0.9, log_std=1.3, blind=0.5),
    augmentation=0.0,
    steps=12,
    temperature=1.0,
    lone_temperature=0.1,
)
FINE = StageConfig(
    spacing=2,
    network=UNetConfig(condition_channels=4, channels=(40, 80, 128), attention=False),
    noise=NoiseConfig(sigma_data=0.11, sigma_min=0.003, sigma_max=3.0, log_mean=-2.0, log_std=1.2),
    augmentation=0.1,
    steps=8,
    temperature=0.2,
)


def build(config: StageConfig) -> Denoiser:
    """An untrained denoiser of this configuration."""
    return Denoiser(UNet(config.network), config.noise)


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters())
