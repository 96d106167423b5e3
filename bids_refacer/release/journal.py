"""What a release has done so far, so that a run that was stopped goes on; identifiable, as it knows the originals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import row_from
from bids_refacer.files import unfinished

NAME = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file that was dealt with.

    Attributes
    ----------
    row : of the certificate
    before : SHA-256 of the original, where the released file differs; never published
    key : all that the result depends on
    place : size and time of change of the released file; empty where there is none
    """

    row: ReleaseRow
    before: str | None = None
    key: tuple[Any, ...] = ()
    place: tuple[int, ...] = ()


@dataclass
class Journal:
    """The file that every finished image and copy is written to, a line each.

    Attributes
    ----------
    path : of the file
    entries : path in the dataset -> what was done
    """

    path: Path
    entries: dict[str, Made] = field(default_factory=dict)

    def finished(self, name: str, key: tuple[Any, ...], target: Path) -> Made | None:
        """What was done with a file; None where it has to be done, or done again."""
        made = self.entries.get(name)
        return made if made is not None and made.key == key and made.place == place_of(target) else None

    def add(self, made: Made) -> None:
        """Write a line; a run that is killed loses no line but the last."""
        self.entries[made.row.path] = made
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(made))

    def shorten(self, names: Iterable[str]) -> None:
        """Write the file anew with what still holds."""
        self.entries = {name: self.entries[name] for name in names if name in self.entries}
        with unfinished(self.path) as temporary:
            temporary.write_text("".join(map(_line, self.entries.values())), encoding="utf-8")


def read_journal(folder: Path) -> Journal:
    """The journal in a folder; lines that were cut off are passed over."""
    path = folder / NAME
    journal = Journal(path=path)
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            made = _made(line)
            if made is not None:
                journal.entries[made.row.path] = made
    return journal


def journal_folder(private: Path, release_dir: Path) -> Path:
    """The folder of one release, by where it goes."""
    digest = hashlib.sha256(str(release_dir.resolve()).encode()).hexdigest()[:12]
    return private / f"{release_dir.name}-{digest}"


def place_of(path: Path) -> tuple[int, ...]:
    """Size and time of change of a file; empty where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_size, stat.st_mtime_ns


def _line(made: Made) -> str:
    cells = {name: value for name, value in asdict(made.row).items() if value is not None}
    return json.dumps({"Row": cells, "Before": made.before, "Key": made.key, "Place": made.place}) + "\n"


def _made(line: str) -> Made | None:
    try:
        content: Mapping[str, Any] = json.loads(line)
        return Made(
            row=row_from(ReleaseRow, content["Row"]),
            before=content["Before"],
            key=_tuple(content["Key"]),
            place=_tuple(content["Place"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
