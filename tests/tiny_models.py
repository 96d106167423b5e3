"""Priors and networks small enough for a test: they do something, though nothing sensible."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from bids_refacer.diffusion.cascade import StageConfig, build
from bids_refacer.diffusion.denoiser import NoiseConfig
from bids_refacer.diffusion.unet import UNetConfig
from bids_refacer.refacing.fields import skin_field, tissue_field
from bids_refacer.refacing.prior import BLOCKS, Block, LinearPrior


def tiny_stage(spacing: int, augmentation: float, seed: int) -> tuple[StageConfig, torch.nn.Module]:
    """A first stage (no augmentation) draws two fields, a later one an image."""
    config = StageConfig(
        spacing=spacing,
        network=UNetConfig(
            condition_channels=4,
            target_channels=1 if augmentation else 2,
            channels=(8, 8),
            blocks=1,
            attention=False,
        ),
        noise=NoiseConfig(sigma_data=0.1, sigma_min=0.01, sigma_max=1.0, log_mean=-2.0, log_std=1.0),
        augmentation=augmentation,
        steps=2,
    )
    torch.manual_seed(seed)
    denoiser = build(config)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return config, denoiser.eval()


def fields_of(values: np.ndarray, spacing: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Skin and tissue of model intensities with an obvious border, by a distance transform of voxels."""
    inside = ndimage.binary_fill_holes(values > -0.8)
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    skin = skin_field(spacing * (distance - 0.5 * np.sign(distance)))
    return skin, tissue_field(values, skin, np.ones(values.shape, bool))


def prior_around(values: np.ndarray, modes: int = 2, noise: float = 1.0, spread: float = 0.02) -> LinearPrior:
    """Random modes around one head, (i, j, k) model intensities on the 4 mm grid."""
    rng, means = np.random.default_rng(0), dict(zip(BLOCKS, (values, *fields_of(values)), strict=True))
    blocks = {}
    for name, mean in means.items():
        support = values > -0.9 if name == "intensity" else np.abs(means["skin"]) < 1.5
        blocks[name] = Block(
            mean.astype(np.float32), rng.normal(0, spread, (modes, support.sum())).astype(np.float32), support
        )
    return LinearPrior(blocks, noise)
