"""The loss of a training item, the random numbers that it is computed with, and its mean over held-out items.

Random numbers are functions of (seed, step, place in the batch), whichever process draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.training.data.examples import Item
from bids_refacer.training.optimisation import autocast

Validate = Callable[[Denoiser, int], Mapping[str, float]]
"""(averaged model, steps taken) -> named figures, lower is better. Called by the first process alone.

The model must be left as it was. The names must be the same at every call.
"""

EDM_LOSS = "edm_loss"


def stratified(seed: int, step: int, count: int) -> Tensor:
    """(count,) float32 in (0, 1), one in each of `count` equal parts: less variance between steps than free draws."""
    return (torch.arange(count) + torch.rand(count, generator=_generator(seed, step, 0))) / count


def normal_noise(seed: int, step: int, place: int, shape: torch.Size) -> Tensor:
    """Standard normal float32 noise for one place in the batch of a step."""
    return torch.randn(shape, generator=_generator(seed, step, 1 + place))


def _generator(seed: int, step: int, stream: int) -> torch.Generator:
    # SeedSequence keeps neighbours apart, such as step 3 of seed 4 and step 4 of seed 3. To it, (1, 2) is (1, 2, 0):
    # hence three numbers for everybody.
    state = np.random.SeedSequence((seed, step, stream)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def item_loss(model: Denoiser, item: Item, uniform: Tensor, noise: Tensor, device: torch.device) -> Tensor:
    """The loss of one item on a device, at n noise levels: the one place where training meets `Denoiser.loss`.

    Parameters
    ----------
    uniform : (n,) in (0, 1), draws the noise levels
    noise : (n, t, i, j, k) standard normal, for a target of (1, t, i, j, k)

    Returns
    -------
    scalar Tensor
    """
    parts = (item.target, item.condition, item.unknown, torch.tensor([item.augmentation]), item.weight)
    target, condition, unknown, level, weight = (
        part.to(device, non_blocking=True).expand(len(uniform), *part.shape[1:]) for part in parts
    )
    return model.loss(target, condition, unknown, level, weight, uniform.to(device), noise.to(device))


def held_out_loss(items: Dataset[Item], count: int, seed: int, dtype: torch.dtype) -> Validate:
    """Mean EDM loss over the first `count` items, one noise level of each stratum, as {"edm_loss": value}.

    A validation that costs little: items and noise are the same every time.

    Parameters
    ----------
    items : of heads that are not trained on
    count : items to use; they are made at the first call and kept
    seed : of noise and noise levels
    dtype : of autocast
    """
    kept: list[Item] = []

    @torch.inference_mode()
    def validate(model: Denoiser, step: int) -> dict[str, float]:
        if not kept:
            kept.extend(items[index] for index in range(count))
        device = next(model.parameters()).device
        uniform = stratified(seed, 0, count)
        total = 0.0
        for place, item in enumerate(kept):
            noise = normal_noise(seed, 0, place, item.target.shape)
            with autocast(dtype, device)():
                total += item_loss(model, item, uniform[place : place + 1], noise, device).item()
        return {EDM_LOSS: total / count}

    return validate
