"""Two tools that remove the same skin of the face are one tool: measured, written into the table, and said once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records_by_hand import add_record, image_of

from bids_refacer.audit.status import tool_findings
from bids_refacer.audit.tables import most_alike
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.records import Record, read_record
from bids_refacer.dataset.rows.audit import DefacingRow
from bids_refacer.dataset.rows.group import SummaryRow
from bids_refacer.files import write_json
from bids_refacer.group.summary import _same_cut
from bids_refacer.layout import Layout
from bids_refacer.reports.notes.same_cut import same_cut_counts, same_cut_lines, summary_same_cut
from bids_refacer.surfaces.skin_left import as_text, removed_dice


def cut(share: float, number: int = 30_000) -> np.ndarray:
    """The first vertices of a face are removed."""
    return np.arange(number) < share * number


@pytest.mark.parametrize("number", [1, 7, 3999, 4000, 8001, 30_000])
def test_overlap_of_what_was_removed(number: int) -> None:
    assert removed_dice(as_text(cut(1.0, number)), as_text(cut(1.0, number))) == 1.0
    if number > 1000:
        found = removed_dice(as_text(cut(0.5, number)), as_text(cut(0.4, number)))
        assert found == pytest.approx(2 * 0.4 / 0.9, abs=0.01)
        assert removed_dice(as_text(cut(0.5, number)), as_text(~cut(0.5, number))) == 0.0
    assert len(as_text(cut(1.0, number))) < 1400, "a record holds it"


@pytest.mark.parametrize(
    "other", ["", "5", "x:AA==", "20000:!", "20000:AA==", as_text(cut(0.5, 29_999)), as_text(cut(0))]
)
def test_what_cannot_be_compared_has_no_overlap(other: str) -> None:
    """No text (an older record), a damaged one, another face, nothing removed."""
    one = as_text(cut(0)) if other == as_text(cut(0)) else as_text(cut(0.5))
    assert removed_dice(one, other) is None


def record(tmp_path: Path, tool: str, removed: np.ndarray | None) -> Record:
    image = image_of(tmp_path / "in", "sub-01_T1w")
    made = add_record(tmp_path / "out", image, tool, {})
    return replace(made, removed_skin=None if removed is None else as_text(removed))


def test_a_record_keeps_what_was_removed(tmp_path: Path) -> None:
    made = record(tmp_path, "niimath", cut(0.5))
    path = OutputNames.of(Layout.of(tmp_path / "out"), image_of(tmp_path / "in", "sub-01_T1w")).record("niimath")
    write_json(path, made.to_json())
    assert read_record(path) == made
    write_json(path, replace(made, removed_skin=None).to_json())
    assert read_record(path) == replace(made, removed_skin=None)


def test_the_most_similar_tool_of_each(tmp_path: Path) -> None:
    shares = {"niimath": 0.50, "pydeface": 0.51, "skullstrip": 1.0, "old": None}
    records = [record(tmp_path, tool, None if share is None else cut(share)) for tool, share in shares.items()]
    found = {tool: alike for (_, tool), alike in most_alike(records).items()}
    assert {tool: alike[0] for tool, alike in found.items()} == {
        "niimath": "pydeface",
        "pydeface": "niimath",
        "skullstrip": "pydeface",
    }
    reface = replace(record(tmp_path, "average", cut(0.50)), key={"Attack": "mask"})
    assert most_alike([*records, reface]) == most_alike(records), "another face in the same place is another result"
    assert found["pydeface"][1] == pytest.approx(1.0 / 1.01, abs=0.001)


def rows(image: str, dice: float) -> list[DefacingRow]:
    about = {"participant_id": "sub-01", "image": image, "face_verdict": "pass"}
    return [
        DefacingRow(**about, tool="pydeface", most_alike="niimath", most_alike_dice=dice),
        DefacingRow(**about, tool="niimath", most_alike="pydeface", most_alike_dice=dice),
        DefacingRow(**about, tool="quickshear", most_alike="pydeface", most_alike_dice=0.8),
    ]


def test_it_is_said_once_for_all_images_and_why() -> None:
    found = [
        *rows("a", 0.99),
        *rows("b", 0.97),
        *rows("c", 0.95),
        DefacingRow(participant_id="sub-02", image="d", tool="niimath"),
    ]
    lines = tool_findings(found, [])
    assert lines[-1] == (
        "niimath and pydeface removed nearly the same skin of the face in 2 of 3 images (Dice above 0.95). Both cut "
        "by one mask, and without FSL also by one registration. Count them as one tool: what one shows, the other does "
        "not confirm."
    )
    assert sum("nearly the same skin" in line for line in lines) == 1
    assert same_cut_lines(same_cut_counts(rows("c", 0.95))) == []


def test_a_group_says_it_too() -> None:
    own = [row for name in "abc" for row in rows(name, 0.99) if row.tool == "niimath"]
    assert _same_cut(own) == {"most_alike": "pydeface", "n_same_cut": 3}
    summary = [
        SummaryRow(suffix="T1w", tool="niimath", n_judged=3, **_same_cut(own)),
        SummaryRow(suffix="T1w", tool="pydeface", n_judged=3, most_alike="niimath", n_same_cut=2),
        SummaryRow(suffix="T1w", tool="quickshear", n_judged=3, **_same_cut(rows("a", 0.5))),
    ]
    (line,) = same_cut_lines(summary_same_cut(summary))
    assert line.startswith("niimath and pydeface removed nearly the same skin of the face in 3 of 3 images")
    other = same_cut_lines({("a", "b"): (1, 1)})[0]
    assert "mask" not in other and "in 1 of 1 image (" in other
