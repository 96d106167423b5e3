"""The training loop: killed and resumed, its checkpoint, its learning rate."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from training_heads import TINY_COARSE, TINY_FINE, average_heads, small_prior

from bids_refacer.training import loop
from bids_refacer.training.batches import Items
from bids_refacer.training.examples import Item
from bids_refacer.training.heads import Head
from bids_refacer.training.loop import LoopSettings, TrainingError, learning_rate, train_stage
from bids_refacer.volumes.prior import LinearPrior

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    return small_prior()


SPREAD = TINY_COARSE.noise.sigma_data


class Loose(Dataset):
    """Items for the loop alone: small volumes of different sizes, each a function of its index.

    At least 16 voxels a side, so that the coarsest level of a tiny network has 4: on some CPUs oneDNN's bfloat16
    weight gradient of a 3x3x3 convolution over 2 voxels along the first axis reads memory that was never written.
    """

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Item:
        generator = torch.Generator().manual_seed(index)
        shape = (1, 1, 16, 16 + 8 * (index % 2), 16)
        unknown = (torch.rand(shape, generator=generator) < 0.6).float()
        target = SPREAD * torch.randn(shape, generator=generator) * unknown
        noise = torch.randn((1, 2, *shape[2:]), generator=generator)
        condition = torch.cat([target / SPREAD, noise], dim=1)  # something that can be learned
        return Item(target, condition, unknown, unknown, 0.0)


def settings(steps: int, **changes: object) -> LoopSettings:
    return LoopSettings(**{"steps": steps, "warmup": 2, "checkpoint_every": 2, "workers": 0, "rate": 1e-3, **changes})


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Killed(Exception):
    pass


def test_killed_and_resumed_gives_the_weights_of_an_unbroken_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "whole")
    step_once = loop._step

    def killed_in_step_3(model, averaged, optimiser, batch, step, *rest) -> float:
        if step == 3:
            raise Killed
        return step_once(model, averaged, optimiser, batch, step, *rest)

    monkeypatch.setattr(loop, "_step", killed_in_step_3)
    with pytest.raises(Killed):
        train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "broken")
    monkeypatch.setattr(loop, "_step", step_once)
    torch.manual_seed(999)  # resuming must not lean on the state of the process
    resumed = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "broken")
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    states = [torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "broken")]
    for name, a in states[0]["model"].items():
        assert torch.equal(a, states[1]["model"][name]), name
    assert states[0]["step"] == states[1]["step"] == 4


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    a, b = (train_stage(Loose(), TINY_COARSE, settings(1, seed=s), tmp_path / str(s)) for s in (0, 1))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    first = train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    stamp = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    again = train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == stamp
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), again.parameters(), strict=True))


def test_a_checkpoint_is_whole_or_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full_disk(state: dict, path: Path) -> None:
        Path(path).write_bytes(b"half a checkp")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            train_stage(Loose(), TINY_COARSE, settings(4), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    train_stage(Loose(), TINY_COARSE, settings(4), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "loss.csv"]


def test_the_loss_falls(tmp_path: Path) -> None:
    train_stage(Loose(), TINY_COARSE, settings(60, rate=1e-2, checkpoint_every=1000), tmp_path)
    with (tmp_path / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows]
    assert [int(row["step"]) for row in rows] == list(range(60))
    assert 0.8 < np.mean(losses[:5]) < 1.2, "an untrained network has a loss of 1"
    assert np.mean(losses[-10:]) < 0.8


def test_a_stage_trains_on_heads(heads: list[Head], prior: LinearPrior, tmp_path: Path) -> None:
    dataset = Items(heads, [prior] * 5, TINY_FINE, seed=0, crop=32)
    train_stage(dataset, TINY_FINE, settings(2, batch=1, workers=1), tmp_path)
    with (tmp_path / "loss.csv").open() as file:
        assert all(math.isfinite(float(row["loss"])) for row in csv.DictReader(file))


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
    new = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    for name, value in averaged.items():
        torch.testing.assert_close(value, 0.1 * initial[name] + 0.9 * new[name], atol=1e-6, rtol=1e-4)
    assert any(not torch.equal(averaged[name], new[name]) for name in new)


def test_every_step_has_noise_of_its_own_and_levels_from_every_stratum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[torch.Tensor, float]] = []
    loss = loop.Denoiser.loss

    def record(model, target, condition, unknown, augmentation, weight, uniform, noise) -> torch.Tensor:
        drawn.append((noise.flatten()[:50], uniform.item()))
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
    assert not (tmp_path / "checkpoint.pt").exists()
