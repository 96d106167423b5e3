"""What participant outputs say, read back for the group level: their tables, one output directory or several.

Only tables are read, and the records beside them where there are any; images are not needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bids_refacer.dataset.filters import DatasetError
from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.records import all_records

SUBJECT = ["participant_id", "image", "tool"]
_DISTANCE_KEY = [*SUBJECT, "image_type", "sample", "part"]
_CALIBRATION_KEY = [*SUBJECT, "part", "bin_low_mm"]
_CALIBRATION_NUMBERS = ["bin_low_mm", "area_mm2", "predicted_mm", "error_mm", "covered_50", "covered_90"]
_AGAIN = "run the participant level again, or leave this output out."
# what all results of a group must share; the rest of a record's key is the tool's own
_SHARED = ("AppVersion", "Model", "WeightsSHA256", "Sampler", "Steps", "NumSamples", "Seed")


class AuditError(DatasetError):
    """Participant outputs cannot be used for a group: one sentence with the file, what is wrong, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The tables of one or more participant outputs, one below the other.

    Attributes
    ----------
    outputs : where they came from
    distances : rows of surfacedistance.tsv; ``masd_mm`` is a number or NaN, ``suffix`` is the image's (T1w)
    defacing, status, calibration : rows of these tables; empty when there are none
    notes : sentences about what could not be checked
    """

    outputs: tuple[Path, ...]
    distances: pd.DataFrame
    defacing: pd.DataFrame
    status: pd.DataFrame
    calibration: pd.DataFrame
    notes: list[str] = field(default_factory=list)

    @property
    def participants(self) -> list[str]:
        """Everyone whom any table knows, sorted."""
        known = {name for table in (self.distances, self.status) for name in table["participant_id"].unique()}
        return sorted(known)


def read_audit(outputs: Sequence[Path], *, allow_mixed: bool = False) -> Audit:
    """Read the participant tables of output directories.

    Rows that two outputs share to the letter (an array job that did an image twice) are taken once.

    Raises
    ------
    AuditError
        When a table is missing, lacks a column, has a cell that is no number or no name, two different rows about the
        same thing, or when nobody is known, not even one who failed; without `allow_mixed`, when results were made with
        different settings.
    """
    distances = pd.concat([_distances(output) for output in outputs], ignore_index=True)
    distances = _without_doubles(distances, _DISTANCE_KEY, "surfacedistance.tsv")
    distances["suffix"] = [_suffix(image) for image in distances["image"]]
    tables = {
        "defacing": [_table(output, "defacing", SUBJECT, []) for output in outputs],
        "status": [_table(output, "status", ["participant_id", "status"], []) for output in outputs],
        "calibration": [_table(output, "calibration", SUBJECT + ["part"], _CALIBRATION_NUMBERS) for output in outputs],
    }
    stacked = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    if distances.empty and stacked["status"].empty:
        raise AuditError(
            f"{_names(outputs)} hold neither distances nor failures, so there is no participant to tell about: run the "
            "participant level first."
        )
    defacing = _without_doubles(stacked["defacing"], SUBJECT, "defacing.tsv")
    calibration = _without_doubles(stacked["calibration"], _CALIBRATION_KEY, "calibration.tsv")
    status = stacked["status"].drop_duplicates(ignore_index=True)
    audit = Audit(
        outputs=tuple(outputs), distances=distances, defacing=defacing, status=status, calibration=calibration
    )
    _refuse_mixed(audit, allow_mixed)
    return audit


def _distances(output: Path) -> pd.DataFrame:
    path = dataset_table(output, "surfacedistance")
    if not path.is_file():
        raise AuditError(f"{path} is missing: run the participant level into {output} first, or correct the path.")
    return _table(output, "surfacedistance", [*SUBJECT, "image_type", "part"], ["masd_mm"], optional=["sample"])


def _table(
    output: Path, table: str, texts: list[str], numbers: list[str], optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Read one table as texts, and the named columns as numbers; one that does not exist has its columns and no row."""
    path = dataset_table(output, table)
    try:
        rows = pd.read_csv(path, sep="\t", dtype=str, na_values=["n/a"], keep_default_na=False, quoting=3)
    except FileNotFoundError:
        return pd.DataFrame({name: [] for name in dict.fromkeys([*SUBJECT, *texts, *numbers, *optional])}, dtype=object)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise AuditError(f"{path} is no table ({' '.join(str(error).split())}): {_AGAIN}") from error
    for name in [*texts, *numbers, *optional]:
        if name not in rows:
            raise AuditError(f"{path} has no column '{name}', as tables of this version have: {_AGAIN}")
    for name in texts:
        if rows[name].isna().any():
            raise AuditError(f"{path} lacks the {name} in line {_line(rows[name].isna())}: {_AGAIN}")
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
        raise AuditError(f"{path}: '{first}' in line {_line(wrong)} is no number in {cells.name}: {_AGAIN}")
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
        raise AuditError(
            f"Two rows of {table} say different things about {row['participant_id']} ({row['image']}, {row['tool']}): "
            "give outputs of different participants, each once; labels of two datasets must not meet."
        )
    for name in unique.columns:  # categories of several files became texts again
        if name in (*SUBJECT, "image_type", "part"):
            unique[name] = unique[name].astype("category")
    return unique


def _suffix(image: str) -> str:
    """``T1w`` of ``sub-01/anat/sub-01_T1w.nii.gz``."""
    return re.sub(r"\.nii(\.gz)?$", "", str(image)).rsplit("_", 1)[-1]


def _refuse_mixed(audit: Audit, allow_mixed: bool) -> None:
    """All results must come from one attack, and each tool from one version of it."""
    found: dict[str, dict[str, int]] = {name: {} for name in _SHARED}
    count = 0
    for output in audit.outputs:
        for record in all_records(output):
            count += 1
            for name in _SHARED:
                value = json.dumps(record.key.get(name), sort_keys=True)
                found[name][value] = found[name].get(value, 0) + 1
    if not count:
        audit.notes.append(
            "There are no records (.bids_refacer) in the outputs: whether all results were made with the same model, "
            "seed and version cannot be checked."
        )
    if "version" in audit.defacing:
        for tool, rows in audit.defacing.groupby("tool", observed=True):
            found[f"version of {tool}"] = rows["version"].value_counts().to_dict()
    mixed = {name: values for name, values in found.items() if len(values) > 1}
    sentences = [f"{name}: {_values(values)}" for name, values in mixed.items()]
    if mixed and not allow_mixed:
        raise AuditError(
            f"The results in {_names(audit.outputs)} were not all made alike ({'; '.join(sentences)}): run the "
            "participant level again with one setting, or give --allow-mixed to take them together."
        )
    audit.notes.extend(f"Mixed settings were allowed: {sentence}." for sentence in sentences)


def _values(counts: dict[str, int]) -> str:
    return ", ".join(f"{value[:60]} ({number} image x tool)" for value, number in counts.items())


def _names(outputs: Sequence[Path]) -> str:
    return " and ".join(map(str, outputs))
