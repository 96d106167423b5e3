"""A release that is killed at any moment and run again is, byte for byte, what an undisturbed one is."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest
from release_study import Study, make_study

from bids_refacer.release.run import run_release
from bids_refacer.release.verify import verify_release

KILLS = 20


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def run(study: Study, place: Path) -> None:
    run_release(study.settings(place, accept_warnings=True, shift_dates=True), lambda _: None)


def killed_after(seconds: float, study: Study, place: Path) -> bool:
    """Run a release in a process of its own and kill it; whether it had not ended by itself."""
    child = multiprocessing.get_context("fork").Process(target=run, args=(study, place))
    child.start()
    child.join(seconds)
    alive = child.is_alive()
    child.kill()
    child.join()
    return alive


def damaged(root: Path) -> list[str]:
    """Files under their final names that no undisturbed release has so."""
    return [name for name in contents(root) if ".nii.gz" in name and not name.rsplit("/", 1)[-1].startswith(".")]


@pytest.mark.slow
def test_killed_at_random_moments_and_run_again(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    began = time.monotonic()
    run(study, tmp_path / "undisturbed" / "release")
    took, whole = time.monotonic() - began, contents(tmp_path / "undisturbed" / "release")
    draw, interrupted = random.Random(7), 0
    for number in range(KILLS):
        place = tmp_path / str(number) / "release"
        interrupted += killed_after(draw.uniform(0.02, took), study, place)
        for name in damaged(place):
            assert (place / name).read_bytes() == whole[name], f"kill {number}: {name} is half-written"
        if (place / "release.tsv").exists():
            assert (place / "release.tsv").read_bytes() == whole["release.tsv"], f"kill {number}"
        run(study, place)
        assert contents(place) == whole, f"kill {number}"
    assert interrupted >= KILLS // 2
    assert verify_release(place, with_validator=False, say=lambda _: None) == 0
