"""A whole training on seven small heads, and its dataset: fixtures, loaded by ``pytest_plugins = ["train_runs"]``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import add_image, average_head, head_without_face, start_dataset
from training_heads import TINY_COARSE, TINY_FINE

from bids_refacer.__main__ import main
from bids_refacer.training import run as train_run
from bids_refacer.training.data import cache, measurements
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.templates import asset

OPTIONS = (
    "--coarse-steps 2 --fine-steps 1 --batch 1 --noises 1 --crop 32 --modes 2 --warmup 1 --checkpoint-every 1 "
    "--validate-items 1 --workers 0 --threads 1"
).split()


@contextmanager
def small_trainings() -> Iterator[None]:
    """Tiny networks, few heads and regions, one face to validate on, and brains that need no network to be found."""
    with pytest.MonkeyPatch.context() as patch:
        brain = asset("average_brain_mask.nii.gz").values > 0
        patch.setattr(train_run, "STAGES", {"coarse": TINY_COARSE, "fine": TINY_FINE})
        patch.setattr(train_run, "REGIONS", {"template": train_run.REGIONS["template"]})
        patch.setattr(train_run, "_VALIDATION_FACES", 1)
        patch.setattr(cache, "LEAST_HEADS", 6)
        patch.setattr(measurements, "extract_brain", lambda volume, name: brain)
        patch.setattr(measurements, "align_brain", lambda *_: Alignment(np.eye(4), np.eye(4)))
        threads = torch.get_num_threads()
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Trainings of a module are `small_trainings`."""
    with small_trainings():
        yield


@pytest.fixture
def steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings are steps alone: what is measured on held-out and training heads, which `done` has, takes longer."""
    monkeypatch.setattr(train_run, "_validation", lambda *_: None)
    monkeypatch.setattr(train_run, "training_ranges", lambda *_: {})


def dimmed(percent: int) -> np.ndarray:
    """The average head, as another image."""
    return (average_head() * (percent / 100)).astype(np.uint8)


@pytest.fixture(scope="session")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six participants to train on, one with two sessions to validate on, and five that cannot be used."""
    root = start_dataset(tmp_path_factory.mktemp("in") / "bids")
    rows = [("participant_id", "split", "nose_in_fov")]
    for number in range(1, 7):
        add_image(root, f"sub-{number:02}_T1w", dimmed(100 - 3 * number))
        rows.append((f"sub-{number:02}", "train", "n/a"))
    add_image(root, "sub-07_ses-a_T1w", dimmed(70))
    add_image(root, "sub-07_ses-b_T1w", dimmed(68))
    for name, data in (("cut", dimmed(66)), ("nobody", head_without_face()), ("twin", dimmed(97))):
        add_image(root, f"sub-{name}_T1w", data)
    broken = add_image(root, "sub-trunc_T1w")
    broken.write_bytes(broken.read_bytes()[:9000])
    (root / "sub-empty").mkdir()
    rows += [("sub-07", "val", "1"), ("sub-cut", "train", "0")]
    rows += [(f"sub-{name}", "train", "1") for name in ("nobody", "twin", "trunc", "empty")]
    (root / "participants.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="session")
def done(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training."""
    out = tmp_path_factory.mktemp("out") / "training"
    with small_trainings():
        assert main(["train", str(bids), str(out), *OPTIONS]) == 0
    return out


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A copy of it to do damage to."""
    return Path(shutil.copytree(done, tmp_path / "training"))
