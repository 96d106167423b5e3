"""Programs that defacers call: run within a time limit, their failures said in a sentence."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from bids_refacer import processes
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
) -> processes.Finished:
    """Run a command in ``work_dir``; threads follow ``OMP_NUM_THREADS``, temporary files go to ``work_dir``.

    Parameters
    ----------
    command : program and arguments
    work_dir : an existing folder
    image : the image that is defaced, for errors
    environ : variables beside those of this process

    Raises
    ------
    DefacerError
        When the program fails, is absent, is killed, or runs longer than the limit. The message names image and
        program, and quotes the end of the program's errors.
    """
    program = Path(command[0]).name
    # niimath and FSL append ".gz" to output names unless this variable asks for plain NIfTI
    variables = {**os.environ, "TMPDIR": str(work_dir), "FSLOUTPUTTYPE": "NIFTI", **(environ or {})}
    limit = _LIMIT.get() or TIMEOUT_S
    try:
        done = processes.run(command, folder=work_dir, environ=variables, limit_s=limit)
    except OSError as error:
        raise DefacerError(f"{image}: {program} cannot be started ({error.strerror}); install it again.") from error
    except processes.TimeLimitError as error:
        raise DefacerError(
            f"{image}: {program} ran longer than {limit:g} s and was stopped; "
            f"give it longer with --tool-timeout, check the image, or leave the tool out."
        ) from error
    if done.code != 0:
        raise DefacerError(_failure(program, done, image))
    return done


def no_space(error: OSError, image: Path | str, folder: Path) -> str | None:
    """A sentence when ``error`` says that the disk of ``folder`` is full; None for any other error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return f"{image}: there is no space left in the work folder {folder}; free some, or give another with --work-dir."


def _failure(program: str, done: processes.Finished, image: Path) -> str:
    output = done.errors or done.output
    said = " ".join(output.split())[-400:] or "nothing"
    if done.code < 0:
        return (
            f"{image}: {program} was stopped by signal {-done.code} ({signal.Signals(-done.code).name}) and said: "
            f"{said}; when it was the system that stopped it, it had run out of memory: use a smaller --nprocs."
        )
    if os.strerror(errno.ENOSPC).lower() in output.lower():
        return f"{image}: {program} found no space left on the disk; free some, or give another --work-dir."
    return (
        f"{image}: {program} failed with exit code {done.code} and said: {said}; "
        f"check the image, or leave the tool out."
    )
