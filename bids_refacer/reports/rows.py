"""Rows of the outputs' tables as pages need them: with every column, so that older tables have gaps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.tables import data_dictionary, read_table

Row = Mapping[str, str | None]


def blank(table: str) -> dict[str, str | None]:
    """A row of a table without any value."""
    return dict.fromkeys(data_dictionary(table))


def read_rows(output_dir: Path, table: str) -> list[Row]:
    """Rows of a table of the dataset; none when it is not there. Values are the table's own texts, None for n/a."""
    empty = blank(table)
    return [{**empty, **row} for row in read_table(dataset_table(output_dir, table))]
