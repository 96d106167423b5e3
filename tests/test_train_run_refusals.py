"""What a whole training refuses, and what it says when something stops it."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest
import torch
from train_runs import OPTIONS

from bids_refacer.__main__ import main
from bids_refacer.refacing.weights import load_model
from bids_refacer.training import run as train_run
from bids_refacer.training.data import cache

pytest_plugins = ["train_runs"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors"),  # in quickshear
    pytest.mark.usefixtures("small"),
]


def test_another_training_in_the_same_folder_is_refused_before_it_changes_anything(
    out: Path, bids: Path, capsys: pytest.CaptureFixture
) -> None:
    before = (out / "train.toml").read_bytes()
    assert main(["train", str(bids), str(out), *OPTIONS, "--fine-steps", "9"]) == 1
    said = capsys.readouterr().err
    assert "fine/checkpoint-00000001.pt is of another training: steps is 1 there and 9 here." in said
    assert (out / "train.toml").read_bytes() == before


def test_weights_of_another_architecture_are_refused(
    done: Path, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(done / "cache", tmp_path / "o" / "cache")
    shutil.copy(done / "heads.json", tmp_path / "o")
    assert main(["train", str(bids), str(tmp_path / "o"), *OPTIONS, "--init-from", "default"]) == 1
    said = capsys.readouterr().err
    channels = load_model("default", torch.device("cpu")).stages[0][0].network.channels
    assert "The model default is built differently at 4 mm (" in said
    assert f"network.channels is {channels} there and (8, 16) here" in said
    assert "so the coarse stage cannot start from it" in said


def test_a_model_that_is_not_there_is_named(out: Path, bids: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", str(bids), str(out), *OPTIONS, "--init-from", "nowhere"]) == 1
    assert "No attack model 'nowhere'" in capsys.readouterr().err


def test_too_few_heads_are_refused(
    bids: Path, out: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LEAST_HEADS", 10)
    assert main(["train", str(bids), str(out), *OPTIONS, "--prepare-only"]) == 1
    assert capsys.readouterr().err.strip() == (
        "6 heads of 6 participants to train on, and at least 10 heads of 2 are needed: "
        f"{out / 'dropped.tsv'} says why the others are left out."
    )


def test_a_folder_in_use_is_refused(bids: Path, out: Path, capsys: pytest.CaptureFixture) -> None:
    with (out / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["train", str(bids), str(out), *OPTIONS]) == 1
    said = capsys.readouterr().err.strip()
    assert said == f"Another training is writing to {out}: wait for it, or give another folder."


def test_an_input_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", str(tmp_path / "gone"), str(tmp_path / "o"), *OPTIONS]) == 1
    assert f"The input {tmp_path / 'gone'} is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Interrupted. The same command goes on from the last checkpoint."),
        (OSError(28, "No space left on device", "/x/y.pt"), 1, "/x/y.pt: No space left on device; check the disk,"),
    ],
)
def test_what_stops_it_from_outside_is_a_sentence(
    error: BaseException,
    code: int,
    words: str,
    out: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(train_run, "_run", stop)
    assert main(["train", "gone", str(out)]) == code
    assert words in capsys.readouterr().err


def test_float16_on_a_cpu_is_refused(bids: Path, out: Path, capsys: pytest.CaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["train", str(bids), str(out), *OPTIONS, "--precision", "float16"]) == 1
    assert "float16 needs a CUDA GPU" in capsys.readouterr().err
