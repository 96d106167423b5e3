"""Noise levels for training and sampling (Karras et al. 2022, "EDM", arXiv 2206.00364)."""

from __future__ import annotations

import torch
from torch import Tensor


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Noise levels of a sampler, EDM equation 5.

    Parameters
    ----------
    steps : number of levels above zero, at least 1
    sigma_min, sigma_max : lowest and highest level, in units of the data
    rho : larger values spend more steps near sigma_min

    Returns
    -------
    (steps + 1,) float64, falling from sigma_max to sigma_min, then 0

    Raises
    ------
    ValueError
        When steps < 1 or the levels are not 0 < sigma_min < sigma_max.
    """
    if steps < 1:
        raise ValueError(f"A sampler needs at least 1 step, not {steps}.")
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"Noise levels must satisfy 0 < sigma_min < sigma_max, not {sigma_min} and {sigma_max}.")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64) if steps > 1 else torch.zeros(1, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas = (high + ramp * (low - high)) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def lognormal_sigmas(uniform: Tensor, mean: float, std: float) -> Tensor:
    """Training noise levels ln(sigma) ~ N(mean, std^2), EDM table 1, from uniform numbers in (0, 1)."""
    return torch.exp(mean + std * torch.special.ndtri(uniform.clamp(1e-4, 1 - 1e-4)))
