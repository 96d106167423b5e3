"""Typed rows and the data dictionaries say the same, and survive a table."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from output_folders import layout_of

from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.rows import audit, group, group_people, recognition, release
from bids_refacer.dataset.rows.table import Row, read_rows, rows_of, write_rows
from bids_refacer.dataset.tables import GROUP_TABLES, RELEASE_TABLES, TABLES, data_dictionary

KINDS: list[type[Row]] = [
    kind
    for module in (audit, group, group_people, recognition, release)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Row) and "table" in vars(kind)
]


def test_every_table_has_rows() -> None:
    assert {kind.table for kind in KINDS} == {*TABLES, *GROUP_TABLES, *RELEASE_TABLES}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
def test_fields_are_the_columns_in_their_order(kind: type[Row]) -> None:
    assert [field.name for field in fields(kind)] == list(data_dictionary(kind.table))


def test_rows_survive_a_table(tmp_path: Path) -> None:
    rows = [
        audit.DistanceRow(participant_id="sub-01", tool="quickshear", image_type="refaced", sample=2, masd_mm=0.123456),
        audit.DistanceRow(participant_id="sub-02", image_type="average", masd_mm=None, n_vertices=0),
    ]
    path = dataset_table(layout_of(tmp_path), "surfacedistance")
    write_rows(path, audit.DistanceRow, rows)
    assert rows_of(layout_of(tmp_path), audit.DistanceRow) == rows
    before = path.read_bytes()
    write_rows(path, audit.DistanceRow, rows_of(layout_of(tmp_path), audit.DistanceRow))
    assert path.read_bytes() == before


def test_an_older_table_has_gaps_and_a_newer_one_more_columns(tmp_path: Path) -> None:
    path = tmp_path / "status.tsv"
    path.write_text("participant_id\tstatus\tfuture\nsub-01\tok\t7\n")
    assert read_rows(path, audit.StatusRow) == [audit.StatusRow(participant_id="sub-01", status="ok")]
    assert read_rows(tmp_path / "absent.tsv", audit.StatusRow) == []


def test_a_word_in_a_column_of_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "surfacedistance.tsv"
    path.write_text("participant_id\tmasd_mm\nsub-01\t1.5\nsub-02\tnear\n")
    with pytest.raises(ValueError, match="has 'near' in line 3, column 'masd_mm', where a number must be: delete"):
        read_rows(path, audit.DistanceRow)


def test_an_interval_is_calibrated_where_permutations_allow_it() -> None:
    row = group_people.PhenotypeRow(suffix="T1w", rho_ci_low=0.1, rho_ci_high=0.5)
    assert row.interval == (0.1, 0.5, "bootstrap")
    few = replace(row, rho_calibrated_low=float("nan"), rho_calibrated_high=float("nan"))
    assert few.interval == (0.1, 0.5, "bootstrap")
    assert replace(row, rho_calibrated_low=0.0, rho_calibrated_high=0.6).interval == (0.0, 0.6, "calibrated")
