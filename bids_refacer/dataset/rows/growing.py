"""A table that a run completes step by step, while other runs may write to it: only what changed is computed again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Generic

from bids_refacer.dataset.rows.audit import SUBJECT, Kind, SubjectRow, merge_rows
from bids_refacer.dataset.rows.table import lines_of, read_rows
from bids_refacer.dataset.tables import write_lines

Subject = tuple[str, str, str]
"""`SubjectRow.subject`: participant, image, tool."""


@dataclass(frozen=True, kw_only=True)
class _Block(SubjectRow):
    """All rows about one image and tool, as the lines of their table."""

    lines: tuple[str, ...]


class GrowingTable(Generic[Kind]):
    """A table of the participant level; rows of this run take the place of those about the same image and tool.

    The lines that were written last are kept, and the file is read again where another run has written to it since. Who
    calls `merge` holds the lock of the output.

    Parameters
    ----------
    path : the TSV
    kind : class of its rows
    clean : what every row goes through before it is written, those that were there as well
    """

    def __init__(self, path: Path, kind: type[Kind], clean: Callable[[Kind], Kind]) -> None:
        self._path, self._kind, self._clean = path, kind, clean
        self._blocks: list[_Block] = []
        self._written: tuple[int, ...] | None = None

    def merge(self, new: Iterable[Kind], about: Collection[Subject], *, whole: bool = True) -> None:
        """Write the table with `new` rows, and without the old ones of the images and tools in `about`.

        `whole` is what `merge_rows` says.

        Raises
        ------
        ValueError
            When the table that is there is damaged; see `read_rows`.
        """
        if self._written is None or self._written != self._state():
            self._blocks = self._as_blocks(read_rows(self._path, self._kind))
        kept = [block for block in self._blocks if block.subject not in about]
        self._blocks = merge_rows(kept, self._as_blocks(new), whole=whole)
        write_lines(self._path, self._kind.table, (line for block in self._blocks for line in block.lines))
        self._written = self._state()

    def _as_blocks(self, rows: Iterable[Kind]) -> list[_Block]:
        ordered = sorted(map(self._clean, rows), key=attrgetter("subject"))
        lines = iter(lines_of(self._path, self._kind, ordered))
        blocks = []
        for _, group in groupby(ordered, key=attrgetter("subject")):
            own = list(group)
            columns = {name: getattr(own[0], name) for name in SUBJECT}
            blocks.append(_Block(**columns, lines=tuple(islice(lines, len(own)))))
        return blocks

    def _state(self) -> tuple[int, ...] | None:
        """What changes when somebody else writes the file; None where there is none."""
        if not self._path.is_file():
            return None
        stat = self._path.stat()
        return stat.st_ino, stat.st_size, stat.st_mtime_ns
