"""Files that appear whole or not at all, stay untouched when nothing changed, and have one writer at a time."""

from __future__ import annotations

import fcntl
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")  # names of `unfinished`


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
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not say which file
    finally:
        with suppress(OSError):  # what was raised says more; a later run removes it
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


_REMOVED_MEANWHILE = 100
"""Times that a folder may be removed under a lock before that is an error."""


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
    while True:
        with _opened(lock) as file:
            locked = _lock(file, fcntl.LOCK_EX)
            if not locked or _is_same(file, lock):  # or else somebody removed it while we waited
                yield locked
                return


@contextmanager
def claimed(register: Path, names: frozenset[str] | None, wait: Callable[[str], None]) -> Iterator[bool]:
    """Claim things by their names; whoever claims one of the same waits until this block ends.

    A claim is a file under a lock of the kernel's: that of a process that was killed is gone. Who waits has no claim,
    so that nobody waits for ever.

    Parameters
    ----------
    register : folder of the claims, made when missing
    names : what is claimed; None for everything, whatever its name
    wait : called once, before waiting, with a name that somebody else has claimed (empty when they have everything)

    Yields
    ------
    bool
        Whether nobody else had a claim here when the block began; False where the file system has no locks.
    """
    own = register / f"{uuid.uuid4().hex}.json"
    file, alone, waited = None, False, False
    while file is None:
        with one_writer(register / "lock") as locked:
            others = _claims(register) if locked else {}
            busy, common = next(_common(others, names), (None, ""))
            if busy is None:
                alone = locked and not others
                file = own.open("w", encoding="utf-8")
                _lock(file, fcntl.LOCK_EX)
                file.write(json.dumps(None if names is None else sorted(names)))
                file.flush()
        if busy is not None:
            if not waited:
                wait(common)
            waited = True
            with suppress(FileNotFoundError), busy.open("rb") as theirs:
                _lock(theirs, fcntl.LOCK_SH)
    try:
        yield alone
    finally:
        own.unlink(missing_ok=True)
        file.close()


def _claims(register: Path) -> dict[Path, frozenset[str] | None]:
    """Claims that somebody holds, by their files; those of processes that were killed are removed."""
    found: dict[Path, frozenset[str] | None] = {}
    for path in sorted(register.glob("*.json")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if _lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB):
                path.unlink(missing_ok=True)
                continue
            names = json.loads(file.read() or b"[]")
            found[path] = None if names is None else frozenset(names)
    return found


def _common(
    claims: Mapping[Path, frozenset[str] | None], names: frozenset[str] | None
) -> Iterator[tuple[Path | None, str]]:
    """Claims of others that stand in the way, each with a name that both want."""
    for path, theirs in claims.items():
        if theirs is None or names is None:
            yield path, ""
        elif shared := theirs & names:
            yield path, min(shared)


def _is_same(file: IO[Any], path: Path) -> bool:
    """Whether an open file is still the one that has the name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _opened(lock: Path) -> IO[bytes]:
    """The lock's file, made with its folder, which another run may remove between the two."""
    for _ in range(_REMOVED_MEANWHILE):
        lock.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return lock.open("ab")
    return lock.open("ab")


def _lock(file: IO[Any], kind: int) -> bool:
    """Whether the lock was got; waits for it unless `kind` says not to."""
    try:
        fcntl.flock(file, kind)
    except OSError:
        return False
    return True


def sweep(folder: Path, *, below: bool) -> None:
    """Remove what writers that were killed left in a folder (`unfinished`), and with `below` in those inside it."""
    for root, folders, names in os.walk(folder):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                (Path(root) / name).unlink(missing_ok=True)
        if not below:
            folders.clear()
