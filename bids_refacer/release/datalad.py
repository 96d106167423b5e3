"""A release as a DataLad dataset: images in the annex, texts in git, saved with one commit."""

from __future__ import annotations

import shutil
from pathlib import Path

from bids_refacer import __version__, processes
from bids_refacer.release.errors import ReleaseError

_MOST_CHARACTERS = 300
PROGRAMS = ("datalad", "git-annex", "git")


def check_programs() -> None:
    """Raise ReleaseError where a program is missing; before anything is written."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise ReleaseError(
            f"--datalad needs the programs {', '.join(PROGRAMS)}, and {', '.join(missing)} cannot be found: install "
            "them (pip install datalad git-annex), or leave the option out."
        )


def save(release_dir: Path) -> None:
    """Make a release a DataLad dataset where it is none, and save it.

    Raises
    ------
    ReleaseError
        With what the program said. The release itself is complete.
    """
    if not (release_dir / ".datalad").is_dir():
        _run(["datalad", "create", "--force", "-c", "text2git", str(release_dir)], release_dir)
    message = f"Release made by bids_refacer {__version__}"
    _run(["datalad", "save", "--dataset", str(release_dir), "--message", message], release_dir)


def _run(command: list[str], release_dir: Path) -> None:
    ended = processes.run(command, folder=release_dir)
    if ended.code:
        said = " ".join((ended.errors or ended.output).split())[-_MOST_CHARACTERS:]
        raise ReleaseError(
            f"The release in {release_dir} is complete, but 'datalad {command[1]}' failed with code {ended.code} "
            f"({said}): mend that, and run the same command again."
        )
