"""Other programs: started, watched, and stopped with everything that they started.

What a failure means is not judged here: each room says it in a sentence of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_refacer import supervisor
from bids_refacer.supervisor import signal_at_death_of_parent

# what `python -P -m MODULE` does, for a Python without -P; its first entry is the current folder
_RUN_MODULE = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
_LOOK_S = 1.0  # how often a worker looks for its parent
_guarding: int | None = None
"""The process whose forks end with it; see `workers_end_with_us`."""
_KEPT_BYTES = 8000  # of what a program with a progress bar writes: the end, where the error stands


class TimeLimitError(RuntimeError):
    """A program ran longer than it was allowed to, and was stopped."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A program that ended: its exit code, or minus the number of the signal that stopped it, and what it wrote."""

    code: int
    output: str
    errors: str


def package_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a child that runs a module of this package, which need not be installed: a checkout is enough.

    Of ``PYTHONPATH``, absolute folders are kept: an empty or relative one, as ``PYTHONPATH=:/opt`` has, would let the
    child import what lies in the folder that it runs in.
    """
    given = environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = (str(Path(__file__).parents[1]), *filter(os.path.isabs, given))
    return {**environ, "PYTHONPATH": os.pathsep.join(folders)}


def python_module(module: str) -> list[str]:
    """The command ``python -m module``, which imports nothing from the folder that it runs in."""
    if sys.version_info >= (3, 11):
        return [sys.executable, "-P", "-m", module]
    return [sys.executable, "-c", _RUN_MODULE, module]


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> Finished:
    """Run a command to its end and keep what it writes; it reads nothing from the terminal.

    Parameters
    ----------
    command : program and arguments
    folder : where it runs; None for the folder of this process
    environ : its whole environment; None for that of this process
    limit_s : seconds that it may take; None for no limit

    Raises
    ------
    OSError
        When the program cannot be started.
    TimeLimitError
        When it took longer than `limit_s`. However this function ends, nothing that the program started goes on.
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with _started(command, cwd=folder, env=environ, **streams) as child:
        try:
            output, errors = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise TimeLimitError(f"{command[0]} ran longer than {limit_s:g} s and was stopped.") from error
    return Finished(code=child.returncode, output=_text(output), errors=_text(errors))


def run_with_progress(command: Sequence[str], *, folder: Path, environ: Mapping[str, str], show: bool) -> Finished:
    """Run a command that may draw a progress bar on standard error; its standard output is dropped.

    Parameters
    ----------
    command : program and arguments
    folder : where it runs
    environ : its whole environment
    show : write to our own standard error what the program writes to its, at once, where ours is a terminal

    Returns
    -------
    Finished
        ``output`` is empty, ``errors`` the end of what was written to standard error.

    Raises
    ------
    OSError
        When the program cannot be started.
    """
    terminal = show and sys.stderr.isatty()
    # programs draw bars on terminals alone: a pseudo-terminal keeps the bar, and lets us read what is written
    reading, writing = os.openpty() if terminal else os.pipe()
    try:
        with _started(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=writing) as child:
            os.close(writing)
            writing = -1
            errors = _read_to_end(reading, show=terminal)
            child.wait()
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    return Finished(code=child.returncode, output="", errors=errors)


def _text(written: bytes) -> str:
    """What a program wrote, with one kind of line ends; bytes that are no text stay readable."""
    return written.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def workers_end_with_us() -> Iterator[None]:
    """Processes that are forked inside, as Nipype's workers are, end when this one does, however it ends."""
    global _guarding
    before, _guarding = _guarding, os.getpid()
    try:
        yield
    finally:
        _guarding = before


def end_with_parent(parent: int) -> None:
    """Kill this process when its parent ends; for workers, which leave the keyboard's interruptions to their parent.

    Parameters
    ----------
    parent : its process id; when it is another's already, this process ends at once
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal_at_death_of_parent(signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def kill_workers() -> None:
    """Kill the workers of this process at once: what they are doing is lost."""
    for worker in multiprocessing.active_children():
        worker.kill()


def _watch(parent: int) -> None:
    """Look for the parent where the kernel does not tell of its end, and when it ended before it was asked to tell."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _after_fork() -> None:
    if _guarding is not None:
        end_with_parent(_guarding)


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with this process, and with the block, as does everything that it started."""
    read, write = os.pipe()
    start = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid()), str(write)]
    try:
        # a session of its own: shell and MATLAB scripts start programs that would outlive them, and hold the pipes open
        child = subprocess.Popen([*start, *command], pass_fds=(write,), start_new_session=True, **options)
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    try:
        with os.fdopen(read, "rb") as pipe:
            failed = pipe.read()  # to its end, which is when the program has started
        if failed:
            raise OSError(int(failed), os.strerror(int(failed)), command[0])
        yield child
    finally:
        _stop_session(child)


def _read_to_end(reading: int, *, show: bool) -> str:
    """The last part of what arrives until the other end is closed."""
    end = b""
    while True:
        try:
            arrived = os.read(reading, 4096)
        except OSError:  # how a pseudo-terminal says that its other end was closed
            arrived = b""
        if not arrived:
            return end.decode(errors="replace")
        if show:
            sys.stderr.write(arrived.decode(errors="replace"))
            sys.stderr.flush()
        end = (end + arrived)[-_KEPT_BYTES:]


def _stop_session(child: subprocess.Popen[bytes]) -> None:
    """Stop what is left of a program and of everything that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    if child.poll() is None:
        child.communicate()
    else:
        child.wait()
