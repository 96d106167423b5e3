"""Validation while training: when the hook is called, what becomes the best, the default hook."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from training_heads import TINY_COARSE
from training_loose import Loose, stage_plan

from bids_refacer.diffusion.cascade import build
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.training.loop import train_stage
from bids_refacer.training.loss import held_out_loss
from bids_refacer.training.recorder import TrainingError, best_weights


class Hook:
    """Figures by the number of steps; remembers the weights it was shown."""

    def __init__(self, figures: dict[int, float]) -> None:
        self.figures = figures
        self.shown: dict[int, dict[str, torch.Tensor]] = {}

    def __call__(self, averaged: Denoiser, step: int) -> dict[str, float]:
        self.shown[step] = {name: value.clone() for name, value in averaged.state_dict().items()}
        return {"masd_mm": self.figures[step], "roughness_mm": 1.0}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "validation.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_averaged_weights_with_the_lowest_figure_are_kept(tmp_path: Path) -> None:
    hook = Hook({2: 3.0, 4: 1.5, 5: 2.0})
    plan = stage_plan(tmp_path, 5, validate_every=2, best_by="masd_mm")
    last = train_stage(Loose(), plan, validate=hook).state_dict()
    assert list(hook.shown) == [2, 4, 5], "every 2 steps and at the end"
    best = best_weights(tmp_path)
    assert best is not None and (best["step"], best["name"], best["value"]) == (4, "masd_mm", 1.5)
    for name, value in best["ema"].items():
        assert torch.equal(value, hook.shown[4][name]) and torch.equal(last[name], hook.shown[5][name])
    assert any(not torch.equal(best["ema"][name], last[name]) for name in last)
    table = [(row["step"], row["masd_mm"], row["roughness_mm"]) for row in rows(tmp_path)]
    assert table == [("2", "3", "1"), ("4", "1.5", "1"), ("5", "2", "1")]


def test_a_resumed_run_remembers_the_best(tmp_path: Path) -> None:
    plan = stage_plan(tmp_path, 6, validate_every=2, best_by="masd_mm")

    class Killed(Exception):
        pass

    def killed_later(averaged: Denoiser, step: int) -> dict[str, float]:
        if step == 4:
            raise Killed
        return {"masd_mm": 1.0}

    with pytest.raises(Killed):
        train_stage(Loose(), plan, validate=killed_later)
    hook = Hook({4: 5.0, 6: 6.0})
    train_stage(Loose(), plan, validate=hook)
    best = best_weights(tmp_path)
    assert best is not None and (best["step"], best["value"]) == (2, 1.0)
    assert [row["step"] for row in rows(tmp_path)] == ["2", "4", "6"]


def test_the_best_by_another_figure_is_no_rival(tmp_path: Path) -> None:
    by_one = stage_plan(tmp_path, 4, validate_every=2, best_by="masd_mm")
    train_stage(Loose(), by_one, validate=Hook({2: 1.0, 4: 2.0}))
    (tmp_path / "checkpoint-00000004.pt").unlink()
    by_other = stage_plan(tmp_path, 4, validate_every=2, best_by="roughness_mm")
    train_stage(Loose(), by_other, validate=Hook({4: 2.0}))
    best = best_weights(tmp_path)
    assert best is not None and (best["step"], best["name"]) == (4, "roughness_mm")


def test_a_figure_that_validation_does_not_give_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        train_stage(Loose(), stage_plan(tmp_path, 1, best_by="dice"), validate=Hook({1: 1.0}))
    assert str(caught.value) == (
        "Validation gives no figure 'dice', by which the best weights are chosen: set best_by to one of "
        "masd_mm, roughness_mm."
    )


def test_without_a_hook_there_is_no_best(tmp_path: Path) -> None:
    train_stage(Loose(), stage_plan(tmp_path, 1))
    assert best_weights(tmp_path) is None and not (tmp_path / "validation.csv").exists()


def test_validation_does_not_disturb_training(tmp_path: Path) -> None:
    validate = held_out_loss(Loose(), 2, 0, torch.bfloat16)
    with_it = train_stage(Loose(), stage_plan(tmp_path / "a", 3, validate_every=1), validate=validate)
    without = train_stage(Loose(), stage_plan(tmp_path / "b", 3))
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_it.state_dict()[name]), name


def test_the_default_figure_is_the_loss_on_the_same_items_and_noise_every_time() -> None:
    torch.manual_seed(0)
    model = build(TINY_COARSE)
    validate = held_out_loss(Loose(), 3, 0, torch.float32)
    first, other_seed = validate(model, 1), held_out_loss(Loose(), 3, 1, torch.float32)(model, 1)
    torch.manual_seed(5)
    assert validate(model, 2) == first
    assert first["edm_loss"] == pytest.approx(1, abs=0.2), "an untrained network has a loss of 1"
    assert other_seed != first


def test_a_trained_network_has_a_lower_figure(tmp_path: Path) -> None:
    validate = held_out_loss(Loose(), 4, 0, torch.float32)
    plan = stage_plan(tmp_path, 24, rate=1e-2, validate_every=12)
    train_stage(Loose(), plan, validate=validate)
    before, after = (float(row["edm_loss"]) for row in rows(tmp_path))
    assert after < before < 1.1
