"""What participant outputs say, read back for the group level: their tables, one output directory or several.

Only tables are read, and the records beside them where there are any; images are not needed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.image_key import suffix_of
from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.records import all_records
from bids_refacer.dataset.rows.audit import DefacingRow, StatusRow
from bids_refacer.dataset.rows.checked import check_cells
from bids_refacer.dataset.rows.table import RowType, columns_of
from bids_refacer.dataset.rows.tsv import NOT_AVAILABLE, read_tsv
from bids_refacer.layout import Layout
from bids_refacer.surfaces.region import PARTS, REMOVED

SUBJECT = ["participant_id", "image", "tool"]
_DISTANCE_KEY = [*SUBJECT, "image_type", "sample", "part"]
_CALIBRATION_KEY = [*SUBJECT, "part", "bin_low_mm"]
_CALIBRATION_NUMBERS = ["bin_low_mm", "area_mm2", "predicted_mm", "error_mm", "covered_50", "covered_90"]
_AGAIN = "run the participant level again, or leave this output out."
# what all results of a group must share; the rest of a record's key is the tool's own
_SHARED = ("AppVersion", "Model", "WeightsSHA256", "Sampler", "Steps", "NumSamples", "Seed")


class GroupError(DatasetError):
    """Participant outputs cannot be used for a group: one sentence with the file, what is wrong, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class ParticipantOutputs:
    """The tables of one or more participant outputs, one below the other.

    Tables that statistics are computed from are DataFrames, those that are looked up are rows.

    Attributes
    ----------
    folders : the output directories that they are from
    distances : rows of surfacedistance.tsv; ``masd_mm`` is a number or NaN, ``suffix`` is the image's (T1w)
    calibration : rows of calibration.tsv; empty when there are none
    defacing, status : rows of these tables; empty when there are none
    notes : sentences about what could not be checked
    """

    folders: tuple[Path, ...]
    distances: pd.DataFrame
    calibration: pd.DataFrame
    defacing: tuple[DefacingRow, ...]
    status: tuple[StatusRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The part of the face whose distances are told first: removed skin, where it was measured in every image."""
        measured = without_removed_skin(self.distances).empty and len(self.distances)
        return REMOVED if measured else PARTS[0]

    @property
    def participants(self) -> list[str]:
        """Everyone whom any table knows, sorted."""
        return sorted({*self.distances["participant_id"].unique(), *(row.participant_id for row in self.status)})


def read_outputs(folders: Sequence[Path], *, allow_mixed: bool = False) -> ParticipantOutputs:
    """Read the participant tables of output directories.

    Rows that two outputs share to the letter (an array job that did an image twice) are taken once.

    Raises
    ------
    DatasetError
        When a table is missing, cannot be read, lacks a column, has a cell that is no number or no name, two different
        rows about the same thing, or when nobody is known, not even one who failed; without `allow_mixed`, when results
        were made with different settings.
    """
    distances = pd.concat([_distances(folder) for folder in folders], ignore_index=True)
    distances = _without_doubles(distances, _DISTANCE_KEY, "surfacedistance.tsv")
    distances["suffix"] = [suffix_of(str(image)) for image in distances["image"]]
    defacing = _stacked(folders, "defacing", SUBJECT, [])
    status = _stacked(folders, "status", ["participant_id", "status"], [])
    calibration = _stacked(folders, "calibration", [*SUBJECT, "part"], _CALIBRATION_NUMBERS)
    if distances.empty and status.empty:
        raise GroupError(
            f"{_names(folders)} hold neither distances nor failures, so there is no participant to tell about: run the "
            "participant level first."
        )
    defacing = _without_doubles(defacing, SUBJECT, "defacing.tsv")
    calibration = _without_doubles(calibration, _CALIBRATION_KEY, "calibration.tsv")
    judged = tuple(_rows(defacing, DefacingRow))
    return ParticipantOutputs(
        folders=tuple(folders),
        distances=distances,
        calibration=calibration,
        defacing=judged,
        status=tuple(_rows(status.drop_duplicates(ignore_index=True), StatusRow)),
        notes=(*_check_settings(folders, judged, allow_mixed), *_removed_skin_notes(distances)),
    )


def without_removed_skin(distances: pd.DataFrame) -> pd.DataFrame:
    """Images and tools (`SUBJECT`) whose distances have no row of removed skin: they are of an older version."""
    rows = distances[SUBJECT].astype(str)
    known = set(rows[distances["part"] == REMOVED].itertuples(index=False, name=None))
    every = rows.drop_duplicates()
    return every[[subject not in known for subject in every.itertuples(index=False, name=None)]]


def _removed_skin_notes(distances: pd.DataFrame) -> list[str]:
    """A sentence where not every image was measured on the skin that was removed."""
    lacking = without_removed_skin(distances)
    if lacking.empty:
        return []
    named = " ".join(lacking.iloc[0][["image", "tool"]]) + (" and others" if len(lacking) > 1 else "")
    return [
        f"{len(lacking)} image x tool ({named}) were scored by a version that did not measure the removed skin alone: "
        "the headline distances are of the whole face, with the skin that tools left. Run the participant level again "
        "with this version for those of the removed skin."
    ]


def _distances(folder: Path) -> pd.DataFrame:
    path = dataset_table(Layout.found(folder), "surfacedistance")
    if not path.is_file():
        raise GroupError(
            f"{path} is missing: run the participant level into {folder} first (bids_refacer BIDS_DIR "
            f"{folder} participant), or correct the path."
        )
    return _table(folder, "surfacedistance", [*SUBJECT, "image_type", "part"], ["masd_mm"], optional=["sample"])


def _stacked(folders: Sequence[Path], table: str, texts: list[str], numbers: list[str]) -> pd.DataFrame:
    return pd.concat([_table(folder, table, texts, numbers) for folder in folders], ignore_index=True)


def _table(
    folder: Path, table: str, texts: list[str], numbers: list[str], optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Read one table as texts, and the named columns as numbers; one that does not exist has its columns and no row."""
    path = dataset_table(Layout.found(folder), table)
    if not path.exists():
        return pd.DataFrame({name: [] for name in dict.fromkeys([*SUBJECT, *texts, *numbers, *optional])}, dtype=object)
    rows = read_tsv(path, _AGAIN).frame(missing=[NOT_AVAILABLE])
    for name in [*texts, *numbers, *optional]:
        if name not in rows:
            raise GroupError(f"{path} has no column '{name}', as tables of this version have: {_AGAIN}")
    for name in rows:
        for text in rows[name].dropna().unique() if name in (*SUBJECT, "session_id") else ():
            check_cells(f"{path}, line {_line(rows[name] == text)}:", {str(name): text}, _AGAIN)
    for name in texts:
        if rows[name].isna().any():
            raise GroupError(f"{path} lacks the {name} in line {_line(rows[name].isna())}: {_AGAIN}")
    for name in numbers:
        rows[name] = _numbers(rows[name], path)
    for name in texts:  # the same few words over and over
        rows[name] = rows[name].astype("category")
    return rows


def _numbers(cells: pd.Series, path: Path) -> pd.Series:
    values = pd.to_numeric(cells, errors="coerce")
    wrong = values.isna() & cells.notna() | values.isin([float("inf"), float("-inf")])
    if wrong.any():
        first = cells[wrong].iloc[0]
        raise GroupError(f"{path}: '{first}' in line {_line(wrong)} is no number in {cells.name}: {_AGAIN}")
    return values.astype(float)


def _line(which: pd.Series) -> int:
    """Line of the file of the first row that is marked; the header is line 1."""
    return int(which.to_numpy().argmax()) + 2


def _without_doubles(rows: pd.DataFrame, key: list[str], table: str) -> pd.DataFrame:
    """Drop rows that say the same; refuse rows that say different things about the same."""
    unique = rows.drop_duplicates(ignore_index=True)
    again = unique.duplicated(key)
    if again.any():
        row = unique[again].iloc[0]
        raise GroupError(
            f"Two rows of {table} say different things about {row['participant_id']} ({row['image']}, {row['tool']}): "
            "give outputs of different participants, each once; labels of two datasets must not meet."
        )
    for name in unique.columns:  # categories of several files became texts again
        if name in (*SUBJECT, "image_type", "part"):
            unique[name] = unique[name].astype("category")
    return unique


def _rows(table: pd.DataFrame, kind: type[RowType]) -> Iterator[RowType]:
    """Typed rows of a table that was read; None where a cell is missing, or is no number in a column of numbers."""
    columns = {name: cell for name, cell in columns_of(kind).items() if name in table}
    cells = [_texts(table[name]) if cell is str else _floats(table[name]) for name, cell in columns.items()]
    for values in zip(*cells, strict=True):
        yield kind(**dict(zip(columns, values, strict=True)))


def _texts(cells: pd.Series) -> list[str | None]:
    return [None if pd.isna(cell) else str(cell) for cell in cells]


def _floats(cells: pd.Series) -> list[float | None]:
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    return [None if pd.isna(number) else float(number) for number in numbers]


def _check_settings(folders: Sequence[Path], defacing: Sequence[DefacingRow], allow_mixed: bool) -> list[str]:
    """Check that all results come from one attack, and each tool's from one version; sentences on what differs."""
    records, counts = _counted_settings(folders)
    notes = []
    if not records:
        notes.append(
            "There are no records (.bids_refacer) in the outputs: whether all results were made with the same model, "
            "seed and version cannot be checked."
        )
    for tool in sorted({row.tool for row in defacing if row.tool is not None}):
        versions = Counter(row.version for row in defacing if row.tool == tool and row.version is not None)
        counts[f"version of {tool}"] = dict(versions.most_common())
    mixed = [f"{name}: {_values(values)}" for name, values in counts.items() if len(values) > 1]
    if mixed and not allow_mixed:
        raise GroupError(
            f"The results in {_names(folders)} were not all made alike ({'; '.join(mixed)}): run the "
            "participant level again with one setting, or give --allow-mixed to take them together."
        )
    return notes + [f"Mixed settings were allowed: {sentence}." for sentence in mixed]


def _counted_settings(folders: Sequence[Path]) -> tuple[int, dict[str, dict[str, int]]]:
    """How many records there are, and how many of them have each value of a setting."""
    keys = [record.key for folder in folders for record in all_records(Layout.found(folder))]
    values = {name: [json.dumps(key.get(name), sort_keys=True) for key in keys] for name in _SHARED}
    return len(keys), {name: dict(Counter(texts)) for name, texts in values.items()}


def _values(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value[:60]} ({number} image x tool)" for value, number in counts.items())


def _names(folders: Sequence[Path]) -> str:
    return " and ".join(map(str, folders))
