"""The process that a run happens in: no network, no files outside the work folder, logs where they belong."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_refacer.layout import Layout
from bids_refacer.work_folder import make_private

_IN_WORK_DIR = {"TMPDIR": "tmp", "MPLCONFIGDIR": "matplotlib", "NIPYPE_CONFIG_DIR": "nipype"}
_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


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


@contextmanager
def own_variables() -> Iterator[None]:
    """What `prepare` sets holds inside only: the folders that it names may be gone afterwards."""
    before = {name: os.environ.get(name) for name in _IN_WORK_DIR}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        tempfile.tempdir = None


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = (2**30, 2**25)  # older glibc takes no more than the second


def keep_freed_memory() -> None:
    """Use memory again that arrays gave back, in this process and its forks.

    glibc gives large blocks back to the kernel at once, which has to clear each page that it hands out again: a sixth
    of the time of scoring (docs/speed.md). Nothing happens where the C library knows no such settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            any(mallopt(setting, size) for size in _KEPT_BYTES)


def prepare(work_dir: Path, threads: int) -> None:
    """Keep what libraries do on their own inside the work folder; must come before Nipype is imported.

    Nipype would ask the network for newer versions of itself; it and matplotlib want folders in a home that may be
    read-only.
    """
    keep_freed_memory()
    os.environ.update(NO_ET="1", NIPYPE_NO_ET="1", NIPYPE_NO_MATPLOTLIB="1")
    for name, folder in _IN_WORK_DIR.items():
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
def matplotlib_at_home(layout: Layout) -> Iterator[None]:
    """matplotlib wants a folder to write to; a container's home is often none, and the work folder may be gone.

    It is beside the faces, as matplotlib's list of fonts names paths of this machine.
    """
    make_private(layout.identifiable)
    before = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory(prefix=".matplotlib-", dir=layout.identifiable) as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]
            if before is not None:
                os.environ["MPLCONFIGDIR"] = before
