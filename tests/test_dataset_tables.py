"""Tables, their dictionaries, and files that appear whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bids_refacer.dataset.images import HeadImage, ImageProblem
from bids_refacer.dataset.tables import (
    GROUP_TABLES,
    TABLES,
    data_dictionary,
    image_columns,
    merge_rows,
    problem_row,
    read_table,
    status_row,
    write_dictionary,
    write_table,
)
from bids_refacer.files import write_json, write_text
from bids_refacer.settings import RunSettings

IMAGE = HeadImage(
    path=Path("/in/sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"),
    entities={"sub": "01", "ses": "a"},
    participant="01",
    session="a",
    suffix="T1w",
    bids_uri="bids:raw:sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
)
DISTANCE_COLUMNS = (
    "participant_id session_id image tool image_type sample part masd_mm to_true_mm to_recovered_mm median_mm p95_mm "
    "hausdorff_mm signed_mean_mm n_vertices"
).split()


@pytest.mark.parametrize("table", TABLES + GROUP_TABLES)
def test_every_column_is_described(table: str, tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", table, [])
    write_dictionary(tmp_path / "t.json", table)
    columns = (tmp_path / "t.tsv").read_text().rstrip("\n").split("\t")
    written = json.loads((tmp_path / "t.json").read_text())
    assert columns == list(written)
    for name, entry in written.items():
        assert entry["LongName"] and entry["Description"].endswith("."), name
        assert ("Units" in entry) == name.endswith(("_mm", "_ml", "_s", "_percent", "_fraction")), name


def test_columns_of_the_contract() -> None:
    assert list(data_dictionary("surfacedistance")) == DISTANCE_COLUMNS
    parts = list(data_dictionary("surfacedistance")["part"]["Levels"])
    assert parts == ["face", "nose", "eyes", "mouth", "chin", "cheeks", "forehead"]
    types = set(data_dictionary("surfacedistance")["image_type"]["Levels"])
    assert types == {"defaced", "refaced", "refaced_mean", "refaced_best", "refaced_sample_mean", "average"}
    assert set(data_dictionary("status")["status"]["Levels"]) == {"ok", "failed", "skipped"}


def test_defacing_columns_are_what_is_measured() -> None:
    """The numbers of the quality control are named once more in the code that makes them."""
    import numpy as np

    from bids_refacer.defacers.qc import defacing_qc

    block = np.zeros((16, 16, 16), bool)
    block[4:12, 4:12, 4:12] = True
    made = defacing_qc(block * 100.0, np.eye(4), block, block)
    assert set(made) < set(data_dictionary("defacing"))


def test_a_row_of_defacing_has_every_column(tmp_path: Path) -> None:
    from bids_refacer.audit.verdict_rows import defacing_row
    from bids_refacer.dataset.details import DefaceDetails
    from bids_refacer.surfaces.verdicts import MEASURED

    settings = RunSettings(bids_dir=tmp_path, output_dir=tmp_path, work_dir=tmp_path)
    quality = ("removed_ml", "removed_head_ml", "removed_head_fraction", "brain_removed_ml", "brain_removed_percent")
    details = {
        "Version": "1",
        "QualityControl": dict.fromkeys(quality, 0.05),
        "Verdict": {
            "FaceLeft": {**dict.fromkeys(MEASURED, 100.0), "nose": 0.0, "eyes": 6.0, "mouth": 0.0, "chin": None},
            "BrainCut": {"ml": 0.0, "percent": 0.0, "hole_ml": 0.0},
            "Brain": {
                "original": {"volume_ml": 1500.0, "contrast": 0.2},
                "defaced": {"volume_ml": 1499.0, "contrast": 0.2, "dice": 0.99},
            },
        },
        "RunTime": 3.0,
        "Warnings": ["made for T1w."],
        "Quirks": ["NaN written; zero here"],
    }
    row = defacing_row(DefaceDetails.from_json(details), settings)
    assert {*row, *image_columns(IMAGE), "chin_left_percent"} == set(data_dictionary("defacing"))
    assert (row["face_verdict"], row["worst_part"], row["brain_verdict"]) == ("warn", "eyes", "pass")
    assert row["notes"] == "made for T1w.; NaN written; zero here"
    strict = replace(settings, face_left_limits=(0.0, 5.0), brain_cut_limits=(0.0, 0.01))
    assert [
        defacing_row(DefaceDetails.from_json(details), strict)[f"{name}_verdict"] for name in ("face", "brain")
    ] == ["fail", "fail"]
    holes = replace(settings, brain_hole_limits=(0.0, 0.2))
    details["Verdict"]["BrainCut"]["hole_ml"] = 0.1
    assert defacing_row(DefaceDetails.from_json(details), holes)["brain_verdict"] == "warn", (
        "the share is small, the hole is not"
    )
    write_table(tmp_path / "t.tsv", "defacing", [row])
    assert defacing_row(DefaceDetails.from_json({"Version": "1"}), settings) == {"version": "1"}, (
        "a record of an older run has less"
    )


def test_an_undescribed_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"t.tsv: the table 'status' has no column \['colour'\]: describe it"):
        write_table(tmp_path / "t.tsv", "status", [{"colour": "red"}])
    assert not (tmp_path / "t.tsv").exists()


def test_a_value_that_is_no_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'done' is no level of the column 'status': use one of \['ok', 'failed'"):
        write_table(tmp_path / "t.tsv", "status", [{"status": "done"}])


def test_cells(tmp_path: Path) -> None:
    row = {**image_columns(IMAGE, "average"), "masd_mm": 1.23456789, "p95_mm": float("nan"), "sample": None}
    write_table(tmp_path / "t.tsv", "surfacedistance", [{**row, "n_vertices": 1234567, "median_mm": 0.0}])
    (read,) = read_table(tmp_path / "t.tsv")
    assert (read["masd_mm"], read["median_mm"], read["n_vertices"]) == ("1.23457", "0", "1234567")
    assert read["p95_mm"] is read["sample"] is read["image_type"] is None
    assert (read["participant_id"], read["session_id"], read["tool"]) == ("sub-01", "ses-a", "average")
    assert read["image"] == "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"


def test_messages_stay_on_their_line(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", "status", [{"message": "first\tline\nsecond  line"}, {"message": ""}])
    assert [row["message"] for row in read_table(tmp_path / "t.tsv")] == ["first line second line", None]


def test_absent_table_has_no_rows(tmp_path: Path) -> None:
    assert read_table(tmp_path / "absent.tsv") == []


def test_table_without_rows(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", "status", [])
    assert read_table(tmp_path / "t.tsv") == []


def test_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2\n3\n")
    with pytest.raises(ValueError, match="t.tsv has 1 cells in line 3 but 2 columns: delete the file and run again"):
        read_table(tmp_path / "t.tsv")


def test_status_rows(tmp_path: Path) -> None:
    problem = ImageProblem(participant="02", session=None, bids_path=None, message="No image.")
    rows = [
        status_row(IMAGE, "pydeface", stage="reface", status="failed", message="No memory.", run_time_s=1.5),
        problem_row(problem),
    ]
    write_table(tmp_path / "status.tsv", "status", rows)
    first, second = read_table(tmp_path / "status.tsv")
    assert (first["tool"], first["stage"], first["status"]) == ("pydeface", "reface", "failed")
    assert (first["message"], first["run_time_s"]) == ("No memory.", "1.5")
    assert (second["participant_id"], second["image"], second["stage"]) == ("sub-02", None, "input")
    assert (second["status"], second["message"]) == ("failed", "No image.")


def row(participant: str, image: str | None, tool: str | None, value: int) -> dict:
    return {"participant_id": participant, "image": image, "tool": tool, "sample": value}


def test_merging_replaces_what_was_done_again() -> None:
    old = [
        row("sub-02", "b", "t", 1),
        row("sub-01", "a", "t", 1),
        row("sub-01", "a", "t", 2),
        row("sub-01", "a", "u", 1),
    ]
    new = [row("sub-01", "a", "t", 9)]
    assert merge_rows(old, new) == [row("sub-01", "a", "t", 9), row("sub-01", "a", "u", 1), row("sub-02", "b", "t", 1)]


def test_merging_forgets_problems_that_are_gone() -> None:
    old = [row("sub-01", None, None, 1), row("sub-02", None, None, 1)]
    new = [row("sub-01", "a", "t", 2)]
    assert merge_rows(old, new) == [row("sub-01", "a", "t", 2), row("sub-02", None, None, 1)]


def test_merging_reads_what_was_written(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", "surfacedistance", [row("sub-01", None, None, 1), row("sub-01", "a", "t", 1)])
    merged = merge_rows(read_table(tmp_path / "t.tsv"), [row("sub-01", "a", "t", 2)])
    assert [(entry["image"], entry["sample"]) for entry in merged] == [("a", 2)]


def test_order_within_an_image_is_kept() -> None:
    new = [row("sub-01", "a", "t", sample) for sample in (3, 1, 2)]
    assert [entry["sample"] for entry in merge_rows([], new)] == [3, 1, 2]


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_same_text_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "é")
    before = path.stat()
    write_text(path, "é")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    write_text(path, "e")
    assert path.read_text() == "e"
