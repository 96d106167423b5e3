"""Full disks, lost file systems, too many files, too little memory: one sentence with the remedy, nothing left."""

from __future__ import annotations

import errno
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from output_folders import shareable
from small_datasets import add_image, start_dataset

from bids_refacer import supervisor
from bids_refacer.audit.crash_files import sentence
from bids_refacer.cli import reface
from bids_refacer.cli import run as command
from bids_refacer.dataset.tables import read_table
from bids_refacer.environment import start_log, stop_log
from bids_refacer.files import unfinished
from bids_refacer.settings import RunSettings

CRASH = Path("/work_folder/crashes/run/crash-1.txt")
NUMBERS = {
    errno.ENOSPC: "free some space there, or give another folder",
    errno.EDQUOT: "free some space there, or give another folder",
    errno.EROFS: "make its file system writable, or give another folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n 1024), or use a smaller --nprocs",
    errno.ENFILE: "use a smaller --nprocs",
    errno.ENOMEM: "use a smaller --nprocs or --mem-gb, or give it more memory",
}


@pytest.mark.parametrize("number", NUMBERS)
def test_of_a_write_that_fails_nothing_is_left_and_the_file_is_named(number: int, tmp_path: Path) -> None:
    """A write of a full disk names no file."""
    path = tmp_path / "a.nii.gz"
    with pytest.raises(OSError) as caught, unfinished(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(number, os.strerror(number))
    assert (caught.value.errno, caught.value.filename) == (number, str(path)) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", NUMBERS)
def test_a_run_ends_with_one_sentence(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: RunSettings) -> int:
        raise OSError(number, os.strerror(number), "/out/status.tsv")

    monkeypatch.setattr(command, "run_participants", fail)
    settings = RunSettings(bids_dir=tmp_path, output_dir=tmp_path / "out", work_dir=tmp_path / "work")
    assert command.run(settings) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"/out/status.tsv: {os.strerror(number)}; {NUMBERS[number]}") and said.count("\n") == 1


def test_a_run_without_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: RunSettings) -> int:
        raise MemoryError

    monkeypatch.setattr(command, "run_participants", fail)
    assert command.run(RunSettings(bids_dir=tmp_path, output_dir=tmp_path, work_dir=tmp_path / "work")) == 1
    said = "There is no memory left; use a smaller --nprocs or --mem-gb, or give it more memory, then run again.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("number", NUMBERS)
def test_a_node_that_fails_says_what_to_do(number: int) -> None:
    text = f"Traceback:\nOSError: [Errno {number}] {os.strerror(number)}: '/out/sub-01/anat/a.nii.gz'\n"
    assert NUMBERS[number] in sentence(text, CRASH) and "/out/sub-01/anat/a.nii.gz" in sentence(text, CRASH)


def test_a_full_work_folder_has_its_own_remedy() -> None:
    for name in ("", ": '/work_folder/nodes/a.nii'"):
        text = f"OSError: [Errno 28] No space left on device{name}"
        assert "free some, or give another folder with --work-dir." in sentence(text, CRASH)


@pytest.mark.parametrize(
    "line",
    [
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 6 GiB for an array",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you tried",
    ],
)
def test_a_node_without_memory_says_what_to_do(line: str) -> None:
    said = sentence(f"Traceback:\n{line}\n", CRASH)
    assert said.startswith("There is no memory left (") and "--nprocs or --mem-gb" in said


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_attack_that_fails_says_what_to_do(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(reface, "_defaced_image", fail)
    assert reface.main([str(tmp_path / "a.nii"), str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'a.nii'}: ") and said.endswith("then run again.\n") and said.count("\n") == 1


def run_with_open_files(most: int, bids: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The command line under ``ulimit -n``."""
    environ = {**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parents[1]), "STAND_IN_BRAIN": "1"}
    script = Path(__file__).with_name("stand_in_run.py")
    options = ["--deface-tools", "quickshear", "--skip-bids-validation", "--nprocs", "2", "--omp-nthreads", "1"]
    command = [sys.executable, str(script), str(bids), str(out), "participant", *options, "-w", str(out / "w")]
    limited = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(most), *command]
    return subprocess.run(limited, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("most", "code"), [(64, 0), (24, 1)])
def test_a_run_with_few_open_files(most: int, code: int, tmp_path: Path) -> None:
    """64 are enough; where there are not enough, a sentence says so, and nothing is left half-written."""
    bids = start_dataset(tmp_path / "bids")
    add_image(bids, "sub-01_T1w")
    done = run_with_open_files(most, bids, tmp_path / "out")
    assert done.returncode == code and "Traceback" not in done.stdout + done.stderr
    (row,) = read_table(shareable(tmp_path / "out") / "status.tsv")
    said = "Too many open files: raise the limit of open files (ulimit -n 1024), or use a smaller --nprocs, then run"
    assert row["status"] == ("failed" if code else "ok") and (said in row["message"]) == bool(code)
    assert not [path for path in tmp_path.rglob(".*") if re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_log_on_a_full_disk_is_no_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither while lines are written nor when the file is closed."""
    (tmp_path / "run.log").symlink_to("/dev/full")
    log = start_log(tmp_path / "run.log", 0)
    for number in range(100):
        log.info("line %d", number)
    logging.getLogger("nipype.workflow").info("more")
    stop_log()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "run.log is not complete: [Errno 28] No space left on device" in said
