"""External programs: run, watched, and their failures told in a sentence."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from bids_refacer.defacers.tool import DefacerError

TIMEOUT_S = 1800
"""Longest time a program may take, unless `time_limit` says otherwise; --tool-timeout of the app."""

_LIMIT: ContextVar[float | None] = ContextVar("limit", default=None)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Programs that are run inside may take so long; None: ``TIMEOUT_S``."""
    token = _LIMIT.set(seconds)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def run_program(
    command: list[str], *, work_dir: Path, image: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``work_dir``; threads follow ``OMP_NUM_THREADS``, temporary files go to ``work_dir``.

    Raises DefacerError naming ``image``, the program and the end of its error output when it fails, is absent, is
    killed, or runs longer than the limit; then everything that it had started is stopped too.
    """
    program = Path(command[0]).name
    # niimath and FSL append ".gz" to output names unless told to write plain NIfTI.
    env = {**os.environ, "TMPDIR": str(work_dir), "FSLOUTPUTTYPE": "NIFTI", **(environ or {})}
    limit = _LIMIT.get() or TIMEOUT_S
    try:
        # a session of its own: tcsh and MATLAB scripts start programs that would outlive them, and hold the pipes
        child = subprocess.Popen(
            command, cwd=work_dir, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise DefacerError(f"{image}: {program} cannot be started ({error.strerror}); install it again.") from error
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise DefacerError(
            f"{image}: {program} ran longer than {limit:g} s and was stopped; "
            f"give it longer with --tool-timeout, check the image, or leave the tool out."
        ) from error
    finally:
        _stop(child)
    if child.returncode != 0:
        raise DefacerError(_failure(program, child.returncode, err or out, image))
    return subprocess.CompletedProcess(command, 0, out, err)


def no_space(error: OSError, image: Path | str, folder: Path) -> str | None:
    """A sentence when ``error`` says that the disk of ``folder`` is full; None for any other error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return f"{image}: there is no space left in the work folder {folder}; free some, or give another with --work-dir."


def _failure(program: str, code: int, output: str, image: Path) -> str:
    said = " ".join(output.split())[-400:] or "nothing"
    if code < 0:
        return (
            f"{image}: {program} was stopped by signal {-code} ({signal.Signals(-code).name}) and said: {said}; "
            f"when it was the system that stopped it, it had run out of memory: use a smaller --nprocs."
        )
    if os.strerror(errno.ENOSPC).lower() in output.lower():
        return f"{image}: {program} found no space left on the disk; free some, or give another --work-dir."
    return f"{image}: {program} failed with exit code {code} and said: {said}; check the image, or leave the tool out."


def _stop(child: subprocess.Popen[str]) -> None:
    """Stop what is left of a program and of all that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    child.communicate() if child.poll() is None else child.wait()
