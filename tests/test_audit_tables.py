"""Rows of the tables of the participant level: what they say, and how those of another run take their place."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from output_folders import layout_of

from bids_refacer.audit.crash_files import Crash
from bids_refacer.audit.status import done_row, failed_row, problem_row
from bids_refacer.audit.tables import Tables, VerdictLimits, defacing_row, write_tables
from bids_refacer.dataset.descriptions.shareable_text import Places
from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.images import HeadImage, ImageProblem
from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.rows.audit import (
    CalibrationRow,
    DefacingRow,
    DistanceRow,
    StatusRow,
    merge_rows,
    subject_columns,
)
from bids_refacer.dataset.rows.table import read_rows, rows_of, write_rows
from bids_refacer.dataset.tables import data_dictionary, read_table
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.verdicts import MEASURED

IMAGE = HeadImage(
    path=Path("/in/sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"),
    entities={"sub": "01", "ses": "a"},
    participant="01",
    session="a",
    suffix="T1w",
    bids_uri="bids:raw:sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
)
SUBJECT = subject_columns(IMAGE, "t")


def test_a_row_of_defacing_has_every_column(tmp_path: Path) -> None:
    settings = RunSettings(bids_dir=tmp_path, output_dir=tmp_path, work_dir=tmp_path)
    quality = ("removed_ml", "removed_head_ml", "removed_head_fraction", "brain_removed_ml", "brain_removed_percent")
    details = {
        "Version": "1",
        "QualityControl": dict.fromkeys(quality, 0.05),
        "DefacingFigures": {
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

    def made(details: dict, settings: RunSettings) -> DefacingRow:
        return defacing_row(SUBJECT, DefaceDetails.from_json(details), VerdictLimits.of(settings))

    row = made(details, settings)
    empty = {name for name, value in asdict(row).items() if value is None}
    of_pairs = {"most_alike", "most_alike_dice"}  # known once all tools of an image are
    assert empty == {"chin_left_percent", *of_pairs} and set(asdict(row)) == set(data_dictionary("defacing"))
    assert (row.face_verdict, row.worst_part, row.brain_verdict) == ("warn", "eyes", "pass")
    assert row.notes == "made for T1w.; NaN written; zero here"
    strict = replace(settings, face_left_limits=(0.0, 5.0), brain_cut_limits=(0.0, 0.01))
    assert (made(details, strict).face_verdict, made(details, strict).brain_verdict) == ("fail", "fail")
    holes = replace(settings, brain_hole_limits=(0.0, 0.2))
    details["DefacingFigures"]["BrainCut"]["hole_ml"] = 0.1
    assert made(details, holes).brain_verdict == "warn", "the share is small, the hole is not"
    write_rows(tmp_path / "t.tsv", DefacingRow, [row])
    assert made({"Version": "1"}, settings) == DefacingRow(**SUBJECT, version="1"), "a record of an older run has less"


def test_a_verdict_that_is_missing_stays_so_when_the_table_is_written_again(tmp_path: Path) -> None:
    """Other images of a session have no verdict on the face."""
    path = tmp_path / "defacing.tsv"
    write_rows(path, DefacingRow, [DefacingRow(**SUBJECT, version="1", brain_verdict="pass")])
    before = path.read_bytes()
    write_rows(path, DefacingRow, merge_rows(read_rows(path, DefacingRow), []))
    assert path.read_bytes() == before


def test_status_rows(tmp_path: Path) -> None:
    problem = ImageProblem(participant="02", session=None, bids_path=None, message="No image.")
    rows = [
        failed_row(IMAGE, "pydeface", Crash(image="i", tool="pydeface", stage="reface", message="No memory.")),
        problem_row(problem),
        done_row(IMAGE, "quickshear", None, 1.5),
    ]
    write_rows(tmp_path / "status.tsv", StatusRow, rows)
    first, second, third = read_table(tmp_path / "status.tsv")
    assert (first["tool"], first["stage"], first["status"]) == ("pydeface", "reface", "failed")
    assert (first["message"], first["run_time_s"]) == ("No memory.", None)
    assert (second["participant_id"], second["image"], second["stage"]) == ("sub-02", None, "input")
    assert (third["status"], third["message"], third["run_time_s"]) == ("ok", None, "1.5")
    assert (second["status"], second["message"]) == ("failed", "No image.")


def row(participant: str, image: str | None, tool: str | None, value: int) -> DistanceRow:
    return DistanceRow(participant_id=participant, image=image, tool=tool, sample=value)


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
    write_rows(tmp_path / "t.tsv", DistanceRow, [row("sub-01", None, None, 1), row("sub-01", "a", "t", 1)])
    merged = merge_rows(read_rows(tmp_path / "t.tsv", DistanceRow), [row("sub-01", "a", "t", 2)])
    assert [(entry.image, entry.sample) for entry in merged] == [("a", 2)]


def test_order_within_an_image_is_kept() -> None:
    new = [row("sub-01", "a", "t", sample) for sample in (3, 1, 2)]
    assert [entry.sample for entry in merge_rows([], new)] == [3, 1, 2]


def test_every_table_gets_its_rows_and_keeps_those_of_others(tmp_path: Path) -> None:
    """Rows of an image and tool that the run was about are replaced, those of others stay."""
    layout = layout_of(tmp_path)
    other = {"participant_id": "sub-02", "image": "b", "tool": "t"}
    for name, value in (("first", 1.0), ("again", 2.0)):
        subjects = [SUBJECT] if name == "again" else [SUBJECT, other]
        tables = Tables(
            status=[StatusRow(**subject, run_time_s=value) for subject in subjects],
            defacing=[DefacingRow(**subject, run_time_s=value) for subject in subjects],
            distances=[DistanceRow(**subject, masd_mm=value) for subject in subjects],
            calibration=[CalibrationRow(**subject, error_mm=value) for subject in subjects],
        )
        write_tables(tables, layout, Places())
    for kind, figure in (
        (StatusRow, "run_time_s"),
        (DefacingRow, "run_time_s"),
        (DistanceRow, "masd_mm"),
        (CalibrationRow, "error_mm"),
    ):
        found = {row.participant_id: getattr(row, figure) for row in rows_of(layout, kind)}
        assert found == {"sub-01": 2.0, "sub-02": 1.0}, kind
    assert not dataset_table(layout, "participants").exists(), "no participant has a folder"
