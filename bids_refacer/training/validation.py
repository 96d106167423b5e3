"""Validation that costs little: the training loss on the same held-out examples and the same noise every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.utils.data import Dataset

from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.training.data.examples import Item
from bids_refacer.training.draws import normal, strata
from bids_refacer.training.precision import autocast

Validate = Callable[[Denoiser, int], Mapping[str, float]]
"""(averaged model, steps taken) -> named figures, lower is better. Called by the first process alone.

The model must be left as it was. The names must be the same at every call.
"""

EDM_LOSS = "edm_loss"


def held_out_loss(items: Dataset[Item], count: int, seed: int, dtype: torch.dtype) -> Validate:
    """Mean EDM loss over the first `count` items, one noise level of each stratum, as {"edm_loss": value}.

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
        uniform = strata(seed, 0, count)
        total = 0.0
        for place, item in enumerate(kept):
            noise = normal(seed, 0, place, item.target.shape)
            with autocast(dtype, device)():
                total += item_loss(model, item, uniform[place : place + 1], noise, device).item()
        return {EDM_LOSS: total / count}

    return validate


def item_loss(
    model: Denoiser, item: Item, uniform: torch.Tensor, noise: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """The loss of one item on a device, at n noise levels: the one place where training meets `Denoiser.loss`.

    Parameters
    ----------
    uniform : (n,) in (0, 1), draws the noise levels
    noise : (n, t, i, j, k) standard normal, for a target of (1, t, i, j, k)
    """
    parts = (item.target, item.condition, item.unknown, torch.tensor([item.augmentation]), item.weight)
    target, condition, unknown, level, weight = (
        part.to(device, non_blocking=True).expand(len(uniform), *part.shape[1:]) for part in parts
    )
    return model.loss(target, condition, unknown, level, weight, uniform.to(device), noise.to(device))
