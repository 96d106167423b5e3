"""Tables (TSV) and their data dictionaries (JSON).

The dictionaries in ``bids_refacer/data/columns`` are the one place that names columns: a table has the columns of its
dictionary in their order, so that no column can be written without a description.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_refacer.dataset.images import HeadImage, ImageProblem
from bids_refacer.files import write_json, write_text

TABLES = ("participants", "status", "defacing", "surfacedistance", "calibration")
GROUP_TABLES = tuple(
    f"group_{name}"
    for name in (
        "summary participants images surfacedistance comparison tools calibration identification cmc roc reference "
        "phenotype phenotype_predictions"
    ).split()
)
_MISSING = "n/a"


def data_dictionary(table: str) -> dict[str, dict[str, Any]]:
    """Column name -> LongName, Description, Units, Levels of one of `TABLES`, in the order of the columns."""
    text = (files("bids_refacer") / "data" / "columns" / f"{table}.json").read_text(encoding="utf-8")
    content: dict[str, dict[str, Any]] = json.loads(text)
    return content


def write_table(path: Path, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as TSV with the columns of `table`; None, NaN and absent keys are written as ``n/a``.

    Numbers keep six significant digits; tabs and line breaks in texts become spaces. The file appears whole or not at
    all.

    Raises
    ------
    ValueError
        When a row has a key that the table's dictionary does not describe, or a value that is none of its levels.
    """
    columns = data_dictionary(table)
    lines = ["\t".join(columns)]
    for row in rows:
        unknown = set(row) - set(columns)
        if unknown:
            raise ValueError(f"{path}: the table '{table}' has no column {sorted(unknown)}: describe it in its JSON.")
        for name, value in row.items():
            levels = columns[name].get("Levels")
            if levels and value not in levels:
                raise ValueError(f"{path}: {value!r} is no level of the column '{name}': use one of {list(levels)}.")
        lines.append("\t".join(cell_text(row.get(name)) for name in columns))
    write_text(path, "\n".join(lines) + "\n")


def write_dictionary(path: Path, table: str) -> None:
    """Write the data dictionary of `table` to `path` (JSON)."""
    write_json(path, data_dictionary(table))


def read_table(path: Path) -> list[dict[str, str | None]]:
    """Read a TSV as one dict of texts a row, ``n/a`` as None; an absent file is a table without rows.

    Raises
    ------
    ValueError
        When a row has not as many cells as the header.
    """
    if not path.exists():
        return []
    header, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    names = header.split("\t")
    rows: list[dict[str, str | None]] = []
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) != len(names):
            raise ValueError(
                f"{path} has {len(cells)} cells in line {number} but {len(names)} columns: delete the file and run "
                "again."
            )
        rows.append({name: None if cell == _MISSING else cell for name, cell in zip(names, cells, strict=True)})
    return rows


def image_columns(image: HeadImage, tool: str | None = None) -> dict[str, str | None]:
    """The columns that name an image and a tool, which all per-image tables share."""
    session = f"ses-{image.session}" if image.session else None
    return {
        "participant_id": f"sub-{image.participant}",
        "session_id": session,
        "image": image.bids_path,
        "tool": tool,
    }


def status_row(
    image: HeadImage, tool: str, *, stage: str, status: str, message: str | None = None, run_time_s: float | None = None
) -> dict[str, Any]:
    """One row of the status table: how one image fared with one tool."""
    outcome = {"stage": stage, "status": status, "message": message, "run_time_s": run_time_s}
    return {**image_columns(image, tool), **outcome}


def problem_row(problem: ImageProblem) -> dict[str, Any]:
    """The row of the status table for an image that was not even read, or a participant without any."""
    return {
        "participant_id": f"sub-{problem.participant}",
        "session_id": f"ses-{problem.session}" if problem.session else None,
        "image": problem.bids_path,
        "stage": "input",
        "status": "failed",
        "message": problem.message,
    }


def merge_rows(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table after another run: its rows in the place of the old ones about the same image and tool.

    All old rows of an image and tool that the run was about go, as there may be fewer samples now; so do a
    participant's old rows without image or tool (no image found, a broken link), once the run was about them.
    Rows about others stay as they are. Sorted by participant, image and tool; otherwise in the order given.
    """
    fresh = [dict(row) for row in new]
    redone = {_subject(row) for row in fresh}
    participants = {participant for participant, _, _ in redone}

    def is_stale(row: Mapping[str, Any]) -> bool:
        participant, image, tool = _subject(row)
        return (participant, image, tool) in redone or (_MISSING in (image, tool) and participant in participants)

    kept = [dict(row) for row in old if not is_stale(row)]
    return sorted(kept + fresh, key=_subject)


def _subject(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return cell_text(row.get("participant_id")), cell_text(row.get("image")), cell_text(row.get("tool"))


def cell_text(value: Any) -> str:
    """A value as tables write it: ``n/a`` for None and NaN, numbers with six significant digits, texts in one line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _MISSING
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split()) or _MISSING
