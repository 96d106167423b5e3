"""External programs: run, watched, and their failures told in a sentence."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bids_refacer.interfaces.defacers.tool import DefacerError

TIMEOUT_S = 1800


def run_program(command: list[str], *, work_dir: Path, image: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in ``work_dir``; threads follow ``OMP_NUM_THREADS``, temporary files go to ``work_dir``.

    Raises DefacerError naming ``image``, the program and the end of its error output when it fails, is absent, or runs
    longer than ``TIMEOUT_S`` seconds.
    """
    program = Path(command[0]).name
    # niimath and FSL append ".gz" to output names unless told to write plain NIfTI.
    env = {**os.environ, "TMPDIR": str(work_dir), "FSLOUTPUTTYPE": "NIFTI"}
    try:
        done = subprocess.run(command, cwd=work_dir, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise DefacerError(
            f"{image}: {program} ran longer than {TIMEOUT_S} s and was stopped; check the image, or leave the tool out."
        ) from error
    except OSError as error:
        raise DefacerError(f"{image}: {program} cannot be started ({error.strerror}); install it again.") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-400:] or "nothing"
        raise DefacerError(
            f"{image}: {program} failed with exit code {done.returncode} and said: {said}; "
            f"check the image, or leave the tool out."
        )
    return done
