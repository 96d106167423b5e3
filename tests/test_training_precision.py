"""Precision: what "auto" means where, and how float16 finds its scale."""

from __future__ import annotations

import pytest
import torch
from training_heads import TINY_COARSE
from training_loose import Loose, loop_settings

from bids_refacer.training import loop, precision
from bids_refacer.training.keeper import TrainingError
from bids_refacer.training.precision import PrecisionError, choose, loss_scaler

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
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: fast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: fast)
    assert choose("auto", device) == dtype


def test_what_is_asked_for_is_taken() -> None:
    assert choose("float32", CUDA) == torch.float32 and choose("bfloat16", CPU) == torch.bfloat16
    assert choose("float16", CUDA) == torch.float16


def test_float16_without_cuda_is_refused() -> None:
    with pytest.raises(PrecisionError) as caught:
        choose("float16", CPU)
    assert str(caught.value) == (
        "Precision float16 needs a CUDA GPU, and training runs on cpu: use auto, bfloat16 or float32."
    )


def test_losses_are_scaled_in_float16_alone() -> None:
    assert not loss_scaler(torch.bfloat16, CPU).is_enabled() and not loss_scaler(torch.float32, CPU).is_enabled()
    assert loss_scaler(torch.float16, CPU).is_enabled()


def scaled_run(scale: float) -> loop._Run:
    run = loop._Run(TINY_COARSE, loop_settings(9, precision="float32"), None, loop.join())
    run.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return run


def test_a_gradient_too_large_for_float16_skips_the_step_and_lowers_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = loop.item_loss
    monkeypatch.setattr(loop, "item_loss", lambda *arguments: 1e6 * loss(*arguments))
    run = scaled_run(2.0**127)  # with that loss: more than float32 can hold
    before = [parameter.clone() for parameter in run.model.parameters()]
    loop._step(run, [Loose()[0], Loose()[1]], 0)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    assert run.scaler.get_scale() == 2.0**126


def test_a_scaled_step_is_the_step() -> None:
    runs = [scaled_run(1024.0), loop._Run(TINY_COARSE, loop_settings(9, precision="float32"), None, loop.join())]
    norms = [loop._step(run, [Loose()[0], Loose()[1]], 0)[1] for run in runs]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_loss_that_stays_infinite_stops_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run = scaled_run(0.5)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match="Train on with precision float32, or with a lower learning rate"):
        loop._step(run, [Loose()[0], Loose()[1]], 0)
