"""A training that is killed and resumed: exact, and refused by the checkpoints of another one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_heads import TINY_COARSE
from training_loose import Loose, losses, newest, same, stage_plan, train

from bids_refacer.training.checkpoint import CheckpointError, checkpoints
from bids_refacer.training.loop import train_stage
from bids_refacer.training.recorder import best_weights

pytestmark = pytest.mark.usefixtures("one_thread")


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
    moments = [lambda: lines() > 8, lambda: lines() > 12 and any(broken.glob(".checkpoint-*"))]
    for moment in moments:
        assert train_in_child(broken, plan, moment) == -signal.SIGKILL, "the training ended before it could be killed"
    assert train_in_child(broken, plan) == 0
    same(newest(tmp_path / "whole"), newest(broken))
    assert newest(broken)["step"] == 24
    same(best_weights(tmp_path / "whole") or {}, best_weights(broken) or {})
    assert losses(tmp_path / "whole") == losses(broken) and list(losses(broken)) == list(range(24))
    assert (tmp_path / "whole" / "validation.csv").read_text() == (broken / "validation.csv").read_text()


def test_resuming_does_not_lean_on_the_state_of_the_process(tmp_path: Path) -> None:
    whole = train_stage(Loose(), stage_plan(tmp_path / "whole", 4))
    train_stage(Loose(), stage_plan(tmp_path / "broken", 4))
    checkpoints(tmp_path / "broken")[-1].unlink()  # as if killed after step 2
    torch.manual_seed(999)
    resumed = train_stage(Loose(), stage_plan(tmp_path / "broken", 4))
    same(whole.state_dict(), resumed.state_dict())
    assert list(losses(tmp_path / "broken")) == [0, 1, 2, 3]


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    first = train_stage(Loose(), stage_plan(tmp_path, 2))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = train_stage(Loose(), stage_plan(tmp_path, 2))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    same(first.state_dict(), again.state_dict())


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_stage(Loose(), stage_plan(tmp_path / "whole", 6))
    train_stage(Loose(), stage_plan(tmp_path / "broken", 6))
    last = checkpoints(tmp_path / "broken")[-1]
    last.write_bytes(last.read_bytes()[:3000])
    resumed = train_stage(Loose(), stage_plan(tmp_path / "broken", 6))
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
    train_stage(Loose(), stage_plan(tmp_path, 2))
    with pytest.raises(CheckpointError) as caught:
        train_stage(Loose(), stage_plan(tmp_path, **{"steps": 2, **changes}))
    assert str(caught.value) == (
        f"{checkpoints(tmp_path)[-1]} is of another training: {words}. Give the settings it was started with, "
        "or another output folder."
    )


def test_a_checkpoint_of_another_stage_or_of_other_heads_is_refused(tmp_path: Path) -> None:
    train_stage(Loose(), stage_plan(tmp_path, 2, about={"heads_sha256": "a"}))
    other = replace(TINY_COARSE, noise=replace(TINY_COARSE.noise, sigma_data=0.5))
    assert TINY_COARSE.noise.sigma_data != 0.5
    with pytest.raises(CheckpointError, match="stage.noise.sigma_data is 0.25 there and 0.5 here; heads_sha256 is a "):
        train_stage(Loose(), stage_plan(tmp_path, 2, config=other, about={"heads_sha256": "b"}))


def test_how_often_something_is_saved_may_change(tmp_path: Path) -> None:
    train_stage(Loose(), stage_plan(tmp_path, 2))
    train_stage(Loose(), stage_plan(tmp_path, 2, checkpoint_every=1, keep_checkpoints=9, workers=1))


def test_a_full_disk_spares_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_stage(Loose(), stage_plan(tmp_path / "whole", 4))
    save = torch.save

    def full_disk(state: dict, file) -> None:
        if state["step"] == 4:
            file.write(b"half a checkp")
            raise OSError("No space left on device")
        save(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            train_stage(Loose(), stage_plan(tmp_path / "full", 4))
    assert newest(tmp_path / "full")["step"] == 2
    resumed = train_stage(Loose(), stage_plan(tmp_path / "full", 4))
    same(whole.state_dict(), resumed.state_dict())
    names = ["checkpoint-00000002.pt", "checkpoint-00000004.pt", "loss.csv"]
    assert sorted(p.name for p in (tmp_path / "full").iterdir()) == names
