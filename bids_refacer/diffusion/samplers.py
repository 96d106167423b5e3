"""Samplers: one function each, one signature, the noise levels passed in as data.

All take `denoise(x, sigma) -> clean x`, a start `x` (n, 1, i, j, k) of standard normal noise, the levels `sigmas`
(steps + 1,) of `karras_sigmas`, fresh-noise source `draw(step) -> (n, 1, i, j, k)` (used by `ddpm` alone), and a
`callback(step)`; they return the sample, float32. State and levels are kept in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bids_refacer.diffusion.denoiser import Denoise

Draw = Callable[[int], Tensor]
Callback = Callable[[int], None]
Sampler = Callable[[Denoise, Tensor, Tensor, Draw, Callback], Tensor]


def _denoise64(denoise: Denoise, x: Tensor, sigma: Tensor) -> Tensor:
    level = sigma.to(x.device, torch.float32).expand(x.shape[0])
    return denoise(x.float(), level).double()


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, draw: Draw, callback: Callback) -> Tensor:
    """Deterministic second-order sampler: Karras et al. 2022 (arXiv 2206.00364), algorithm 1."""
    x = x.double() * sigmas[0]
    for i in range(len(sigmas) - 1):
        d_cur = (x - _denoise64(denoise, x, sigmas[i])) / sigmas[i]
        x_next = x + (sigmas[i + 1] - sigmas[i]) * d_cur
        if sigmas[i + 1] > 0:
            d_prime = (x_next - _denoise64(denoise, x_next, sigmas[i + 1])) / sigmas[i + 1]
            x_next = x + (sigmas[i + 1] - sigmas[i]) * (d_cur + d_prime) / 2
        x = x_next
        callback(i)
    return x.float()


def dpmpp2m(denoise: Denoise, x: Tensor, sigmas: Tensor, draw: Draw, callback: Callback) -> Tensor:
    """DPM-Solver++(2M): Lu et al. 2022 (arXiv 2211.01095), algorithm 2, with lambda = -log sigma; one call a step."""
    x = x.double() * sigmas[0]
    previous: Tensor | None = None
    for i in range(len(sigmas) - 1):
        clean = _denoise64(denoise, x, sigmas[i])
        if sigmas[i + 1] == 0:
            x = clean
        else:
            h = torch.log(sigmas[i] / sigmas[i + 1])
            estimate = clean
            if previous is not None:
                r = torch.log(sigmas[i - 1] / sigmas[i]) / h
                estimate = clean + (clean - previous) / (2 * r)
            x = sigmas[i + 1] / sigmas[i] * x - torch.expm1(-h) * estimate
        previous = clean
        callback(i)
    return x.float()


def ddpm(denoise: Denoise, x: Tensor, sigmas: Tensor, draw: Draw, callback: Callback) -> Tensor:
    """Ancestral sampling: Ho et al. 2020 (arXiv 2006.11239), algorithm 2, in the variance-exploding form.

    The posterior q(x_{t-1} | x_t, x_0) of a chain whose levels are exactly `sigmas`: a shortened chain has its own
    posterior variance, not that of the long one. Slow and stochastic: the reference for the other two.
    """
    x = x.double() * sigmas[0]
    for i in range(len(sigmas) - 1):
        clean = _denoise64(denoise, x, sigmas[i])
        ratio = (sigmas[i + 1] / sigmas[i]) ** 2
        x = ratio * x + (1 - ratio) * clean
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * (1 - ratio).sqrt() * draw(i).double()
        callback(i)
    return x.float()


SAMPLERS: dict[str, Sampler] = {"heun": heun, "dpmpp2m": dpmpp2m, "ddpm": ddpm}
