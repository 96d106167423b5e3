"""Records: typed when they are read, and the same JSON when they are written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from output_folders import identifiable, layout_of, shareable
from records_by_hand import image_of

from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.records import (
    DefacedRecord,
    Record,
    discard,
    is_current,
    read_defaced_record,
    read_record,
)
from bids_refacer.dataset.rows.checked import output_of
from bids_refacer.files import write_json

IMAGE = "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
FIGURES = ("masd_mm", "to_true_mm", "to_recovered_mm", "median_mm", "p95_mm", "hausdorff_mm", "signed_mean_mm")
ROW = {"image_type": "refaced", "sample": 1, "part": "face", **dict.fromkeys(FIGURES, 1.25), "n_vertices": 10}
START = {
    "Image": IMAGE,
    "Tool": "t",
    "Key": {"Tool": "t", "Seed": 0, "Steps": None},
    "Input": {"Size": 6, "ModifiedNs": 12, "SHA256": "ab"},
}
DEFACE = {
    "Tool": "t",
    "Version": "1",
    "Command": "t IN OUT",
    "OfTheTool": [1, {"a": None}],
    "QualityControl": {"removed_ml": 900, "brain_removed_percent": 0.5},
    "Warnings": ["made for T1w."],
    "RunTime": 3.25,
    "DefacingFigures": {
        "FaceLeft": {"nose": 2.5, "chin": None},
        "BrainCut": {"ml": 0.1, "percent": 0.2, "hole_ml": 0.05},
        "Brain": {"original": {"volume_ml": 1500.5, "contrast": 0.2}, "defaced": {"volume_ml": None, "dice": 0.9}},
    },
}
DEFACED = {**START, "Deface": DEFACE, "RunTime": 3.25, "Outputs": {"a.nii.gz": 4}, "KeptRefaced": True}
AUDITED = {
    **START,
    "KeptRefaced": True,
    "Deface": DEFACE,
    "Reface": {"Options": {"Steps": [12, 20]}, "Warnings": ["noisy"], "RunTime": 2.5, "FaceMM": 3.0},
    "Score": {"RunTime": 1.5},
    "RunTime": 7.2,
    "Rows": [ROW, {**ROW, "sample": None, "masd_mm": None, "p95_mm": 2}],
    "Calibration": [
        {
            "part": "face",
            "bin_low_mm": 0.5,
            "area_mm2": 10.0,
            "predicted_mm": 0.75,
            "error_mm": 1.0,
            "covered_50": 0.5,
            "covered_90": 1.0,
        }
    ],
    "Outputs": {"a.nii.gz": 4, "identifiable/b.nii.gz": 5},
}


@pytest.mark.parametrize(("kind", "content"), [(Record, AUDITED), (DefacedRecord, DEFACED)])
def test_a_record_is_written_as_it_was_read(kind: type[DefacedRecord], content: dict[str, Any]) -> None:
    assert json.dumps(kind.from_json(content).to_json()) == json.dumps(content)


def test_a_record_is_typed() -> None:
    record = Record.from_json(AUDITED)
    first, second = record.distances
    assert (first.participant_id, first.session_id, first.image, first.tool) == ("sub-01", "ses-a", IMAGE, "t")
    assert (first.masd_mm, first.sample, second.masd_mm, second.sample) == (1.25, 1, None, None)
    assert record.calibration[0].covered_90 == 1.0 and record.reface.steps == (12, 20)
    assert (record.deface.quality.removed_ml, record.deface.quality.removed_head_ml) == (900, None)
    assert record.deface.figures.face_left == {"nose": 2.5, "chin": None}
    assert record.deface.figures.brain_cut.hole_ml == 0.05 and record.deface.figures.defaced.dice == 0.9
    assert (record.deface.warnings, record.reface.warnings) == (("made for T1w.",), ("noisy",))
    assert DefaceDetails.from_json({}).figures.brain_cut.percent is None
    old = {"Verdict": DEFACE["DefacingFigures"]}  # as older outputs have it
    assert DefaceDetails.from_json(old).figures == record.deface.figures


def test_an_image_of_no_session_has_none() -> None:
    record = Record.from_json({**AUDITED, "Image": "sub-01/anat/sub-01_T1w.nii.gz"})
    assert (record.distances[0].participant_id, record.distances[0].session_id) == ("sub-01", None)


@pytest.mark.parametrize("name", sorted(set(AUDITED) - {"Score", "Calibration"}))
def test_a_record_that_lacks_a_member_is_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({key: value for key, value in AUDITED.items() if key != name}))
    assert read_record(path) is None
    assert (read_defaced_record(path) is None) == (name not in ("Rows", "Reface"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"Key": []},
        {"Tool": 3},
        {"KeptRefaced": "yes"},
        {"RunTime": "1"},
        {"Outputs": {"a": "4"}},
        {"Input": {"Size": "big"}},
        {"Rows": [{**ROW, "colour": "red"}]},
        {"Rows": [{**ROW, "masd_mm": "1"}]},
        {"Rows": [{**ROW, "sample": True}]},
        {"Deface": {"Version": 1}},
        {"Deface": {"QualityControl": {"removed_ml": "9"}}},
        {"Deface": {"DefacingFigures": {"FaceLeft": {"nose": "all"}}}},
    ],
)
def test_a_record_with_a_wrong_type_is_none(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(AUDITED))
    assert read_record(path) is not None
    path.write_text(json.dumps({**AUDITED, **wrong}))
    assert read_record(path) is None


def test_outputs_of_a_record_that_cannot_be_used_are_removed_all_the_same(tmp_path: Path) -> None:
    folder = shareable(tmp_path)
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"1234")
    path = folder / "r.json"
    path.write_text(json.dumps({"Outputs": {"a.nii.gz": 4}, "Deface": "?"}))
    discard(path, layout_of(tmp_path))
    assert list(folder.iterdir()) == []


OUTSIDE = (
    "../victim",
    "/victim",
    "sub-01/../../victim",
    "sub-01//../victim",
    "link/victim",
    "identifiable/link/victim",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_record_that_names_files_elsewhere_counts_as_none(name: str, tmp_path: Path) -> None:
    """Nothing is removed for it, neither there nor here."""
    output, victim = tmp_path / "out", tmp_path / "victim"
    for folder in (shareable(output), identifiable(output)):
        folder.mkdir(parents=True)
        (folder / "link").symlink_to(tmp_path)
    own, record = shareable(output) / "a.nii.gz", shareable(output) / ".bids_refacer" / "record.json"
    own.write_bytes(b"1234")
    victim.write_bytes(b"1234")
    outputs = {"a.nii.gz": 4, name.replace("/victim", str(victim)) if name.startswith("/") else name: 4}
    write_json(record, {**DEFACED, "Outputs": outputs})
    image = image_of(tmp_path / "bids", "sub-01_T1w")
    assert not is_current(read_defaced_record(record), DEFACED["Key"], image, layout_of(output), keep_refaced=True)
    discard(record, layout_of(output))
    assert (victim.exists(), own.exists(), record.exists()) == (True, True, False)


def test_the_identifiable_dataset_may_lie_on_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk" / "sub-01").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (identifiable(tmp_path / "out")).symlink_to(tmp_path / "disk")
    assert output_of(layout_of(tmp_path / "out"), "identifiable/sub-01/a.nii.gz") is not None
    assert output_of(layout_of(tmp_path / "out"), "identifiable/../a.nii.gz") is None


@pytest.mark.parametrize(
    "change", [{"Image": "../sub-01_T1w.nii.gz"}, {"Image": "/sub-01_T1w.nii.gz"}, {"Tool": "../t"}]
)
def test_a_record_about_what_cannot_be_counts_as_none(change: dict[str, str], tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {**AUDITED, **change})
    assert read_record(tmp_path / "record.json") is None


def test_a_record_that_is_nested_too_deeply_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"Key": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert read_record(tmp_path / "record.json") is None
    discard(tmp_path / "record.json", layout_of(tmp_path))
    assert not (tmp_path / "record.json").exists()
