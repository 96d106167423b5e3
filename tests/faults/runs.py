"""Runs of the app that can be killed: forks of this process, in which everything is imported, or new processes.

Whatever a run starts is a descendant of this process, also when its parent was killed (PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class Run:
    """A run: its process, and when it ended, its exit code (minus the signal that ended it) and seconds of CPU time."""

    pid: int
    code: int | None = None
    cpu_s: float = 0.0
    hung: bool = field(default=False)

    def poll(self) -> int | None:
        """The exit code, once the run has ended."""
        if self.code is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code, self.cpu_s = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        return self.code

    def wait(self, limit_s: float = 1200) -> int:
        """Wait for the end; a run that does not end in time hangs, and is killed with all that it started."""
        end = time.monotonic() + limit_s
        while self.poll() is None:
            if time.monotonic() > end:
                self.hung = True
                for pid in descendants(os.getpid()):
                    os.kill(pid, signal.SIGKILL)
                end += 60
            time.sleep(0.02)
        assert self.code is not None
        return self.code


def prepare(folder: Path) -> None:
    """Import what runs import, with the stand-in attack; orphans become children of this process."""
    from remembered import remember

    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have jobs in the background ignore it
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    (folder / "home").mkdir(parents=True, exist_ok=True)
    for name in ("NIPYPE_CONFIG_DIR", "MPLCONFIGDIR"):
        os.environ[name] = str(folder / "home")
    os.environ.update(NO_ET="1", NIPYPE_NO_ET="1", OMP_NUM_THREADS="1", STAND_IN_BRAIN="1")
    remember(folder / "remembered")
    import stand_in_run

    stand_in_run.put_stand_in()
    import matplotlib.pyplot  # noqa: F401
    import nipype.pipeline.engine  # noqa: F401

    import bids_refacer.audit.graph.other_images
    import bids_refacer.audit.graph.plugin
    import bids_refacer.audit.graph.run
    import bids_refacer.audit.pages
    import bids_refacer.group.report
    import bids_refacer.group.run  # noqa: F401
    from bids_refacer.dataset.sidecars import software_versions

    software_versions()


def start(arguments: list[str], said: Path, *, new: bool = False, true_model: bool = False) -> Run:
    """Start a run.

    Parameters
    ----------
    arguments : of the command line
    said : file to which it adds what it prints
    new : start Python anew, rather than fork this process
    true_model : attack with a model, not with the stand-in; only for forks
    """
    if new:
        command = [sys.executable, str(TESTS / "stand_in_run.py"), *arguments]
        environ = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
        with said.open("a") as file:
            child = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        child.returncode = 0  # we wait for it ourselves
        return Run(pid=child.pid)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _become_run(arguments, said, true_model)
    return Run(pid=pid)


def _become_run(arguments: list[str], said: Path, true_model: bool) -> None:
    """Never returns. Ends as Python does, but for the frames of the campaign, which are another process's."""
    file = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in (1, 2):
        os.dup2(file, number)
    try:
        code = _main(arguments, true_model)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)


def _main(arguments: list[str], true_model: bool) -> int:
    from bids_refacer.__main__ import main

    if true_model:
        _forget_stand_in()
    return main(arguments)


def _forget_stand_in() -> None:
    import shlex

    from bids_refacer.audit import machine
    from bids_refacer.audit import run as run_module
    from bids_refacer.audit.nodes.reface import Reface
    from bids_refacer.processes import python_module

    run_module.ask = machine.ask
    Reface._cmd = shlex.join(python_module("bids_refacer.cli.reface"))


def descendants(root: int) -> dict[int, str]:
    """Process id -> command line of all that descend from a process; zombies have ended."""
    parents: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        found = _stat(folder)
        if found and found[0] != "Z":
            parents[int(folder.name)] = (int(found[1]), _words(folder))
    known, grown = {root}, True
    while grown:
        new = {pid for pid, (parent, _) in parents.items() if parent in known} - known
        known, grown = known | new, bool(new)
    return {pid: parents[pid][1] for pid in known - {root} if pid in parents}


def cpu_seconds(pids: Any) -> float:
    """CPU time that processes took, with that of their children which have ended."""
    fields = [_stat(Path("/proc") / str(pid)) for pid in pids]
    return sum(sum(map(int, found[11:15])) for found in fields if found) / _TICKS


def _stat(folder: Path) -> list[str] | None:
    """State, parent and so on of a process (proc(5)); None when it is gone."""
    try:
        return (folder / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def _words(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def left_after(seconds: float) -> dict[int, str]:
    """What still runs after a while of all that runs started; waits no longer than it has to."""
    end = time.monotonic() + seconds
    while (left := descendants(os.getpid())) and time.monotonic() < end:
        time.sleep(0.05)
    _reap()
    return left


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
