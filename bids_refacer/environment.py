"""The process that a run happens in: no network, no files outside the work folder, logs where they belong."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_refacer.problems import AuditProblem

_PRIVATE = 0o700
RUNNING = "running"
"""Folder in a work folder where runs claim what they work on (`files.claimed`); it is never emptied."""
_FOLDERS = ("tmp", "matplotlib", "nipype", "crashes", RUNNING)  # that a run makes in its work folder
_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class WorkFolderError(AuditProblem):
    """A work folder cannot be made private: one sentence with the folder and the remedy."""


def make_private(folder: Path) -> None:
    """Make a folder for intermediate images, which show faces: nobody else may look into it, then or before."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    info = folder.stat()
    if info.st_uid == os.getuid() and stat.S_IMODE(info.st_mode) != _PRIVATE:
        folder.chmod(_PRIVATE)  # mkdir's mode is cut by the umask, and a folder that exists keeps its own


def private_work_dir(work_dir: Path, *, clean: bool = False) -> Path:
    """The work folder, made private; a folder of its own inside one that is shared or holds other things.

    A folder that this app made, or an empty one, is closed to others. One that others use (``/tmp``: somebody else's,
    with the sticky bit, or with other files) stays as it is, but for what this app made in it before. With `clean`, it
    is emptied first: all of it where it is the user's, or else the folder inside.

    Raises
    ------
    WorkFolderError
        When somebody else made the folder inside.
    """
    if not work_dir.exists():
        make_private(work_dir)
        return work_dir
    info = work_dir.stat()
    of_user = info.st_uid == os.getuid() and not info.st_mode & stat.S_ISVTX
    if of_user and clean:
        _empty(work_dir)
    entries = list(work_dir.iterdir())
    own = [entry for entry in entries if _is_of_app(entry)]
    if of_user and (len(own) == len(entries) or not info.st_mode & 0o077):
        make_private(work_dir)
        return work_dir
    for entry in own:
        make_private(entry)
    inside = _own_folder_in(work_dir)
    if clean:
        _empty(inside)
    return inside


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == RUNNING:
            continue
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _own_folder_in(shared: Path) -> Path:
    inside = shared / f"bids_refacer-work-{os.getuid()}"
    try:
        inside.mkdir(mode=_PRIVATE)
    except FileExistsError:
        if inside.is_symlink() or not inside.is_dir() or inside.stat().st_uid != os.getuid():
            raise WorkFolderError(
                f"The work folder {shared} is shared, and {inside} in it was not made by this user: give a folder of "
                "your own to --work-dir."
            ) from None
    make_private(inside)
    return inside


def _is_of_app(entry: Path) -> bool:
    """Whether this app made a folder that lies in a work folder, by its name and owner."""
    named = entry.name in _FOLDERS or entry.name.startswith("bids_refacer-")
    return named and entry.is_dir() and not entry.is_symlink() and entry.stat().st_uid == os.getuid()


def leave_closed_home() -> None:
    """Forget a home that may not be looked into, as root's in a user namespace: pybids looks for its settings there."""
    home = os.environ.get("HOME")
    if home and os.path.lexists(home) and not os.access(home, os.R_OK | os.X_OK):
        os.environ["HOME"] = "/nonexistent"


@contextmanager
def away_from_current_folder() -> Iterator[None]:
    """Run in the root folder: Nipype, matplotlib and new Python processes read files of the current one.

    Such files (``nipype.cfg``, ``matplotlibrc``, modules) may come with a dataset, and would change or run what we do.
    """
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.chdir("/")
    try:
        yield
    finally:
        os.fchdir(here)
        os.close(here)


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as batch systems do: it ends as if it were interrupted."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` inside when SIGTERM arrives; a second one ends the process at once."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def prepare(work_dir: Path, threads: int) -> None:
    """Keep what libraries do on their own inside the work folder; must come before Nipype is imported.

    Nipype would ask the network for newer versions of itself; it and matplotlib want folders in a home that may be
    read-only.
    """
    os.environ.update(NO_ET="1", NIPYPE_NO_ET="1", NIPYPE_NO_MATPLOTLIB="1")
    for name, folder in (("TMPDIR", "tmp"), ("MPLCONFIGDIR", "matplotlib"), ("NIPYPE_CONFIG_DIR", "nipype")):
        make_private(work_dir / folder)
        os.environ[name] = str(work_dir / folder)
    os.environ.setdefault("LOGNAME", str(os.getuid()))  # part of a job's name for Nipype's SLURM plugin
    os.environ["OMP_NUM_THREADS"] = str(threads)  # niimath and other child programs follow it
    tempfile.tempdir = None  # forget the folder that was chosen before TMPDIR was set


def configure_nipype(crash_dir: Path, *, stop_on_first_crash: bool) -> None:
    """Settings of Nipype for this process and its workers."""
    from nipype import config

    config.update_config(
        {
            "execution": {
                "check_version": "false",
                "crashdump_dir": str(crash_dir),
                "crashfile_format": "txt",
                "stop_on_first_crash": str(stop_on_first_crash).lower(),
                "remove_unnecessary_outputs": "false",  # they are what a resumed run starts from
                "keep_inputs": "true",
                "hash_method": "content",
                "poll_sleep_duration": "0.2",
                "job_finished_timeout": "65",
                "create_report": "false",
            },
            "logging": {"log_to_file": "false", "workflow_level": "INFO", "interface_level": "INFO"},
        }
    )


class _LogFile(logging.FileHandler):
    """A log that says once, in a sentence, that it cannot be written: a full disk must not end the run."""

    _is_whole = True

    def __init__(self, path: Path, encoding: str) -> None:
        super().__init__(path, encoding=encoding)
        self._owner = os.getpid()  # workers have copies, and leave it to the run to say so

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name is logging's
        """Called in the place of an error of writing; logging's own prints a traceback for each line."""
        self._say_once()

    def close(self) -> None:
        """Close the file, although what is left of it may not fit on the disk."""
        try:
            super().close()
        except OSError:
            self._say_once()

    def _say_once(self) -> None:
        if self._is_whole and self._owner == os.getpid():
            self._is_whole = False
            reason = str(sys.exc_info()[1])
            print(f"Warning: the log {self.baseFilename} is not complete: {reason}", file=sys.stderr)


def start_log(path: Path, verbose: int) -> logging.Logger:
    """The run's log file; it gets what people see, and Nipype's messages, which the terminal gets with ``-v`` alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stop_log()
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(logging.Formatter(_LINE))
    log = logging.getLogger("bids_refacer.run")
    nipype = logging.getLogger("nipype")
    for logger in (log, nipype):
        logger.propagate = False
        logger.addHandler(file)
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    nipype.handlers = [file]
    if verbose:
        nipype.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    return log


def stop_log() -> None:
    """Close the log of an earlier run in this process."""
    for name in ("bids_refacer.run", "nipype"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def matplotlib_at_home(output_dir: Path) -> Iterator[None]:
    """matplotlib wants a folder to write to; a container's home is often none, and the work folder may be gone."""
    before = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory(prefix=".matplotlib-", dir=output_dir) as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]
            if before is not None:
                os.environ["MPLCONFIGDIR"] = before
