"""Averaged weights: an exponential moving average that starts as the weights themselves."""

from __future__ import annotations

import copy

import torch
from torch import nn


def decay_at(step: int, decay: float) -> float:
    """Decay of a step, counted from 0: (1 + step) / (10 + step) until that reaches `decay`.

    So the average forgets the random start soon (as TensorFlow's ExponentialMovingAverage with `num_updates`).
    """
    return min(decay, (1 + step) / (10 + step))


def averaged_copy(model: nn.Module) -> nn.Module:
    """A copy of a model that takes no gradients, to be moved by `follow`."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def follow(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged parameters towards the model's by 1 - decay; buffers, which are no averages, are copied."""
    for slow, fast in zip(averaged.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for ours, theirs in zip(averaged.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)
