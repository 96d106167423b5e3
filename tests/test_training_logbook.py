"""Tables without repeated steps, a line with the time left, TensorBoard where it is installed."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path

import pytest

from bids_refacer.training import logbook
from bids_refacer.training.logbook import Logbook, forget_from, progress


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


def test_steps_after_the_checkpoint_are_forgotten_and_a_cut_row_too(tmp_path: Path) -> None:
    (tmp_path / "loss.csv").write_text("step,loss\n0,1.0\n1,0.9\n2,0.8\n3,0.")
    forget_from(tmp_path / "loss.csv", 2)
    assert (tmp_path / "loss.csv").read_text() == "step,loss\n0,1.0\n1,0.9\n"
    (tmp_path / "validation.csv").write_text("step,edm_loss\n2,0.5\n4,0.4\n")
    forget_from(tmp_path / "validation.csv", 2)
    assert (tmp_path / "validation.csv").read_text() == "step,edm_loss\n2,0.5\n", "made after 2 steps, not in step 2"


@pytest.mark.parametrize("text", ["", "step,lo", "step,loss\n"])
def test_a_table_that_was_killed_in_its_first_line_is_begun_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "loss.csv").write_text(text)
    Logbook(tmp_path, 0, 2).step(0, 0.5, 1e-4, 2.0)
    header, row = (tmp_path / "loss.csv").read_text().splitlines()
    assert row.startswith("0,0.5,0.0001,2,") and (header.startswith("step,loss,rate") or text == "step,loss\n")


def test_progress_says_how_long_it_takes() -> None:
    assert progress(120, 1000, 0.41234, 3.2) == "step 120 of 1000, loss 0.4123, 3.2 s a step, 47 min left"
    assert progress(990, 1000, 0.4, 3.2).endswith("32 s left")
    assert progress(1, 10_001, 1.0, 3.0).endswith("8 h 20 min left")


def test_the_first_and_the_last_step_are_said_and_not_every_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    book = Logbook(tmp_path, 5, 10)
    for step in range(5, 10):
        book.step(step, 0.5, 1e-4, 1.0)
    said = [record.message for record in caplog.records if " of 10" in record.message]
    assert [line.split(",")[0] for line in said] == [f"{tmp_path.name}: step {n} of 10" for n in (6, 10)]


def test_without_tensorboard_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logbook._say_no_tensorboard.cache_clear()
    for name in ("coarse", "fine"):
        (tmp_path / name).mkdir()
        Logbook(tmp_path / name, 0, 1).close()
    assert caplog.text.count("tensorboard is not installed: logs are CSV files alone") == 1


def test_with_tensorboard_it_gets_what_the_tables_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            drawn.append((folder, purge_step))

        def add_scalar(self, *what) -> None:
            drawn.append(what)

        def close(self) -> None:
            drawn.append(("closed",))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    book = Logbook(tmp_path, 3, 9)
    book.step(3, 0.5, 1e-4, 2.0)
    book.metrics(4, {"masd_mm": 1.25}, True)
    book.close()
    assert drawn == [
        (str(tmp_path / "tensorboard"), 3),
        ("loss", 0.5, 3),
        ("rate", 1e-4, 3),
        ("gradient_norm", 2.0, 3),
        ("validation/masd_mm", 1.25, 4),
        ("closed",),
    ]
