"""Participant outputs that cannot be used are refused with a sentence; odd ones that can be are used."""

from __future__ import annotations

from pathlib import Path

import pytest
from group_runs import LABELS, change, make_bids, one, run, table
from output_folders import shareable

from benchmarks.synthetic_outputs import write_output
from bids_refacer.__main__ import main
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.group.cohorts import age_band

TOOLS = ("niimath", "quickshear")


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    return make_bids(tmp_path / "bids")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return write_output(tmp_path / "out", LABELS[:3], TOOLS)


def refusal(bids: Path, output: Path, **changes: object) -> str:
    with pytest.raises(DatasetError) as caught:
        run(bids, output, **changes)
    return str(caught.value)


def test_nothing_was_run(bids: Path, tmp_path: Path) -> None:
    said = refusal(bids, tmp_path / "none")
    assert "none/bids_refacer/surfacedistance.tsv is missing: run the participant level into" in said


def test_no_participants(bids: Path, output: Path) -> None:
    for path in (shareable(output) / "surfacedistance.tsv", shareable(output) / "status.tsv"):
        path.write_text(path.read_text().splitlines(True)[0])
    said = refusal(bids, output)
    assert "hold neither distances nor failures, so there is no participant to tell about: run the participant" in said


@pytest.mark.parametrize(
    ("name", "column"),
    [("surfacedistance", "masd_mm"), ("surfacedistance", "sample"), ("defacing", "tool"), ("status", "status")],
)
def test_missing_column(bids: Path, output: Path, name: str, column: str) -> None:
    path = shareable(output) / f"{name}.tsv"
    path.write_text(path.read_text().replace(column, "other", 1))
    assert f"{name}.tsv has no column '{column}', as tables of this version have: run" in refusal(bids, output)


def test_no_table_at_all(bids: Path, output: Path) -> None:
    (shareable(output) / "surfacedistance.tsv").write_text("")
    assert "surfacedistance.tsv is no table (No columns to parse" in refusal(bids, output)
    (shareable(output) / "surfacedistance.tsv").write_bytes(b"\xff\xfe\x00")
    assert "surfacedistance.tsv is no table" in refusal(bids, output)


@pytest.mark.parametrize("cell", ["much", "inf", "1,5"])
def test_not_a_number(bids: Path, output: Path, cell: str) -> None:
    change(output, "surfacedistance", "masd_mm", cell, participant_id="sub-02", tool="niimath", part="nose")
    assert f"surfacedistance.tsv: '{cell}' in line" in refusal(bids, output)


def test_a_row_without_a_name(bids: Path, output: Path) -> None:
    change(output, "surfacedistance", "tool", "n/a", participant_id="sub-01", part="nose", tool="niimath")
    assert "surfacedistance.tsv lacks the tool in line 3: run the participant level again" in refusal(bids, output)


def test_rows_that_contradict_each_other(bids: Path, output: Path, tmp_path: Path) -> None:
    twin = write_output(tmp_path / "twin", LABELS[2:4], TOOLS, seed=3)
    said = refusal(bids, output, merge_output=(twin,))
    assert "say different things about sub-03 (sub-03/anat/sub-03_T1w.nii.gz, niimath): give outputs of diff" in said


def test_duplicate_labels(bids: Path, output: Path) -> None:
    path = bids / "participants.tsv"
    path.write_text(path.read_text() + "sub-02\tF\t30\tonly\n")
    assert "participants.tsv names sub-02 more than once: keep one row" in refusal(bids, output)
    path.write_text("name\tsex\nsub-01\tF\n")
    assert "participants.tsv has no column 'participant_id': add it, or remove the file" in refusal(bids, output)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ({"Seed": 7}, "Seed: 0 (6 image x tool), 7 (2 image x tool)"),
        ({"AppVersion": "0.2.0"}, 'AppVersion: "0.1.0" (6 image x tool), "0.2.0"'),
        ({"NumSamples": 5}, "NumSamples: 2"),
        ({"WeightsSHA256": {"a": "b"}}, "WeightsSHA256: {}"),
    ],
)
def test_mixed_settings(bids: Path, output: Path, tmp_path: Path, key: dict, words: str) -> None:
    other = write_output(tmp_path / "other", LABELS[3:4], TOOLS, **key)
    said = refusal(bids, output, merge_output=(other,))
    assert "were not all made alike" in said and words in said and "--allow-mixed" in said
    said = "\n".join(run(bids, output, merge_output=(other,), allow_mixed=True))
    assert f"Mixed settings were allowed: {words}" in said and "4 participants" in said


def test_mixed_versions_of_a_tool(bids: Path, output: Path) -> None:
    change(output, "defacing", "version", "2", participant_id="sub-02", tool="niimath")
    assert "version of niimath: 1 (2 image x tool), 2 (1 image x tool)" in refusal(bids, output)


def test_without_records_the_tables_are_enough(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS[:3], TOOLS, records=False)
    (shareable(output) / "defacing.tsv").unlink()
    (shareable(output) / "status.tsv").unlink()
    assert "There are no records (.bids_refacer) in the outputs" in "\n".join(run(bids, output))
    assert table(output, "group_comparison")


def test_rows_without_values(bids: Path, output: Path) -> None:
    change(output, "surfacedistance", "masd_mm", "n/a", participant_id="sub-02", tool="niimath")
    run(bids, output)
    where = {"tool": "niimath", "image_type": "average", "part": "face", "gate": "all", "subgroup_column": "all"}
    row = one(output, "group_surfacedistance", **where)
    assert (row["n_participants"], row["n_missing"]) == ("2", "1") and row["mean_mm"] != "n/a"
    change(output, "surfacedistance", "masd_mm", "n/a", tool="niimath")
    run(bids, output)
    row = one(output, "group_surfacedistance", **where)
    assert (row["n_participants"], row["n_missing"], row["mean_mm"], row["sd_mm"]) == ("0", "3", "n/a", "n/a")


def test_one_participant(bids: Path, tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", LABELS[:1], TOOLS, noise_mm=1.0)
    run(bids, output)
    place = {"part": "face", "gate": "all", "subgroup_column": "all", "tool": "niimath"}
    row = one(output, "group_surfacedistance", image_type="average", **place)
    assert row["n_participants"] == "1" and row["mean_mm"] == row["median_mm"] != "n/a"
    assert row["sd_mm"] == row["ci_low_mm"] == "n/a"
    row = one(output, "group_comparison", image_type="refaced_mean", compared_with="average", **place)
    assert (row["n_pairs"], row["p_value"], row["p_holm"]) == ("1", "n/a", "n/a")


def test_participants_are_chosen(bids: Path, output: Path) -> None:
    said = run(bids, output, participant_label=("01", "03"))
    assert any(line.startswith("2 participants in") for line in said)
    assert {row["participant_id"] for row in table(output, "group_images")} == {"sub-01", "sub-03"}
    words = "None of the participants of --participant-label has results"
    assert words in refusal(bids, output, participant_label=("12",))


def test_reference_dataset(bids: Path, output: Path, tmp_path: Path) -> None:
    assert "is the output itself: give the output of another" in refusal(bids, output, reference_dataset=output)
    assert "nowhere/bids_refacer/surfacedistance.tsv is missing" in refusal(
        bids, output, reference_dataset=tmp_path / "nowhere"
    )
    other = write_output(tmp_path / "other", LABELS[:3], ("skullstrip",))
    assert "has no kind of image and tool in common" in refusal(bids, output, reference_dataset=other)


def test_dry_run_writes_nothing(bids: Path, output: Path) -> None:
    before = sorted(output.rglob("*"))
    assert run(bids, output, dry_run=True)[-1] == "Nothing was written."
    assert sorted(output.rglob("*")) == before


def test_the_command(bids: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = write_output(tmp_path / "more", LABELS[3:5], TOOLS, seed=1)
    assert main([str(bids), str(output), "group", "--merge-output", str(more), "--rerank", "0"]) == 0
    assert "5 participants in" in capsys.readouterr().out
    assert main([str(bids), str(tmp_path / "none"), "group"]) == 1
    assert capsys.readouterr().err.startswith(str(tmp_path / "none"))


def test_bands_of_age() -> None:
    assert [age_band(text) for text in ("3", "17.9", "18", "59", "60", "89+", "old", "")] == [
        "under 18",
        "under 18",
        "18-39",
        "40-59",
        "60 and over",
        "60 and over",
        None,
        None,
    ]


@pytest.mark.parametrize("name", ["surfacedistance", "status", "defacing"])
def test_participants_that_cannot_be_are_refused(bids: Path, output: Path, name: str) -> None:
    change(output, name, "participant_id", "sub-../../x", participant_id="sub-02")
    said = refusal(bids, output)
    assert f"{name}.tsv, line " in said
    assert "has 'sub-../../x' in column 'participant_id', which must be sub- and a label: run the part" in said


def test_a_table_about_others_is_said_on_the_terminal_and_in_the_report(bids: Path, output: Path) -> None:
    table = bids / "participants.tsv"
    table.write_text(table.read_text().replace("sub-", "sub-x"))
    sentence = "participants.tsv names none of the participants of the dataset (it has x01, x02, x03 and "
    assert any(line.startswith(sentence) for line in run(bids, output))
    assert sentence in (shareable(output) / "group.md").read_text()


def test_labels_without_zeros_make_the_same_subgroups(bids: Path, output: Path) -> None:
    run(bids, output)
    before = (shareable(output) / "group_surfacedistance.tsv").read_bytes()
    path = bids / "participants.tsv"
    path.write_text(path.read_text().replace("sub-0", "").replace("sub-", ""))
    said = run(bids, output)
    assert (shareable(output) / "group_surfacedistance.tsv").read_bytes() == before and b"\tsex\tF\t" in before
    assert any("labels without their leading zeros are matched: 1 is sub-01, 2 is sub-02" in line for line in said)
