"""A child command that may draw a progress bar: its errors are kept, its bar reaches the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_KEPT = 8000  # characters of the error output


class ChildError(RuntimeError):
    """A child command failed; the message is the sentence that it ended with."""


def run_child(command: Sequence[str], *, cwd: str, environ: Mapping[str, str], show: bool, about: str) -> None:
    """Run a command and wait for it.

    Parameters
    ----------
    command : program and arguments
    show : hand on to the terminal what it writes to standard error, as it writes it
    about : what it works on, for errors

    Raises
    ------
    ChildError
        When it does not end with exit code 0.
    """
    terminal = show and sys.stderr.isatty()
    # programs draw bars only on terminals: a pseudo-terminal keeps the bar and lets us read along
    reading, writing = os.openpty() if terminal else os.pipe()
    # the child finds this package also where it runs from a checkout and is not installed
    found = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), environ.get("PYTHONPATH"))))
    env = {**environ, "PYTHONPATH": found}
    child = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=writing)
    os.close(writing)
    said = _listen(reading, show=terminal)
    os.close(reading)
    code = child.wait()
    if code:
        raise ChildError(_sentence(said, code, about))


def _listen(reading: int, *, show: bool) -> str:
    """Everything that arrives until the other end closes, at most its last part."""
    said = b""
    while True:
        try:
            arrived = os.read(reading, 4096)
        except OSError:  # how a pseudo-terminal says that the other end closed
            arrived = b""
        if not arrived:
            return said.decode(errors="replace")
        if show:
            sys.stderr.write(arrived.decode(errors="replace"))
            sys.stderr.flush()
        said = (said + arrived)[-_KEPT:]


def _sentence(said: str, code: int, about: str) -> str:
    lines = [line.split("\r")[-1].strip() for line in said.replace("\r\n", "\n").split("\n")]
    last = next((line for line in reversed(lines) if line), "")
    if code < 0:
        reason = (
            "it probably ran out of memory: use fewer processes or samples, or more memory"
            if code == -9
            else "run it again"
        )
        return f"{about}: the process was stopped by signal {-code}; {reason}."
    return last or f"{about}: the process ended with exit code {code} and said nothing; run it again with --nprocs 1."
