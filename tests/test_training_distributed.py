"""Two processes under torchrun take the steps of one; shares are fair; GPUs speak NCCL."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_loose import Loose, stage_plan, train

from bids_refacer.training.checkpoint import checkpoints, read
from bids_refacer.training.distributed import Processes, join, share
from bids_refacer.training.loop import train_stage
from bids_refacer.training.recorder import TrainingError, best_weights

CPU = torch.device("cpu")
TOLERANCE = 1e-4
"""Relative, of the loss of each step: floats are added in another order, and Adam carries that on."""


@pytest.mark.usefixtures("one_thread")
def test_two_processes_have_the_loss_curve_of_one_with_the_same_global_batch(tmp_path: Path) -> None:
    plan = {"steps": 8, "batch": 4, "precision": "float32", "validate_every": 4}
    tests = Path(__file__).parent
    paths = os.pathsep.join([str(tests.parent), str(tests)])
    script = [str(tests / "training_loose.py"), str(tmp_path / "two"), json.dumps(plan)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *script]
    environ = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    train(tmp_path / "one", plan)
    curves = {run: losses(tmp_path / run) for run in ("one", "two")}
    assert len(curves["one"]) == len(curves["two"]) == 8
    assert curves["two"] == pytest.approx(curves["one"], rel=TOLERANCE)
    assert abs(curves["one"][0] - curves["one"][-1]) > 10 * TOLERANCE, "a curve that does not move proves nothing"
    weights = [read(checkpoints(tmp_path / run)[-1])["ema"] for run in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-4, rtol=1e-3)
    best = [best_weights(tmp_path / run) or {} for run in ("one", "two")]
    assert best[1]["value"] == pytest.approx(best[0]["value"], rel=TOLERANCE)


def losses(folder: Path) -> list[float]:
    with (folder / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_training_may_go_on_with_another_number_of_processes(tmp_path: Path) -> None:
    """What is drawn does not depend on who draws it: the shares of two are the whole of one."""
    whole = share(4, 3, Processes(0, 1, CPU))
    parts = [share(4, 3, Processes(rank, 2, CPU)) for rank in (0, 1)]
    assert whole == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert parts == [[whole[0], whole[2]], [whole[1], whole[3]]]


def test_a_batch_that_cannot_be_shared_equally_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        train_stage(Loose(), stage_plan(tmp_path, 1, batch=3), processes=Processes(0, 2, CPU))
    assert str(caught.value) == (
        "A batch of 3 cannot be shared equally by 2 processes: set batch to a multiple of 2, or start fewer."
    )


@pytest.mark.parametrize(("cuda", "backend"), [(False, "gloo"), (True, "nccl")])
def test_gpus_speak_nccl_and_cpus_gloo(monkeypatch: pytest.MonkeyPatch, cuda: bool, backend: str) -> None:
    asked: list[str] = []
    for name, value in (("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(str(device)))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda name, timeout: asked.append(name))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    processes = join()
    assert asked == (["cuda:3", backend] if cuda else [backend])
    assert processes == Processes(3, 4, torch.device("cuda", 3) if cuda else CPU) and not processes.first


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (join().rank, join().count, join().first) == (0, 1, True)
