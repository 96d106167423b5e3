"""The headline of a group: distances where the skin was removed, the whole face beside them, and older outputs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from group_runs import LABELS, TOOLS, change, make_bids, one, run, table
from output_folders import layout_of, shareable
from page_reader import read_page

from benchmarks.synthetic_outputs import write_output
from bids_refacer.audit.pages import make_participant_pages

REMOVED, FACE = {"part": "removed"}, {"part": "face"}
NOTE = "were scored by a version that did not measure the removed skin alone: the headline distances are of the whole"
HEADLINE = ("recovered_mm", "average_mm", "difference_mm", "defaced_mm")


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bids(tmp_path_factory.mktemp("removed") / "bids", LABELS)


@pytest.fixture(scope="module")
def output(bids: Path) -> Path:
    """Twelve participants; in the removed skin everything lies 0.7 mm farther than in the whole face."""
    folder = write_output(bids.parent / "out", LABELS, TOOLS)
    run(bids, folder, rerank=0)
    return folder


def without_removed(output: Path, copy: Path, participant: str = "") -> Path:
    """A copy as an older version wrote it: no rows of removed skin (of one participant, or of all)."""
    shutil.copytree(output, copy)
    for path in shareable(copy).glob("group*"):
        path.unlink()
    lines = (shareable(copy) / "surfacedistance.tsv").read_text().splitlines(True)
    kept = [line for line in lines if not (line.startswith(participant) and "\tremoved\t" in line)]
    assert len(kept) < len(lines)
    (shareable(copy) / "surfacedistance.tsv").write_text("".join(kept))
    return copy


def mean(output: Path, tool: str, image_type: str, part: str) -> float:
    rows = table(output, "surfacedistance", tool=tool, image_type=image_type, part=part)
    return float(np.mean([float(row["masd_mm"]) for row in rows]))


def test_the_headline_is_of_the_removed_skin_and_the_face_stands_beside_it(output: Path) -> None:
    for tool in TOOLS:
        row = one(output, "group_summary", tool=tool)
        assert (row["headline_part"], row["recovered_type"]) == ("removed", "refaced_mean")
        for name, image_type in (("recovered", "refaced_mean"), ("average", "average"), ("defaced", "defaced")):
            assert float(row[f"{name}_mm"]) == pytest.approx(mean(output, tool, image_type, "removed"), rel=1e-4)
            assert float(row[f"face_{name}_mm"]) == pytest.approx(mean(output, tool, image_type, "face"), rel=1e-4)
            assert float(row[f"{name}_mm"]) - float(row[f"face_{name}_mm"]) == pytest.approx(0.7, abs=1e-3)
        about = {"tool": tool, "image_type": "refaced_mean", "compared_with": "average", "subgroup_column": "all"}
        test = one(output, "group_comparison", gate="passed", **about, **REMOVED)
        assert (row["difference_mm"], row["difference_p_holm"]) == (test["mean_difference_mm"], test["p_holm"])
        whole = one(output, "group_comparison", gate="passed", **about, **FACE)
        assert row["face_difference_mm"] == whole["mean_difference_mm"]
        people = table(output, "group_participants", tool=tool)
        assert {row["headline_part"] for row in people} == {"removed"}
        gaps = [float(person["recovered_mm"]) - float(person["face_recovered_mm"]) for person in people]
        assert gaps == pytest.approx([0.7] * 12, abs=1e-3)


def test_every_table_of_distances_has_removed_skin(output: Path) -> None:
    for name in ("group_surfacedistance", "group_comparison", "group_tools"):
        assert table(output, name, **REMOVED) and table(output, name, **FACE), name
    subgroups = [row for row in table(output, "group_comparison") if row["subgroup_column"] != "all"]
    assert {row["part"] for row in subgroups} == {"removed"}, "one part, so that chance has fewer goes"


def test_the_page_says_which_skin_its_figures_are_of(output: Path) -> None:
    page = read_page(shareable(output) / "group.html")
    assert "mean absolute surface distances in mm, where the skin was removed, over participants" in page.text
    assert "whole face: " in page.text
    assert "Friedman p" in page.text, "the tools' test of the same part is found"
    assert "mm where the skin was removed (95 % CI" in (shareable(output) / "group.md").read_text()
    assert NOTE not in (shareable(output) / "group.md").read_text()
    shown = {(n.row, n.column): n.value for n in page.numbers if n.table == "group_summary" and n.column}
    for tool in TOOLS:
        row = one(output, "group_summary", tool=tool)
        assert shown[f"T1w|{tool}", "recovered_mm"] == row["recovered_mm"]
        assert shown[f"T1w|{tool}", "face_recovered_mm"] == row["face_recovered_mm"]


def test_outputs_of_an_older_version_fall_back_to_the_whole_face(bids: Path, output: Path, tmp_path: Path) -> None:
    old = without_removed(output, tmp_path / "old")
    said = run(bids, old, rerank=0)
    assert any(f"36 image x tool (sub-01/anat/sub-01_T1w.nii.gz niimath and others) {NOTE}" in line for line in said)
    text = (shareable(old) / "group.md").read_text()
    assert NOTE in text and "mm over the whole face (95 % CI" in text
    for tool in TOOLS:
        row, new = one(old, "group_summary", tool=tool), one(output, "group_summary", tool=tool)
        assert row["headline_part"] == "face"
        assert [row[name] for name in HEADLINE] == [new[f"face_{name}"] for name in HEADLINE]
    assert "in mm, over the whole face, over participants" in read_page(shareable(old) / "group.html").text


def test_one_older_result_makes_the_whole_face_the_headline_of_all(bids: Path, output: Path, tmp_path: Path) -> None:
    """Otherwise one tool's figures would be of other skin, or of other people, than the next one's."""
    mixed = without_removed(output, tmp_path / "mixed", "sub-04")
    said = run(bids, mixed, rerank=0)
    assert any(f"3 image x tool (sub-04/anat/sub-04_T1w.nii.gz niimath and others) {NOTE}" in line for line in said)
    assert {row["headline_part"] for row in table(mixed, "group_summary")} == {"face"}
    assert {row["n_pairs"] for row in table(mixed, "group_summary")} == {"12"}


def test_an_image_of_which_nothing_was_removed_is_no_older_one(bids: Path, output: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output, tmp_path / "out")
    change(copy, "surfacedistance", "masd_mm", "n/a", tool="niimath", participant_id="sub-05", part="removed")
    said = run(bids, copy, rerank=0)
    assert not any(NOTE in line for line in said)
    row = one(copy, "group_summary", tool="niimath")
    assert (row["headline_part"], row["n_pairs"]) == ("removed", "11")
    person = one(copy, "group_participants", tool="niimath", participant_id="sub-05")
    assert person["recovered_mm"] == "n/a" and float(person["face_recovered_mm"]) > 0


def test_a_participant_page_of_an_older_output_is_of_the_whole_face(page_output: Path, tmp_path: Path) -> None:
    old = without_removed(page_output, tmp_path / "out")
    make_participant_pages(layout_of(old), page_output.parent / "bids", ["01"])
    page = read_page(shareable(old) / "sub-01.html")
    assert "mm from the true one over the whole face, an average face" in page.text
    assert "An older version of bids_refacer scored this image" in page.text
    new = read_page(shareable(page_output) / "sub-01.html")
    assert "mm from the true one where the skin was removed, an average face" in new.text
    assert "Removed: the skin that the tool took" in new.text
