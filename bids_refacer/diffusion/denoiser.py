"""Preconditioning and loss: everything a sampler or a training loop knows of the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bids_refacer.diffusion.schedule import lognormal_sigmas

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x (n, t, i, j, k), sigma (n,)) -> estimate of the clean x: all that a sampler needs."""


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Noise levels of one stage, in units of its target.

    Attributes
    ----------
    sigma_data : standard deviation of the target inside the unknown region
    sigma_min, sigma_max : range of the sampler
    log_mean, log_std : training levels, ln(sigma) ~ N(log_mean, log_std^2)
    blind : share of the training draws in which x is hidden (0, at sigma_max): the network then learns the conditional
        mean itself, as the regression of CorrDiff (arXiv 2309.15214) does, instead of having to infer it through noise
    """

    sigma_data: float
    sigma_min: float
    sigma_max: float
    log_mean: float
    log_std: float
    blind: float = 0.0


class Denoiser(nn.Module):
    """EDM preconditioning around a network (Karras et al. 2022, table 1), restricted to the unknown voxels."""

    def __init__(self, network: nn.Module, noise: NoiseConfig) -> None:
        super().__init__()
        self.network = network
        self.noise = noise

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor, unknown: Tensor, augmentation: Tensor) -> Tensor:
        """D(x; sigma), EDM equation 7.

        Parameters
        ----------
        x : (n, t, i, j, k) noisy target of t channels
        sigma : (n,) noise level
        condition : (n, c, i, j, k)
        unknown : (n, 1, i, j, k), 1 where the target is to be generated; x and the result are 0 elsewhere
        augmentation : (n,) noise level that was added to the conditioning coarse volume

        Returns
        -------
        (n, t, i, j, k) float32 estimate of the clean target
        """
        x = x.float() * unknown
        s = sigma.float().reshape(-1, 1, 1, 1, 1)
        variance = self.noise.sigma_data**2
        c_skip = variance / (s**2 + variance)
        c_out = s * self.noise.sigma_data / (s**2 + variance).sqrt()
        c_in = 1 / (s**2 + variance).sqrt()
        c_noise = sigma.float().log() / 4
        raw: Tensor = self.network(c_in * x, condition, c_noise, augmentation.float())
        return (c_skip * x + c_out * raw.float()) * unknown

    def loss(
        self,
        target: Tensor,
        condition: Tensor,
        unknown: Tensor,
        augmentation: Tensor,
        weight: Tensor,
        uniform: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """EDM loss, equation 8, averaged over weighted voxels.

        Parameters
        ----------
        target : (n, t, i, j, k) clean target
        condition, unknown, augmentation : as in `forward`
        weight : (n, t, i, j, k), 0 where the truth is not known (outside the field of view) or not to be learned
        uniform : (n,) in (0, 1), draws the noise level, or that x is hidden
        noise : (n, t, i, j, k) standard normal

        Returns
        -------
        scalar; 1 is the level of a network that has learned nothing
        """
        blind = uniform < self.noise.blind
        rest = (uniform - self.noise.blind) / (1 - self.noise.blind)
        drawn = lognormal_sigmas(rest, self.noise.log_mean, self.noise.log_std)
        sigma = torch.where(blind, self.noise.sigma_max, drawn)
        s = sigma.reshape(-1, 1, 1, 1, 1)
        variance = self.noise.sigma_data**2
        x = torch.where(blind.reshape(-1, 1, 1, 1, 1), 0.0, target + s * noise)
        denoised: Tensor = self(x, sigma, condition, unknown, augmentation)
        scale = (s**2 + variance) / (s**2 * variance)
        per_head = (scale * weight * (denoised - target) ** 2).flatten(1).sum(1)
        return (per_head / weight.flatten(1).sum(1).clamp(min=1)).mean()


def sampling_denoiser(model: Denoiser, condition: Tensor, unknown: Tensor, augmentation: Tensor) -> Denoise:
    """Bind the conditioning, so that a sampler sees a function of (x, sigma) alone.

    On a CPU with fast bfloat16 arithmetic, and on a GPU, the network runs under autocast; the state stays in float64.
    """
    kind = condition.device.type
    cast = kind == "cuda" or has_fast_bf16()

    @torch.inference_mode()
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=cast):
            clean: Tensor = model(x, sigma, condition, unknown, augmentation)
            return clean

    return denoise


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX); emulation would be slower than float32."""
    capabilities = torch.backends.cpu.get_cpu_capability() if torch.cuda.is_available() is False else ""
    if "AVX512" not in capabilities and "AMX" not in capabilities:
        return False
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
