"""The one reader of tab-separated tables: cells are texts, and what they mean is each caller's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.wording import counted

if TYPE_CHECKING:
    import pandas as pd

NOT_AVAILABLE = "n/a"
"""What BIDS writes where there is no value."""


class TableError(DatasetError):
    """A table cannot be read: one sentence with the file, what is wrong, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table as it stands in its file.

    Attributes
    ----------
    columns : names, each once
    cells : rows x columns, texts
    """

    columns: tuple[str, ...]
    cells: list[list[str]]

    def rows(self) -> list[dict[str, str]]:
        """Each row as column -> text."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.cells]

    def frame(self, missing: Collection[str]) -> pd.DataFrame:
        """The table with NaN for the texts that say that there is no value."""
        import pandas as pd

        frame = pd.DataFrame(self.cells, columns=list(self.columns), dtype=str)
        return frame.mask(frame.isin(list(missing)))


def read_tsv(path: Path, remedy: str, *, short_rows: bool = False) -> TextTable:
    """Read a table whose first line names the columns.

    A byte order mark, blank lines, and blank cells beyond the last column are passed over. Quotation marks are text.
    A column that comes twice is numbered: ``age``, ``age.1``.

    Parameters
    ----------
    path : of the file, UTF-8
    remedy : what to do about a table that cannot be read; ends the error's sentence
    short_rows : whether rows may lack their last cells, which are then empty

    Raises
    ------
    TableError
        When the file cannot be read, is no text, is empty, or has a row that does not fit the header.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise TableError(f"{path} is no table that can be read ({error.strerror}): {remedy}") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is no table ({error}): {_encoding_remedy(path, error) or remedy}") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise TableError(f"{path} is no table (No columns to parse from file): {remedy}")
    columns = _columns(numbered[0][1])
    known: dict[str, str] = {}  # most cells say the same few words, which are kept once
    cells = []
    for number, line in numbered[1:]:
        row = [known.setdefault(cell, cell) for cell in line.split("\t")]
        while len(row) > len(columns) and not row[-1].strip():
            row.pop()
        if short_rows:
            row += [""] * (len(columns) - len(row))
        if len(row) != len(columns):
            found = f"{counted(len(row), 'cell')} in line {number}"
            raise TableError(f"{path} has {found} but {counted(len(columns), 'column')}: {remedy}")
        cells.append(row)
    return TextTable(columns=columns, cells=cells)


def _encoding_remedy(path: Path, error: UnicodeDecodeError) -> str:
    """What to do about a text that is not UTF-8, where one can say what it is; empty for what looks like no text."""
    content = bytes(error.object)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "UTF-16"
    elif any(byte < 0x20 and byte not in b"\t\r\n" for byte in content):
        return ""
    else:
        encoding = "ISO-8859-1"
    name = "UTF-16" if encoding == "UTF-16" else "Latin-1 or Windows-1252"
    line = content.count(b"\n", 0, error.start) + 1
    return (
        f"it is text in {name}, not in UTF-8 (line {line}): save it as UTF-8, for example with `iconv -f {encoding} -t "
        f"UTF-8 {path.name} > new.tsv`."
    )


def _columns(header: str) -> tuple[str, ...]:
    names = [name.strip() for name in header.rstrip().split("\t")]
    earlier = [names[:place].count(name) for place, name in enumerate(names)]
    return tuple(f"{name}.{count}" if count else name for name, count in zip(names, earlier, strict=True))
