"""Whoever is killed, nothing that a run started goes on, and a run that is terminated says so in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from marked_processes import NAME, left_after, marked
from small_datasets import add_image, start_dataset

from bids_refacer import supervisor

TREE = "sleep 300 & sh -c 'sleep 300 & sleep 300'"
START = """
import os
import sys
from bids_refacer import processes
from pathlib import Path
{before}
processes.{call}
"""
RUN = f'run(["sh", "-c", {TREE!r}])'
WITH_PROGRESS = (
    f'run_with_progress(["sh", "-c", {TREE!r}], folder=Path("/"), environ=__import__("os").environ, show=False)'
)
WITHOUT_KERNEL = """
from bids_refacer import supervisor
supervisor.signal_at_death_of_parent = lambda number: None
supervisor.main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
"""


def started(code: str, mark: str) -> subprocess.Popen[str]:
    environ = {**os.environ, NAME: mark, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(mark: str, is_there: Callable[[dict[int, str]], bool], seconds: float = 120) -> dict[int, str]:
    end = time.monotonic() + seconds
    while not is_there(found := marked(mark)):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def sleepers(found: dict[int, str]) -> int:
    return sum(command.startswith("sleep") for command in found.values())


@pytest.mark.parametrize("call", [RUN, WITH_PROGRESS])
def test_a_program_ends_with_its_parent(call: str) -> None:
    """With its children and theirs."""
    mark = uuid.uuid4().hex
    child = started(START.format(before="", call=call), mark)
    wait_for(mark, lambda found: sleepers(found) == 3)
    child.kill()
    assert left_after(mark, 5) == {}
    child.communicate()


def test_a_program_ends_with_its_supervisor() -> None:
    mark = uuid.uuid4().hex
    child = started(START.format(before="", call='run(["sleep", "300"])'), mark)
    found = wait_for(mark, lambda found: sleepers(found) == 1)
    os.kill(next(pid for pid, words in found.items() if "supervisor.py" in words), signal.SIGKILL)
    assert left_after(mark, 5) == {}
    child.communicate()


def test_a_program_ends_with_its_parent_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    mark, other = uuid.uuid4().hex, tmp_path / "other_supervisor.py"
    root = str(Path(supervisor.__file__).parents[1])
    other.write_text(f"import sys\nsys.path.insert(0, {root!r})\n{WITHOUT_KERNEL}")
    before = f"processes.supervisor.__file__ = {str(other)!r}"
    child = started(START.format(before=before, call=RUN), mark)
    wait_for(mark, lambda found: sleepers(found) == 3)
    child.kill()
    assert left_after(mark, 5) == {}
    child.communicate()


def test_forked_workers_end_with_their_parent() -> None:
    """Also those that hold on to the interpreter, and whose parent ended before they could ask to be told."""
    mark = uuid.uuid4().hex
    code = (
        "import os, time\nfrom bids_refacer import processes\n"
        "with processes.workers_end_with_us():\n"
        "    for number in range(3):\n"
        "        if os.fork() == 0:\n            time.sleep(300)\n"
        "    time.sleep(300)"
    )
    child = started(code, mark)
    wait_for(mark, lambda found: len(found) == 4)
    child.kill()
    assert left_after(mark, 5) == {}
    child.communicate()


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = start_dataset(tmp_path_factory.mktemp("kills") / "bids")
    for label in ("01", "02"):
        add_image(root, f"sub-{label}_T1w")
    return root


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_run_that_is_killed_leaves_nothing_running(number: int, code: int, bids: Path, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    script = Path(__file__).with_name("stand_in_run.py")
    options = ["--deface-tools", "quickshear", "--nprocs", "2", "--skip-bids-validation"]
    command = [sys.executable, str(script), str(bids), str(tmp_path / "out"), "participant", *options]
    environ = {**os.environ, NAME: mark, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
    child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(mark, lambda found: len([words for words in found.values() if "stand_in_run" in words]) == 3)
    time.sleep(1)
    os.kill(child.pid, number)
    out, err = child.communicate(timeout=60)
    assert left_after(mark, 5) == {}
    assert child.returncode == code and "Traceback" not in out + err
    assert err.startswith("Interrupted. Run the same command again") == (number == signal.SIGTERM)
    assert ("which show faces, are kept in" in err) == (number == signal.SIGTERM)
