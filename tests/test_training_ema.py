"""Averaged weights against their closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bids_refacer.training.ema import averaged_copy, decay_at, follow


def test_the_average_is_the_weighted_sum_of_what_it_followed() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    averaged = averaged_copy(model)
    for value in (2.0, 3.0, 4.0):
        model.weight.data.fill_(value)
        follow(averaged, model, 0.5)
    assert averaged.weight.item() == pytest.approx(1 / 8 + 2 / 8 + 3 / 4 + 4 / 2)
    assert model.weight.item() == 4.0 and not averaged.weight.requires_grad and model.weight.requires_grad


def test_buffers_are_copied() -> None:
    model = nn.BatchNorm1d(2)
    averaged = averaged_copy(model)
    model.running_mean += 3
    model.num_batches_tracked += 7
    follow(averaged, model, 0.9)
    assert torch.equal(averaged.running_mean, model.running_mean) and averaged.num_batches_tracked == 7


def test_the_start_is_forgotten_soon() -> None:
    assert decay_at(0, 0.999) == pytest.approx(0.1)
    assert decay_at(90, 0.999) == pytest.approx(0.91)
    assert decay_at(10**6, 0.999) == 0.999
