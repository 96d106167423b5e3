"""The training loop: what a step does to weights, and what it takes from heads."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_heads import TINY_COARSE, TINY_FINE, average_heads, small_prior
from training_loose import Loose, losses, newest, same, stage_plan

from bids_refacer.training import loop
from bids_refacer.training.checkpoint import checkpoints
from bids_refacer.training.data.batches import Items
from bids_refacer.training.data.examples import Item
from bids_refacer.training.loop import train_stage
from bids_refacer.training.loss import item_loss, normal_noise, stratified
from bids_refacer.training.recorder import TrainingError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors"),  # in quickshear
    pytest.mark.usefixtures("one_thread"),
]


def test_the_loss_falls(tmp_path: Path) -> None:
    train_stage(Loose(), stage_plan(tmp_path, 60, rate=1e-2, checkpoint_every=1000))
    table = losses(tmp_path)
    assert list(table) == list(range(60))
    curve = list(table.values())
    assert 0.8 < np.mean(curve[:5]) < 1.2, "an untrained network has a loss of 1"
    assert np.mean(curve[-10:]) < 0.8


def test_a_stage_trains_on_heads(tmp_path: Path) -> None:
    dataset = Items(average_heads(), [small_prior()] * 5, TINY_FINE, seed=0, crop=32)
    train_stage(dataset, stage_plan(tmp_path, 2, batch=1, workers=1, config=TINY_FINE))
    assert all(math.isfinite(loss) for loss in losses(tmp_path).values())


def test_averaged_weights_follow_slowly(tmp_path: Path) -> None:
    """After one step the average is 1/10 initial (decay 0.1) and 9/10 new."""
    torch.manual_seed(0)
    initial = loop.build(TINY_COARSE).state_dict()
    averaged = train_stage(Loose(), stage_plan(tmp_path, 1)).state_dict()
    new = newest(tmp_path)["model"]
    for name, value in averaged.items():
        torch.testing.assert_close(value, 0.1 * initial[name] + 0.9 * new[name], atol=1e-6, rtol=1e-4)
    assert any(not torch.equal(averaged[name], new[name]) for name in new)


def test_every_step_has_noise_of_its_own_and_levels_from_every_stratum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[torch.Tensor, float]] = []
    loss = loop.Denoiser.loss

    def record(model, target, condition, unknown, augmentation, weight, uniform, noise) -> torch.Tensor:
        drawn.extend(zip(noise.flatten(1)[:, :50], uniform.tolist(), strict=True))
        return loss(model, target, condition, unknown, augmentation, weight, uniform, noise)

    monkeypatch.setattr(loop.Denoiser, "loss", record)
    train_stage(Loose(), stage_plan(tmp_path, 3, batch=2, noises=2))
    noises = torch.stack([noise for noise, _ in drawn])
    assert len(torch.unique(noises, dim=0)) == len(drawn) == 12
    for step in range(3):
        assert sorted(int(4 * uniform) for _, uniform in drawn[4 * step : 4 * step + 4]) == [0, 1, 2, 3]


def test_gradient_that_is_not_finite_stops_training_and_spares_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(TrainingError, match="gradient of step 0 is not finite; the checkpoint before it is whole"):
        train_stage(Loose(), stage_plan(tmp_path, 1))
    assert not checkpoints(tmp_path)


def test_noise_levels_of_an_item_go_through_the_network_together_and_count_as_if_alone(tmp_path: Path) -> None:
    item, noise, uniform = Loose()[0], normal_noise(0, 0, 0, (3, *Loose()[0].target.shape[1:])), stratified(0, 0, 3)
    fresh = loop.StageState(stage_plan(tmp_path, 1), loop.join())
    together = item_loss(fresh.model, item, uniform, noise, fresh.device)
    alone = [item_loss(fresh.model, item, uniform[n : n + 1], noise[n : n + 1], fresh.device) for n in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_the_gradient_of_a_batch_is_the_mean_over_its_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accumulated item by item, it is what automatic differentiation of the mean gives."""
    plan = stage_plan(tmp_path, 1, batch=3, noises=1, precision="float32")
    items = [Loose()[index] for index in range(3)]
    fresh = loop.StageState(plan, loop.join())
    noises = [normal_noise(0, 0, place, item.target.shape) for place, item in enumerate(items)]
    terms = [
        item_loss(fresh.model, item, share[None], noise, fresh.device)
        for item, share, noise in zip(items, stratified(0, 0, 3), noises, strict=True)
    ]
    mean = torch.stack(terms).mean()
    expected = torch.autograd.grad(mean, list(fresh.model.parameters()))
    accumulated: list[torch.Tensor] = []

    def look(parameters, most: float) -> torch.Tensor:
        accumulated.extend(p.grad.clone() for p in parameters)
        return torch.tensor(1.0)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", look)
    loss, _ = loop.take_step(loop.StageState(plan, loop.join()), items, 0)
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    for ours, theirs in zip(accumulated, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_a_long_gradient_is_shortened_and_a_short_one_is_not(tmp_path: Path) -> None:
    """Momentum after one step is (1 - 0.9) times the gradient that was used."""
    norms = {}
    for clip in (1e-3, 1e3):
        train_stage(Loose(), stage_plan(tmp_path / str(clip), 1, clip=clip))
        momenta = newest(tmp_path / str(clip))["optimiser"]["state"].values()
        norms[clip] = 10 * math.sqrt(sum(float((m["exp_avg"] ** 2).sum()) for m in momenta))
        with (tmp_path / str(clip) / "loss.csv").open() as file:
            (row,) = csv.DictReader(file)
        expected = min(clip, float(row["gradient_norm"]))
        assert norms[clip] == pytest.approx(expected, rel=1e-3)
    assert norms[1e3] > 10 * norms[1e-3]


def test_voxels_outside_the_field_of_view_teach_nothing(tmp_path: Path) -> None:
    """Whatever the truth may be where the view has ended, loss and weights are the same, bit for bit."""

    class CutView(Loose):
        def __init__(self, beyond: float) -> None:
            self.beyond = beyond

        def __getitem__(self, index: int) -> Item:
            item = super().__getitem__(index)
            view = torch.ones_like(item.weight)
            view[..., :5] = 0
            target = torch.where(view > 0, item.target, self.beyond)
            return replace(item, target=target, unknown=item.unknown * view, weight=item.weight * view)

    for name, beyond in (("air", -1.0), ("tissue", 3.0)):
        train_stage(CutView(beyond), stage_plan(tmp_path / name, 2))
    assert losses(tmp_path / "air") == losses(tmp_path / "tissue")
    same(newest(tmp_path / "air"), newest(tmp_path / "tissue"))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    a, b = (train_stage(Loose(), stage_plan(tmp_path / str(s), 1, seed=s)) for s in (0, 1))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
