"""Whether two outputs hold the same results: python tests/containers/same_tables.py OUTPUT OTHER [LABEL...]

Every cell of every table, and every image and surface, has to be the same, byte for byte: packages, machine and number
of threads are the same. Run times alone may differ. With labels, only those participants are compared.
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

from bids_refacer.layout import Layout

TIMES = {"run_time_s", "deface_time_s", "run_time_median_s"}


def rows(path: Path, labels: list[str]) -> list[dict[str, str]]:
    """A table's rows, without run times; a group's table has no participants and is whole."""
    with path.open(newline="") as file:
        found = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file, delimiter="\t")]
    if labels and found and "participant_id" in found[0]:
        found = [row for row in found if row["participant_id"].removeprefix("sub-") in labels]
    return sorted(found, key=lambda row: list(map(str, row.values())))


def images(root: Path, labels: list[str]) -> dict[str, bytes]:
    """Content of every image and surface, by its path."""
    files = [path for path in root.rglob("*") if path.name.endswith((".nii.gz", ".gii"))]
    work = Layout.of(root).identifiable / "work"
    names = {path.relative_to(root).as_posix(): path for path in files if not path.is_relative_to(work)}
    chosen = {n: p for n, p in names.items() if not labels or any(f"sub-{label}/" in n for label in labels)}
    return {n: gzip.decompress(p.read_bytes()) if n.endswith(".gz") else p.read_bytes() for n, p in chosen.items()}


def main(output: Path, other: Path, labels: list[str]) -> int:
    here, there = Layout.of(output).shareable, Layout.of(other).shareable
    tables = sorted(path.name for path in here.glob("*.tsv") if not labels or not path.name.startswith("group_"))
    assert {"status.tsv", "surfacedistance.tsv", "defacing.tsv"} <= set(tables), (
        f"{output} has the tables {tables} alone"
    )
    differing = [name for name in tables if rows(here / name, labels) != rows(there / name, labels)]
    ours, theirs = images(output, labels), images(other, labels)
    assert ours, f"{output} has no images"
    differing += sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    for name in differing:
        print(f"{name} differs between {output} and {other}", file=sys.stderr)
    if not differing:
        print(f"the same: {len(tables)} tables, {len(ours)} images and surfaces in {output.name} and {other.name}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
