"""Numbers about participants: targets and covariates, from a table that was named or from the dataset's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bids_refacer.dataset.images import participant_labels
from bids_refacer.dataset.participants import MISSING, read_participants
from bids_refacer.group.outputs import GroupError

DEFAULT_TARGETS = tuple(f"muscle_radiodensity_{place}" for place in ("abdomen", "thigh", "shin"))
DEFAULT_COVARIATES = ("age", "sex")
NO_COVARIATES = "none"
_MOST_LEVELS = 10  # different texts of a covariate: more of them are names or notes, and would explain anything


Tables = dict[Path, pd.DataFrame]
"""File -> texts, participant_id x column; NaN where there is none."""


class PhenotypeError(GroupError):
    """Targets or covariates cannot be used: one sentence with the file, the column, what is wrong, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Phenotypes:
    """Targets and covariates of participants.

    Attributes
    ----------
    targets : DataFrame, participant_id x target column, float; NaN where there is no value
    covariates : DataFrame, the same participants x numbers; a column of texts became a column of 0 and 1 for each
        text but the first; NaN where a value is missing
    names : columns that the covariates were made from
    units : of each target, as the table's JSON dictionary says; empty when it does not
    notes : sentences about what was used and what was left out
    unmatched : sentences about labels of tables that are not the dataset's, and covariates that nobody has
    """

    targets: pd.DataFrame
    covariates: pd.DataFrame
    names: tuple[str, ...]
    units: dict[str, str]
    notes: list[str] = field(default_factory=list)
    unmatched: tuple[str, ...] = ()


def read_phenotypes(
    bids_dir: Path, phenotype: Path | None, targets: Sequence[str], covariates: Sequence[str]
) -> Phenotypes | None:
    """Find and read the columns; None when none were asked for and the dataset has none of the default targets.

    Tables are searched in this order: `phenotype`, participants.tsv, phenotype/*.tsv of the dataset. Without `targets`,
    the columns of `DEFAULT_TARGETS` are taken that a table has; without `covariates`, those of `DEFAULT_COVARIATES`.
    `NO_COVARIATES` alone means none. A participant with several rows gets their mean.

    Raises
    ------
    TableError
        When a table cannot be read.
    PhenotypeError
        When a column that was asked for is missing, not numeric, or has too many texts.
    """
    tables, said = _tables(bids_dir, phenotype)
    of_targets = _target_paths(tables, targets, phenotype, bids_dir)
    if not of_targets:
        return None
    values = pd.DataFrame({name: _numeric(tables[path][name], path) for name, path in of_targets.items()})
    of_covariates = _covariate_paths(tables, covariates, bids_dir)
    columns = [_coded(tables[path][name], path) for name, path in of_covariates.items()]
    coded = pd.concat([pd.DataFrame(index=values.index), *columns], axis=1).reindex(values.index)
    origin = [f"{name} ({path.name})" for name, path in {**of_targets, **of_covariates}.items()]
    notes = [f"Phenotypes and covariates: {', '.join(origin)}."]
    units = {name: _units(path, name) for name, path in of_targets.items()}
    unmatched = [note for path in {**of_targets, **of_covariates}.values() for note in said[path]]
    has_target = values.notna().any(axis=1)
    for (name, path), column in zip(of_covariates.items(), columns, strict=True):
        if has_target.any() and column.reindex(values.index[has_target]).isna().all(axis=None):
            unmatched.append(f"The covariate {name} ({path.name}) has no value for anyone who has a target.")
    return Phenotypes(
        targets=values,
        covariates=coded,
        names=tuple(of_covariates),
        units=units,
        notes=notes,
        unmatched=tuple(dict.fromkeys(unmatched)),
    )


def _tables(bids_dir: Path, phenotype: Path | None) -> tuple[Tables, dict[Path, tuple[str, ...]]]:
    """The tables in the order in which they are searched, and what should be known of the labels in each."""
    paths = [phenotype] if phenotype is not None else []
    own = [bids_dir / "participants.tsv", *sorted((bids_dir / "phenotype").glob("*.tsv"))]
    paths += [path for path in own if path.is_file() and path not in paths]
    people = participant_labels(bids_dir)
    read = {path: read_participants(path, people) for path in paths}
    tables = {path: table.frame(missing=MISSING).set_index("participant_id") for path, table in read.items()}
    return tables, {path: table.notes for path, table in read.items()}


def _target_paths(tables: Tables, targets: Sequence[str], phenotype: Path | None, bids_dir: Path) -> dict[str, Path]:
    """Target -> the table that has it."""
    paths = _paths_of(tables, targets or DEFAULT_TARGETS)
    for name in targets:
        if name not in paths:
            raise PhenotypeError(
                f"No column '{name}' in {_searched(tables, bids_dir)}: correct --target, or give the table that has it "
                "with --phenotype."
            )
    if not paths and phenotype is not None:
        raise PhenotypeError(
            f"{phenotype} has none of the columns {', '.join(DEFAULT_TARGETS)}: name the columns to predict with "
            "--target."
        )
    return paths


def _covariate_paths(tables: Tables, covariates: Sequence[str], bids_dir: Path) -> dict[str, Path]:
    """Covariate -> the table that has it."""
    if tuple(covariates) == (NO_COVARIATES,):
        return {}
    paths = _paths_of(tables, covariates or DEFAULT_COVARIATES)
    for name in covariates:
        if name not in paths:
            raise PhenotypeError(
                f"No column '{name}' in {_searched(tables, bids_dir)}: correct --covariates, or use --covariates "
                f"{NO_COVARIATES}."
            )
    return paths


def _paths_of(tables: Tables, columns: Sequence[str]) -> dict[str, Path]:
    """The first table that has it, for each column that any has."""
    return {name: path for name in columns if (path := next((path for path in tables if name in tables[path]), None))}


def _searched(tables: Tables, bids_dir: Path) -> str:
    return ", ".join(map(str, tables)) or f"{bids_dir}, which has neither participants.tsv nor phenotype/*.tsv"


def _numbers(cells: pd.Series) -> pd.Series:
    """Numbers where a text is one; ``89+``, as anonymised ages have it, is 89."""
    texts = cells.dropna().str.strip().str.replace(r"^(\d+)\+$", r"\1", regex=True)
    return pd.to_numeric(texts, errors="coerce").replace([np.inf, -np.inf], np.nan).reindex(texts.index)


def _numeric(cells: pd.Series, path: Path) -> pd.Series:
    """Mean of each participant's rows."""
    values = _numbers(cells)
    wrong = cells.dropna()[values.isna().to_numpy()]
    if len(wrong):
        raise PhenotypeError(
            f"{path}: '{wrong.iloc[0]}' of {wrong.index[0]} in the column '{cells.name}' is no number: correct it, "
            "write n/a where there is no value, or choose another --target."
        )
    everyone = values.groupby(level=0).mean()
    return everyone.reindex(cells.index.unique())


def _coded(cells: pd.Series, path: Path) -> pd.DataFrame:
    """A covariate as numbers: one column, or for texts a column of 0 and 1 for each text but the first."""
    known = cells.dropna()
    if not _numbers(cells).isna().any():
        return _numeric(cells, path).to_frame(str(cells.name))
    known = known.str.strip()
    levels = sorted(known.unique())
    if len(levels) > _MOST_LEVELS:
        raise PhenotypeError(
            f"{path}: the covariate '{cells.name}' has {len(levels)} different texts, such as '{levels[0]}': correct "
            f"it if it should be numbers, or take one with at most {_MOST_LEVELS}."
        )
    differs = known.groupby(level=0).nunique() > 1
    if differs.any():
        raise PhenotypeError(
            f"{path} says different things about '{cells.name}' of {differs.index[differs.to_numpy().argmax()]}: keep "
            "one row for each participant, or correct them."
        )
    of_each = known.groupby(level=0).first().reindex(cells.index.unique())
    coded = {f"{cells.name}={level}": (of_each == level).astype(float) for level in levels[1:]}
    return pd.DataFrame(coded, index=of_each.index).where(of_each.notna(), np.nan)


def _units(path: Path, column: str) -> str:
    """The unit that the JSON beside a table gives for a column; HU for the default targets."""
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return str(content[column]["Units"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "HU" if column in DEFAULT_TARGETS else ""
