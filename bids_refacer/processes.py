"""Other programs: started, watched, and stopped with everything that they started.

What a failure means is not judged here: each room says it in a sentence of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# what `python -P -m MODULE` does, for a Python without -P; its first entry is the current folder
_RUN_MODULE = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
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
    # a session of its own: shell and MATLAB scripts start programs that would outlive them, and hold the pipes open
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise TimeLimitError(f"{command[0]} ran longer than {limit_s:g} s and was stopped.") from error
    finally:
        _stop_session(child)
    return Finished(code=child.returncode, output=output, errors=errors)


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
        child = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=writing)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        errors = _read_to_end(reading, show=terminal)
        child.wait()
    finally:
        os.close(reading)
        if child.poll() is None:
            child.kill()
            child.wait()
    return Finished(code=child.returncode, output="", errors=errors)


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


def _stop_session(child: subprocess.Popen[str]) -> None:
    """Stop what is left of a program and of everything that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    if child.poll() is None:
        child.communicate()
    else:
        child.wait()
