"""Files that appear whole or not at all, stay untouched when nothing changed, and have one writer at a time."""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A name to write to, beside `path`; the written file takes the place of `path` when the block ends.

    When the block raises, `path` stays as it was and nothing is left beside it. The folder is made when it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # no process id in the name: every container counts from 1, so that two of them would write the same file
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename; the folder is made when it is missing.

    A file that already holds this text keeps its time stamp: a second run changes nothing.
    """
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with unfinished(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, keys in their order. Raises ValueError for NaN and infinities, which JSON does not have."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def new_folder_problem(folder: Path) -> str | None:
    """Why a folder cannot be made anew, or filled although it is there: a sentence, or None."""
    if folder.exists() and not folder.is_dir():
        return f"The output {folder} is a file: give a folder."
    if folder.is_dir() and any(folder.iterdir()):
        return f"The output {folder} is not empty, and nothing in it is replaced: give a new folder, or empty this one."
    return None


@contextmanager
def one_writer(lock: Path) -> Iterator[bool]:
    """Keep other runs waiting, on other machines too: what is read inside is still true when it is written.

    Parameters
    ----------
    lock : file to lock, made when missing. The lock is the kernel's: that of a run which was killed is gone.

    Yields
    ------
    bool
        False where the file system has no locks, as some clusters' do not: there, nobody waits.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False
        yield locked
