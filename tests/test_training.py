"""The training loop: killed and resumed, its checkpoint, its learning rate."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_heads import TINY_COARSE, TINY_FINE, average_heads, small_prior
from training_loose import Loose, train
from training_loose import loop_settings as settings

from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.training import loop
from bids_refacer.training.checkpoint import CheckpointError, checkpoints, read
from bids_refacer.training.data.batches import Items
from bids_refacer.training.data.examples import Item
from bids_refacer.training.data.heads import Head
from bids_refacer.training.draws import normal, strata
from bids_refacer.training.keeper import TrainingError, best_weights
from bids_refacer.training.loop import train_stage
from bids_refacer.training.plan import LoopSettings, learning_rate
from bids_refacer.training.validation import item_loss

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    return small_prior()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def newest(folder: Path) -> dict:
    return read(checkpoints(folder)[-1])


def losses(folder: Path) -> dict[int, float]:
    with (folder / "loss.csv").open() as file:
        rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert len(dict(rows)) == len(rows), "a step stands in the table twice"
    return dict(rows)


def same(a: dict, b: dict) -> None:
    for name in a:
        if isinstance(a[name], dict):
            same(a[name], b[name])
        elif isinstance(a[name], torch.Tensor):
            assert torch.equal(a[name], b[name]), name


def train_in_child(folder: Path, changes: dict, kill_when: Callable[[], bool] = lambda: False) -> int:
    """Train in a process of its own; SIGKILL it as soon as told so. Returns its exit code."""
    tests = Path(__file__).parent
    paths = os.pathsep.join([str(tests.parent), str(tests)])
    command = [sys.executable, str(tests / "training_loose.py"), str(folder), json.dumps(changes)]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE)
    while child.poll() is None:
        if kill_when():
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    _, said = child.communicate(timeout=60)
    assert child.returncode in (0, -signal.SIGKILL), said.decode()
    return child.returncode


def test_kill_9_at_any_moment_and_a_resumed_run_gives_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    plan = {"steps": 24, "batch": 1, "checkpoint_every": 3, "keep_checkpoints": 2, "validate_every": 4}
    train(tmp_path / "whole", plan)
    broken = tmp_path / "broken"

    def lines() -> int:
        return (broken / "loss.csv").read_text().count("\n") if (broken / "loss.csv").exists() else 0

    # after a few steps; while a checkpoint is being written
    moments = [lambda: lines() > 8, lambda: lines() > 12 and any(broken.glob("checkpoint-*.tmp"))]
    for moment in moments:
        assert train_in_child(broken, plan, moment) == -signal.SIGKILL, "the training ended before it could be killed"
    assert train_in_child(broken, plan) == 0
    same(newest(tmp_path / "whole"), newest(broken))
    assert newest(broken)["step"] == 24
    same(best_weights(tmp_path / "whole") or {}, best_weights(broken) or {})
    assert losses(tmp_path / "whole") == losses(broken) and list(losses(broken)) == list(range(24))
    assert (tmp_path / "whole" / "validation.csv").read_text() == (broken / "validation.csv").read_text()


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    a, b = (train_stage(Loose(), TINY_COARSE, settings(1, seed=s), tmp_path / str(s)) for s in (0, 1))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_resuming_does_not_lean_on_the_state_of_the_process(tmp_path: Path) -> None:
    whole = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "whole")
    train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "broken")
    checkpoints(tmp_path / "broken")[-1].unlink()  # as if killed after step 2
    torch.manual_seed(999)
    resumed = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "broken")
    same(whole.state_dict(), resumed.state_dict())
    assert list(losses(tmp_path / "broken")) == [0, 1, 2, 3]


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    first = train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    same(first.state_dict(), again.state_dict())


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_stage(Loose(), TINY_COARSE, settings(6), tmp_path / "whole")
    train_stage(Loose(), TINY_COARSE, settings(6), tmp_path / "broken")
    last = checkpoints(tmp_path / "broken")[-1]
    last.write_bytes(last.read_bytes()[:3000])
    resumed = train_stage(Loose(), TINY_COARSE, settings(6), tmp_path / "broken")
    assert f"{last} is damaged" in caplog.text and "goes on from the checkpoint before it" in caplog.text
    same(whole.state_dict(), resumed.state_dict())
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate": 2e-3}, "rate is 0.001 there and 0.002 here"),
        ({"seed": 7}, "seed is 0 there and 7 here"),
        ({"steps": 3}, "steps is 2 there and 3 here"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, changes: dict, words: str) -> None:
    train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    with pytest.raises(CheckpointError) as caught:
        train_stage(Loose(), TINY_COARSE, replace(settings(2), **changes), tmp_path)
    assert str(caught.value) == (
        f"{checkpoints(tmp_path)[-1]} is of another training: {words}. Give the settings it was started with, "
        "or another output folder."
    )


def test_a_checkpoint_of_another_stage_or_of_other_heads_is_refused(tmp_path: Path) -> None:
    train_stage(Loose(), TINY_COARSE, settings(2), tmp_path, about={"heads_sha256": "a"})
    other = replace(TINY_COARSE, noise=replace(TINY_COARSE.noise, sigma_data=0.5))
    assert TINY_COARSE.noise.sigma_data != 0.5
    with pytest.raises(CheckpointError, match="stage.noise.sigma_data is 0.25 there and 0.5 here; heads_sha256 is a "):
        train_stage(Loose(), other, settings(2), tmp_path, about={"heads_sha256": "b"})


def test_how_often_something_is_saved_may_change(tmp_path: Path) -> None:
    train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    train_stage(Loose(), TINY_COARSE, settings(2, checkpoint_every=1, keep_checkpoints=9, workers=1), tmp_path)


def test_a_full_disk_spares_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "whole")
    save = torch.save

    def full_disk(state: dict, file) -> None:
        if state["step"] == 4:
            file.write(b"half a checkp")
            raise OSError("No space left on device")
        save(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "full")
    assert newest(tmp_path / "full")["step"] == 2
    resumed = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "full")
    same(whole.state_dict(), resumed.state_dict())
    names = ["checkpoint-00000002.pt", "checkpoint-00000004.pt", "loss.csv"]
    assert sorted(p.name for p in (tmp_path / "full").iterdir()) == names


def test_the_loss_falls(tmp_path: Path) -> None:
    train_stage(Loose(), TINY_COARSE, settings(60, rate=1e-2, checkpoint_every=1000), tmp_path)
    table = losses(tmp_path)
    assert list(table) == list(range(60))
    curve = list(table.values())
    assert 0.8 < np.mean(curve[:5]) < 1.2, "an untrained network has a loss of 1"
    assert np.mean(curve[-10:]) < 0.8


def test_a_stage_trains_on_heads(heads: list[Head], prior: LinearPrior, tmp_path: Path) -> None:
    dataset = Items(heads, [prior] * 5, TINY_FINE, seed=0, crop=32)
    train_stage(dataset, TINY_FINE, settings(2, batch=1, workers=1), tmp_path)
    assert all(math.isfinite(loss) for loss in losses(tmp_path).values())


def test_the_learning_rate_warms_up_and_falls_to_a_fiftieth() -> None:
    plan = LoopSettings(steps=1100, warmup=100, rate=4e-4)
    rates = [learning_rate(step, plan) for step in range(1101)]
    assert rates[0] == pytest.approx(4e-6) and rates[99] == pytest.approx(4e-4)
    assert (np.diff(rates[:100]) > 0).all() and (np.diff(rates[100:]) < 0).all()
    assert rates[600] == pytest.approx(4e-4 * 0.51)
    assert rates[1100] == pytest.approx(4e-4 / 50)


def test_averaged_weights_follow_slowly(tmp_path: Path) -> None:
    """After one step the average is 1/10 initial (decay 0.1) and 9/10 new."""
    torch.manual_seed(0)
    initial = loop.build(TINY_COARSE).state_dict()
    averaged = train_stage(Loose(), TINY_COARSE, settings(1), tmp_path).state_dict()
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
    train_stage(Loose(), TINY_COARSE, settings(3, batch=2, noises=2), tmp_path)
    noises = torch.stack([noise for noise, _ in drawn])
    assert len(torch.unique(noises, dim=0)) == len(drawn) == 12
    for step in range(3):
        assert sorted(int(4 * uniform) for _, uniform in drawn[4 * step : 4 * step + 4]) == [0, 1, 2, 3]


def test_gradient_that_is_not_finite_stops_training_and_spares_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(TrainingError, match="gradient of step 0 is not finite; the checkpoint before it is whole"):
        train_stage(Loose(), TINY_COARSE, settings(1), tmp_path)
    assert not checkpoints(tmp_path)


def test_noise_levels_of_an_item_go_through_the_network_together_and_count_as_if_alone() -> None:
    item, noise, uniform = Loose()[0], normal(0, 0, 0, (3, *Loose()[0].target.shape[1:])), strata(0, 0, 3)
    fresh = loop._Run(TINY_COARSE, settings(1), None, loop.join())
    together = item_loss(fresh.model, item, uniform, noise, fresh.device)
    alone = [item_loss(fresh.model, item, uniform[n : n + 1], noise[n : n + 1], fresh.device) for n in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_the_gradient_of_a_batch_is_the_mean_over_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accumulated item by item, it is what automatic differentiation of the mean gives."""
    plan = settings(1, batch=3, noises=1, precision="float32")
    items = [Loose()[index] for index in range(3)]
    fresh = loop._Run(TINY_COARSE, plan, None, loop.join())
    noises = [normal(0, 0, place, item.target.shape) for place, item in enumerate(items)]
    terms = [
        item_loss(fresh.model, item, share[None], noise, fresh.device)
        for item, share, noise in zip(items, strata(0, 0, 3), noises, strict=True)
    ]
    mean = torch.stack(terms).mean()
    expected = torch.autograd.grad(mean, list(fresh.model.parameters()))
    accumulated: list[torch.Tensor] = []

    def look(parameters, most: float) -> torch.Tensor:
        accumulated.extend(p.grad.clone() for p in parameters)
        return torch.tensor(1.0)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", look)
    loss, _ = loop._step(loop._Run(TINY_COARSE, plan, None, loop.join()), items, 0)
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    for ours, theirs in zip(accumulated, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_a_long_gradient_is_shortened_and_a_short_one_is_not(tmp_path: Path) -> None:
    """Momentum after one step is (1 - 0.9) times the gradient that was used."""
    norms = {}
    for clip in (1e-3, 1e3):
        train_stage(Loose(), TINY_COARSE, settings(1, clip=clip), tmp_path / str(clip))
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
        train_stage(CutView(beyond), TINY_COARSE, settings(2), tmp_path / name)
    assert losses(tmp_path / "air") == losses(tmp_path / "tissue")
    same(newest(tmp_path / "air"), newest(tmp_path / "tissue"))
