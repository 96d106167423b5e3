"""The folder of intermediate images, which show faces: where it is, that it is closed to others, what is removed."""

from __future__ import annotations

import os
import shutil
import stat
from hashlib import sha256
from pathlib import Path

from bids_refacer.layout import Layout
from bids_refacer.problems import AuditProblem

_PRIVATE = 0o700
_WORK = "work"  # in the identifiable dataset
RUNNING = "running"
"""Folder in a work folder where runs claim what they work on (`files.claimed`); it is never emptied."""
_FOLDERS = ("tmp", "matplotlib", "nipype", "crashes", RUNNING)  # that a run makes in its work folder


def default_work_dir(layout: Layout, *, other_machines: bool = False) -> Path:
    """Where intermediate images go unless somebody says: a folder of this output in the scheduler's temporary place.

    The name follows from the output, so that a run that goes on finds what is there. Where nothing temporary can be
    written, and for plugins that work on `other_machines`, it lies in the identifiable dataset. Nothing is made.
    """
    places = [os.environ.get(name, "") for name in ("SLURM_TMPDIR", "TMPDIR")] + ["/tmp", "/var/tmp"]
    for place in () if other_machines else places:
        folder = Path(place) / _work_dir_name(layout)
        is_usable = os.path.isabs(place) and os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
        if is_usable and _is_free_or_own(folder):
            return folder
    return layout.identifiable / _WORK


def is_default_work_dir(work_dir: Path, layout: Layout) -> bool:
    """Whether nobody asked for this work folder."""
    return work_dir.name == _work_dir_name(layout) or work_dir == layout.identifiable / _WORK


def _work_dir_name(layout: Layout) -> str:
    return f"bids_refacer-{os.getuid()}-{sha256(str(layout.output_dir.resolve()).encode()).hexdigest()[:12]}"


def _is_free_or_own(folder: Path) -> bool:
    """Whether nobody else made a folder, or a link, by this name: temporary places are for everybody."""
    try:
        info = folder.lstat()
    except OSError:
        return True
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()


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
        When somebody else made the folder, or the one inside.
    """
    if not work_dir.exists():
        make_private(work_dir)
        if work_dir.is_symlink() or work_dir.stat().st_uid != os.getuid():  # made meanwhile
            raise WorkFolderError(
                f"The work folder {work_dir} was not made by this user: give a folder of your own to --work-dir."
            )
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


def remove_intermediate(work_dir: Path) -> None:
    """Remove what a run leaves in a work folder, and nothing else; claims of runs stay."""
    for entry in work_dir.iterdir():
        if _is_of_app(entry) and entry.name != RUNNING:
            shutil.rmtree(entry, ignore_errors=True)


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
