"""Runs that want the same images wait for each other; what killed runs left is removed, what others write is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from output_folders import identifiable, layout_of, shareable
from records_by_hand import image_of
from small_datasets import add_image, settings_for, start_dataset
from test_run import contents

from bids_refacer import supervisor
from bids_refacer.audit.cleaning import beside_workers, sole_worker
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import running_dir
from bids_refacer.dataset.tables import read_table
from bids_refacer.files import claimed, unfinished

A, B = frozenset({"a"}), frozenset({"b"})


def ignore(_: str) -> None:
    pass


def in_thread(register: Path, names: frozenset[str] | None, said: list[str]) -> threading.Thread:
    def claim() -> None:
        with claimed(register, names, lambda name: said.append(f"waits for {name}")):
            said.append("has it")

    thread = threading.Thread(target=claim)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("first", "second", "words"), [(A, A | B, "waits for a"), (A, None, "waits for "), (None, A, "waits for ")]
)
def test_who_wants_the_same_waits(
    first: frozenset[str] | None, second: frozenset[str] | None, words: str, tmp_path: Path
) -> None:
    said: list[str] = []
    with claimed(tmp_path, first, ignore) as alone:
        assert alone
        thread = in_thread(tmp_path, second, said)
        time.sleep(0.5)
        assert said == [words]
    thread.join(timeout=10)
    assert said == [words, "has it"] and [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize(("first", "second"), [(A, B), (A, frozenset()), (None, frozenset())])
def test_who_wants_something_else_does_not_wait(
    first: frozenset[str] | None, second: frozenset[str], tmp_path: Path
) -> None:
    with claimed(tmp_path, first, ignore):
        if first is None:  # everything: even who claims nothing is in its way
            return
        with claimed(tmp_path, second, ignore) as alone:
            assert not alone


def test_the_claim_of_a_process_that_was_killed_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom bids_refacer.files import claimed\n"
        "with claimed(Path(sys.argv[1]), None, print):\n    print('ready', flush=True)\n    time.sleep(300)"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.kill()
    with claimed(tmp_path, A, pytest.fail) as alone:
        assert alone


def leave(folder: Path) -> Path:
    """What a writer leaves that is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    left = folder
    with suppress(KeyError), unfinished(folder / "x.nii.gz") as temporary:
        left = temporary
        raise KeyError
    left.write_bytes(b"a face")
    return left


@pytest.fixture
def image(tmp_path: Path) -> HeadImage:
    return image_of(tmp_path / "bids", "sub-01_ses-a_T1w")


def test_what_killed_runs_left_is_removed(image: HeadImage, tmp_path: Path) -> None:
    out, work = tmp_path / "out", identifiable(tmp_path / "out") / "work"
    left = [leave(shareable(out) / place) for place in ("", "sub-01/ses-a/anat", "sub-02/anat")]
    left += [leave(identifiable(out) / place) for place in ("", "sub-02/anat", ".bids_refacer/sub-02/a")]
    kept = [shareable(out) / "sub-01" / name for name in (".hidden", ".x.0123", "x.nii.gz")]
    for path in kept:
        path.write_bytes(b"")
    for folder in (shareable(out), identifiable(out)):
        (folder / ".matplotlib-abc").mkdir()
    (work / "tmp" / "scratch").mkdir(parents=True)
    with sole_worker([image], settings_for(tmp_path / "bids", out), print) as found:
        assert not found.waited and not any(path.exists() for path in left) and all(path.exists() for path in kept)
        assert not list(out.rglob(".matplotlib-*")) and not (work / "tmp").exists()


def test_what_another_run_may_be_writing_stays(image: HeadImage, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ours, theirs, table = (leave(shareable(out) / place) for place in ("sub-01/ses-a/anat", "sub-02/anat", ""))
    with claimed(running_dir(layout_of(out)), frozenset({"sub-02"}), pytest.fail):
        with sole_worker([image], settings_for(tmp_path / "bids", out), print):
            assert (ours.exists(), theirs.exists(), table.exists()) == (False, True, True)
        with beside_workers(layout_of(out)):
            assert theirs.exists() and table.exists()
    with beside_workers(layout_of(out)):
        assert not theirs.exists() and not table.exists()


def start_run(bids: Path, out: Path, *options: str, level: str = "participant") -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    environ["STAND_IN_BRAIN"] = "1"
    script = Path(__file__).with_name("stand_in_run.py")
    fixed = ["--deface-tools", "quickshear", "--nprocs", "1"] if level == "participant" else []
    command = [sys.executable, str(script), str(bids), str(out), level, *fixed, *options, "--skip-bids-validation"]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_run_waits_for_another_one_over_the_same_images(tmp_path: Path) -> None:
    """The image cannot be used, so that both are quick; neither breaks the other's files."""
    bids = start_dataset(tmp_path / "bids")
    add_image(bids, "sub-01_T1w", np.zeros((5, 5, 5), dtype=np.uint8))
    runs = [start_run(bids, tmp_path / "out") for _ in range(2)]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [1, 1] and "Traceback" not in "".join(said)
    assert all("it holds no head, exclude it" in text for text in said)
    (row,) = read_table(shareable(tmp_path / "out") / "status.tsv")
    assert row["status"] == "failed" and not list((tmp_path / "out").rglob("running/*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_runs_over_the_same_images_at_once(count: int, tmp_path: Path) -> None:
    """All end well, the work is done once, and the outputs are those of one run alone; groups run beside them."""
    bids = start_dataset(tmp_path / "bids")
    add_image(bids, "sub-01_T1w")
    alone = start_run(bids, tmp_path / "alone", "-w", str(tmp_path / "w0"))
    out, _ = alone.communicate()
    assert alone.returncode == 0, out
    runs = [start_run(bids, tmp_path / "out", "-w", str(tmp_path / "w")) for _ in range(count)]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * count, "\n".join(said)
    assert sum("Another run is at work on sub-01: this one waits until it ends." in text for text in said) == count - 1
    assert sum("1 of them by an earlier run" in text for text in said) == count - 1
    assert [row["status"] for row in read_table(shareable(tmp_path / "out") / "status.tsv")] == ["ok"]
    expected, got = ({name for name in contents(tmp_path / name) if "lock" not in name} for name in ("alone", "out"))
    assert got == expected
    assert not list((tmp_path / "out").rglob("*_unfinished.json"))
