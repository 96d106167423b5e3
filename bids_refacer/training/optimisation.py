"""What surrounds the optimiser: the learning rate, the averaged weights, and the arithmetic of the network.

Weights, gradients and the optimiser are in float32; only the network may run in another precision.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import nn

from bids_refacer.diffusion.denoiser import has_fast_bf16
from bids_refacer.settings import TrainSettings


class PrecisionError(ValueError):
    """The chosen precision is not available on this device."""


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """Learning rate of a step out of `steps`, counted from 0: linear warm-up, then a cosine down to a fiftieth."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    done = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
    return settings.rate * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def decay_at(step: int, decay: float) -> float:
    """Decay of the averaged weights at a step, counted from 0: (1 + step) / (10 + step) until that reaches `decay`.

    So the average forgets the random start soon (as TensorFlow's ExponentialMovingAverage with `num_updates`).
    """
    return min(decay, (1 + step) / (10 + step))


def averaged_copy(model: nn.Module) -> nn.Module:
    """A copy of a model that takes no gradients: the start of its exponential moving average (`move_average`)."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def move_average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged parameters towards the model's by 1 - decay; buffers, which are no averages, are copied."""
    for slow, fast in zip(averaged.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for ours, theirs in zip(averaged.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast for a setting; "auto" is the fastest that is safe.

    Raises
    ------
    PrecisionError
        For float16 anywhere but on CUDA: it needs loss scaling, and no CPU is faster in it.
    """
    if name == "float16" and device.type != "cuda":
        raise PrecisionError(
            f"Precision float16 needs a CUDA GPU, and training runs on {device.type}: use auto, bfloat16 or float32."
        )
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if has_fast_bf16() else torch.float32


def loss_scaler(dtype: torch.dtype, device: torch.device) -> torch.amp.GradScaler:
    """The gradient scaler that float16 needs (small gradients would be zero); does nothing for other dtypes."""
    return torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)


def autocast(dtype: torch.dtype, device: torch.device) -> Callable[[], torch.autocast]:
    """Makes the context in which the loss is computed."""
    return lambda: torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
