"""A run makes no network connection, nor any process that it starts; and it needs none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from output_folders import shareable
from small_datasets import add_image, start_dataset

from bids_refacer import processes
from bids_refacer.dataset.tables import read_table

TESTS = Path(__file__).parent
# a call of the kernel that names an address which is no file's: connect, sendto, bind and so on
NETWORK = re.compile(r"AF_INET|AF_PACKET|sin6?_(addr|port)")


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """The image cannot be used, so that a run is quick; it is validated, planned, read and reported."""
    root = start_dataset(tmp_path / "bids")
    add_image(root, "sub-01_T1w", np.zeros((5, 5, 5), dtype=np.uint8))
    return root


def call(before: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(Path(processes.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [*before, sys.executable, *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def traced(trace: Path) -> list[str]:
    """The command that writes down every call about the network, of all processes; skips where nothing is traced."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "--seccomp-bpf", "-e", "trace=network", "-o", str(trace)]
    if call(command, "-c", "").returncode:
        pytest.skip("processes cannot be traced here")
    return command


def without_network() -> list[str]:
    """The command that runs a program where there is no network; skips where that is not allowed."""
    command = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or call(command, "-c", "").returncode:
        pytest.skip("no network namespace can be made here")
    return command


def network_calls(trace: Path) -> list[str]:
    lines = trace.read_text().splitlines()
    assert any("exited with" in line for line in lines)
    return [line for line in lines if NETWORK.search(line)]


def test_the_trace_shows_a_connection(tmp_path: Path) -> None:
    """The tests below can fail."""
    connect = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    assert call(traced(tmp_path / "trace"), "-c", connect).returncode == 0
    assert network_calls(tmp_path / "trace")


def test_a_run_connects_to_nothing(bids: Path, tmp_path: Path) -> None:
    """With validator and model, as the command line calls them."""
    command = ["-m", "bids_refacer", str(bids), str(tmp_path / "out"), "participant", "--deface-tools", "quickshear"]
    done = call(traced(tmp_path / "trace"), *command, "--nprocs", "2")
    assert done.returncode == 1 and "it holds no head, exclude it" in done.stdout, done.stderr
    assert network_calls(tmp_path / "trace") == []


@pytest.mark.slow
def test_a_whole_run_connects_to_nothing(tmp_path: Path) -> None:
    """Brain extractor, registration, tools, attack by the default model, pages, group level."""
    root = start_dataset(tmp_path / "bids")
    add_image(root, "sub-01_T1w")
    begin = ["-m", "bids_refacer", str(root), str(tmp_path / "out")]
    few = ["--deface-tools", "quickshear", "niimath", "pydeface", "--steps", "1", "--num-samples", "1", "--nprocs", "2"]
    for level in (["participant", *few], ["group"]):
        done = call(traced(tmp_path / "trace"), *begin, *level)
        assert done.returncode == 0, done.stdout + done.stderr
        assert network_calls(tmp_path / "trace") == []


def test_a_run_needs_no_network(bids: Path, tmp_path: Path) -> None:
    command = ["-m", "bids_refacer", str(bids), str(tmp_path / "out"), "participant", "--deface-tools", "quickshear"]
    done = call(without_network(), *command, "--nprocs", "1")
    (row,) = read_table(shareable(tmp_path / "out") / "status.tsv")
    assert "it holds no head, exclude it" in row["message"] and "Traceback" not in done.stdout + done.stderr
