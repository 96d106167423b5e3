"""Small groups of synthetic participants, and how to run the group level on them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from output_folders import shareable
from small_datasets import start_dataset

from bids_refacer.group.run import run_group
from bids_refacer.settings import RunSettings

LABELS = tuple(f"{number:02}" for number in range(1, 13))
TOOLS = ("niimath", "pydeface", "quickshear")
Rows = list[dict[str, str]]


def make_bids(root: Path, labels: Sequence[str] = LABELS) -> Path:
    """A raw dataset without images, but with who its participants are."""
    start_dataset(root)
    lines = ["participant_id\tsex\tage\tscanner"]
    for number, label in enumerate(labels):
        (root / f"sub-{label}" / "anat").mkdir(parents=True)
        age = "n/a" if number == 0 else "89+" if number == 1 else str(20 + 3 * number)
        lines.append(f"sub-{label}\t{'F' if number % 2 else 'M'}\t{age}\tonly")
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    return root


def run(bids: Path, output: Path, **changes: object) -> list[str]:
    """Run the group level; what it said."""
    said: list[str] = []
    values = {"bids_dir": bids, "output_dir": output, "work_dir": output.parent / "w", "analysis_level": "group"}
    assert run_group(RunSettings(**{**values, **changes}), said.append) == 0
    return said


def table(output: Path, name: str, **wanted: str) -> Rows:
    """Rows of a table as texts, those that have the wanted cells."""
    with (shareable(output) / f"{name}.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if all(row[column] == cell for column, cell in wanted.items())]


def one(output: Path, name: str, **wanted: str) -> dict[str, str]:
    (row,) = table(output, name, **wanted)
    return row


def change(output: Path, name: str, column: str, value: str, **wanted: str) -> None:
    """Overwrite a cell in all rows that have the wanted cells."""
    path = shareable(output) / f"{name}.tsv"
    with path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        if all(row[key] == cell for key, cell in wanted.items()):
            row[column] = value
    lines = ["\t".join(rows[0])] + ["\t".join(row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def values(output: Path, tool: str, image_type: str, part: str = "face") -> dict[str, float]:
    rows = table(output, "surfacedistance", tool=tool, image_type=image_type, part=part)
    return {row["participant_id"]: float(row["masd_mm"]) for row in rows}
