"""What tables and records say of files, checked where it is read: they may come from others, and name what is not ours.

Files are made and removed by names that are put together from such texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.layout import Layout

_TOOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class OutsideError(DatasetError):
    """A table or a record names something that no output of ours can have: one sentence."""


def is_inside(name: str) -> bool:
    """Whether a relative path with forward slashes stays below the folder that it is relative to."""
    parts = name.split("/")
    return name.isprintable() and not {"", ".", ".."} & set(parts)


def output_of(layout: Layout, name: str) -> Path | None:
    """The path of an output by its name in a record; None where it would lie outside of its dataset.

    Folders may be links, as long as they lead to places inside.
    """
    if not is_inside(name):
        return None
    root, rest = layout.root_of(name)
    path = root / rest
    return path if path.parent.resolve().is_relative_to(root.resolve()) else None


def check_cells(where: str, cells: Mapping[str, object], remedy: str) -> None:
    """Check the cells of a row that names of files are made of; other columns are not looked at.

    Parameters
    ----------
    where : the table and the line, which begin the error's sentence
    cells : column -> text, None where there is none
    remedy : what to do, which ends it

    Raises
    ------
    OutsideError
        When a cell is none that we could have written.
    """
    for column, (is_good, wanted) in _COLUMNS.items():
        text = cells.get(column)
        if text is not None and not is_good(str(text)):
            raise OutsideError(f"{where} has {text!r} in column '{column}', which must be {wanted}: {remedy}")


def _labelled(entity: str) -> Callable[[str], bool]:
    def is_good(text: str) -> bool:
        # labels that BIDS does not allow are refused where images are found, and named in the table of status
        return text.startswith(entity) and text.isprintable() and "/" not in text

    return is_good


_COLUMNS: dict[str, tuple[Callable[[str], bool], str]] = {
    "participant_id": (_labelled("sub-"), "sub- and a label"),
    "session_id": (_labelled("ses-"), "ses- and a label"),
    "image": (is_inside, "the path of an image in its dataset"),
    "tool": (lambda text: bool(_TOOL.fullmatch(text)), "the name of a tool"),
}
