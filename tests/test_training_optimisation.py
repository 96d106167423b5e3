"""The learning rate, averaged weights against their closed form, what precision "auto" means, loss scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_loose import Loose, stage_plan

from bids_refacer.training import loop, optimisation
from bids_refacer.training.optimisation import (
    PrecisionError,
    averaged_copy,
    choose_precision,
    decay_at,
    learning_rate,
    loss_scaler,
    move_average,
)
from bids_refacer.training.recorder import TrainingError

NOWHERE = Path("nothing is written")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "fast", "dtype"),
    [
        (CPU, True, torch.bfloat16),
        (CPU, False, torch.float32),
        (CUDA, True, torch.bfloat16),
        (CUDA, False, torch.float16),
    ],
)
def test_auto_is_the_fastest_that_is_safe(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, fast: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(optimisation, "has_fast_bf16", lambda: fast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: fast)
    assert choose_precision("auto", device) == dtype


def test_what_is_asked_for_is_taken() -> None:
    assert choose_precision("float32", CUDA) == torch.float32 and choose_precision("bfloat16", CPU) == torch.bfloat16
    assert choose_precision("float16", CUDA) == torch.float16


def test_float16_without_cuda_is_refused() -> None:
    with pytest.raises(PrecisionError) as caught:
        choose_precision("float16", CPU)
    assert str(caught.value) == (
        "Precision float16 needs a CUDA GPU, and training runs on cpu: use auto, bfloat16 or float32."
    )


def test_losses_are_scaled_in_float16_alone() -> None:
    assert not loss_scaler(torch.bfloat16, CPU).is_enabled() and not loss_scaler(torch.float32, CPU).is_enabled()
    assert loss_scaler(torch.float16, CPU).is_enabled()


def scaled_run(scale: float) -> loop.StageState:
    run = loop.StageState(stage_plan(NOWHERE, 9, precision="float32"), loop.join())
    run.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return run


def test_a_gradient_too_large_for_float16_skips_the_step_and_lowers_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = loop.item_loss
    monkeypatch.setattr(loop, "item_loss", lambda *arguments: 1e6 * loss(*arguments))
    run = scaled_run(2.0**127)  # with that loss: more than float32 can hold
    before = [parameter.clone() for parameter in run.model.parameters()]
    loop.take_step(run, [Loose()[0], Loose()[1]], 0)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    assert run.scaler.get_scale() == 2.0**126


def test_a_scaled_step_is_the_step() -> None:
    runs = [scaled_run(1024.0), loop.StageState(stage_plan(NOWHERE, 9, precision="float32"), loop.join())]
    norms = [loop.take_step(run, [Loose()[0], Loose()[1]], 0)[1] for run in runs]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_loss_that_stays_infinite_stops_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run = scaled_run(0.5)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match="Train on with precision float32, or with a lower learning rate"):
        loop.take_step(run, [Loose()[0], Loose()[1]], 0)


def test_the_average_is_the_weighted_sum_of_what_it_followed() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    averaged = averaged_copy(model)
    for value in (2.0, 3.0, 4.0):
        model.weight.data.fill_(value)
        move_average(averaged, model, 0.5)
    assert averaged.weight.item() == pytest.approx(1 / 8 + 2 / 8 + 3 / 4 + 4 / 2)
    assert model.weight.item() == 4.0 and not averaged.weight.requires_grad and model.weight.requires_grad


def test_buffers_are_copied() -> None:
    model = nn.BatchNorm1d(2)
    averaged = averaged_copy(model)
    model.running_mean += 3
    model.num_batches_tracked += 7
    move_average(averaged, model, 0.9)
    assert torch.equal(averaged.running_mean, model.running_mean) and averaged.num_batches_tracked == 7


def test_the_start_is_forgotten_soon() -> None:
    assert decay_at(0, 0.999) == pytest.approx(0.1)
    assert decay_at(90, 0.999) == pytest.approx(0.91)
    assert decay_at(10**6, 0.999) == 0.999


def test_the_learning_rate_warms_up_and_falls_to_a_fiftieth() -> None:
    plan = stage_plan(NOWHERE, 1100, warmup=100, rate=4e-4)
    rates = [learning_rate(step, 1100, plan.settings) for step in range(1101)]
    assert rates[0] == pytest.approx(4e-6) and rates[99] == pytest.approx(4e-4)
    assert (np.diff(rates[:100]) > 0).all() and (np.diff(rates[100:]) < 0).all()
    assert rates[600] == pytest.approx(4e-4 * 0.51)
    assert rates[1100] == pytest.approx(4e-4 / 50)
