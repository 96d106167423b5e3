"""A command of this package as a child process: its last words become the error, its progress bar is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bids_refacer.problems import AuditProblem
from bids_refacer.processes import package_environment, run_with_progress


class ChildError(AuditProblem):
    """A child command failed; the message is the sentence that it ended with."""


def run_child(command: Sequence[str], *, cwd: str, environ: Mapping[str, str], show: bool, about: str) -> None:
    """Run a command and wait for it.

    Parameters
    ----------
    command : program and arguments
    cwd : folder that it runs in
    environ : its environment; where this package lies is added
    show : hand on to the terminal what it writes to standard error, as it writes it
    about : the file that it works on, for errors

    Raises
    ------
    ChildError
        When it does not end with exit code 0.
    """
    done = run_with_progress(command, folder=Path(cwd), environ=package_environment(environ), show=show)
    if done.code:
        raise ChildError(_sentence(done.errors, done.code, about))


def _sentence(errors: str, code: int, about: str) -> str:
    lines = [line.split("\r")[-1].strip() for line in errors.replace("\r\n", "\n").split("\n")]
    last = next((line for line in reversed(lines) if line), "")
    if code < 0:
        reason = (
            "it probably ran out of memory: use fewer processes or samples, or more memory"
            if code == -9
            else "run it again"
        )
        return f"{about}: the process was stopped by signal {-code}; {reason}."
    return last or f"{about}: the process ended with exit code {code} and said nothing; run it again with --nprocs 1."
