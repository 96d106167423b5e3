"""What is left out of a training, and why: flags, faces out of view, people who are there twice; and the split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_heads import average_heads

from bids_refacer.dataset.rows.tsv import TableError
from bids_refacer.surfaces.region import ASSET, PARTS
from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.measurements import NOSE_LABEL, ImageFacts, SourceImage, nose_cut
from bids_refacer.training.data.selection import (
    MOST_NOSE_CUT,
    TRAIN,
    VAL,
    Dropped,
    Limits,
    TrainingDataError,
    cut_off,
    decide,
    flagged,
    read_rows,
    split_of,
    splits,
    write_dropped,
)
from bids_refacer.volumes.templates import asset

LIMITS = Limits(max_roughness_mm=0.3, max_dental_void_cm2=4.0)


def facts(participant: str, image: str = "", **changes: object) -> ImageFacts:
    name = image or f"sub-{participant}"
    told = SourceImage(name=name, participant=participant, bids_path=f"sub-{participant}/anat/{name}_T1w.nii.gz")
    values = {"file_sha256": f"file {name}", "voxels_sha256": f"voxels {name}"}
    return ImageFacts(image=told, **{**values, **changes})


def view_until(head: Head, end: int) -> Head:
    """A field of view that ends in front before the voxel `end` along y."""
    seen = head.seen.copy()
    seen[:, end:] = False
    return replace(head, seen=seen, stored=np.where(seen, head.stored, 0).astype(np.uint8))


def test_the_label_is_the_nose() -> None:
    assert PARTS[NOSE_LABEL - 1] == "nose" and ASSET == "face_parts.nii.gz"
    assert (asset(ASSET).values == NOSE_LABEL).any()


def test_a_whole_head_has_its_nose_in_view() -> None:
    assert [nose_cut(head) for head in average_heads()] == [0.0, 0.0]


def test_a_nose_that_the_view_cuts_off_is_noticed_at_its_tip() -> None:
    head = average_heads()[0]
    tissue = np.argwhere((head.values > -0.6) & (asset(ASSET).values == NOSE_LABEL))
    last = int(tissue[:, 1].max())
    assert nose_cut(view_until(head, last + 2)) == 0, "one voxel of air before the tip is in view"
    little, much = nose_cut(view_until(head, last)), nose_cut(view_until(head, last - 5))
    assert MOST_NOSE_CUT < little < much < 1
    assert cut_off(facts("1", nose_cut=little), {}) == (
        f"Its nose is cut off by the field of view ({100 * little:.1f} % of its front)."
    )


def test_the_table_is_believed_about_the_nose() -> None:
    cut = facts("1", nose_cut=0.5)
    assert cut_off(cut, {"nose_in_fov": "1"}) is None
    assert cut_off(cut, {"nose_in_fov": "n/a"}) is not None
    assert flagged({"nose_in_fov": "0"}, TRAIN, LIMITS) is not None
    assert flagged({"nose_in_fov": "n/a"}, TRAIN, LIMITS) is None


def test_cut_faces_are_kept_when_that_is_asked_for() -> None:
    limits = Limits(max_roughness_mm=0.3, max_dental_void_cm2=4.0, keep_cut_faces=True)
    assert flagged({"nose_in_fov": "0"}, TRAIN, limits) is None
    cut = [facts("1", nose_cut=0.5)]
    assert decide(cut, {"1": {}})[0] == [] and decide(cut, {"1": {}}, keep_cut_faces=True) == (cut, [])


@pytest.mark.parametrize(
    ("row", "split", "sentence"),
    [
        ({"nose_in_fov": "0"}, VAL, "Its nose is not in the field of view (nose_in_fov in participants.tsv)."),
        (
            {"roughness_mm": "0.31"},
            TRAIN,
            "Artefact: its roughness_mm in participants.tsv is 0.31 mm, above 0.3.",
        ),
        ({"dental_void_cm2": "8.5"}, TRAIN, "Artefact: its dental_void_cm2 in participants.tsv is 8.5 cm2, above 4."),
        ({"split": "test"}, "test", "Its split in participants.tsv is 'test', neither train nor val."),
    ],
)
def test_flags_of_the_table(row: dict[str, str], split: str, sentence: str) -> None:
    assert flagged(row, split, LIMITS) == sentence


def test_values_at_the_limit_and_missing_ones_pass() -> None:
    row = {"roughness_mm": "0.3", "dental_void_cm2": "n/a", "nose_in_fov": "1"}
    assert flagged(row, TRAIN, LIMITS) is None and flagged({}, VAL, LIMITS) is None


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(TrainingDataError) as caught:
        flagged({"participant_id": "sub-7", "roughness_mm": "rough"}, TRAIN, LIMITS)
    assert str(caught.value) == ("participants.tsv gives 'rough' for roughness_mm of sub-7: write a number or n/a.")


def test_the_same_file_under_two_participants_leaves_the_second_out_whole() -> None:
    twins = [facts("2", "sub-2_ses-b"), facts("2", "sub-2_ses-a", file_sha256="file sub-1")]
    all_facts = [*twins, facts("1"), facts("3")]
    kept, dropped = decide(all_facts, {"1": {}, "2": {}, "3": {}})
    assert [fact.image.participant for fact in kept] == ["1", "3"]
    assert [item.bids_path for item in dropped] == [f"sub-2/anat/sub-2_ses-{s}_T1w.nii.gz" for s in "ab"]
    assert dropped[1].reason == (
        "Its participant has an image (sub-2/anat/sub-2_ses-a_T1w.nii.gz) that is also sub-1/anat/sub-1_T1w.nii.gz: "
        "the same person under two labels."
    )


def test_the_same_voxels_in_another_file_are_the_same_person() -> None:
    kept, dropped = decide([facts("1"), facts("2", voxels_sha256="voxels sub-1")], {"1": {}, "2": {}})
    assert [fact.image.participant for fact in kept] == ["1"] and "same person" in dropped[0].reason


def test_an_image_that_a_participant_has_twice_is_kept_once() -> None:
    twice = [facts("1", "sub-1_run-1"), facts("1", "sub-1_run-2", voxels_sha256="voxels sub-1_run-1")]
    kept, dropped = decide(twice, {"1": {}})
    assert [fact.image.name for fact in kept] == ["sub-1_run-1"]
    assert dropped[0].reason == "It is the same image as sub-1/anat/sub-1_run-1_T1w.nii.gz."


def test_a_twin_whose_face_is_cut_off_is_still_a_twin() -> None:
    kept, dropped = decide([facts("1", nose_cut=0.5), facts("2", file_sha256="file sub-1")], {"1": {}, "2": {}})
    assert not kept and "cut off" in dropped[0].reason and "same person" in dropped[1].reason


def test_unreadable_images_keep_their_sentence_and_are_nobodys_twin() -> None:
    broken = {"file_sha256": "same", "voxels_sha256": "", "problem": "x.nii.gz is truncated."}
    kept, dropped = decide([facts("1", **broken), facts("2", **broken)], {"1": {}, "2": {}})
    assert not kept and [item.reason for item in dropped] == ["x.nii.gz is truncated."] * 2


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    told = facts("1", nose_cut=0.125, problem="a sentence.")
    told.write(tmp_path / "sub-1.json")
    assert ImageFacts.read(tmp_path / "sub-1.json") == told
    assert [path.name for path in tmp_path.iterdir()] == ["sub-1.json"]


def test_the_table_of_what_is_left_out(tmp_path: Path) -> None:
    dropped = [
        Dropped(participant="2", bids_path="", reason="It has no image."),
        Dropped(participant="1", bids_path="sub-1/anat/sub-1_T1w.nii.gz", reason="It has no face."),
    ]
    write_dropped(tmp_path / "dropped.tsv", dropped)
    assert (tmp_path / "dropped.tsv").read_text().splitlines() == [
        "participant_id\timage\treason",
        "sub-1\tsub-1/anat/sub-1_T1w.nii.gz\tIt has no face.",
        "sub-2\tn/a\tIt has no image.",
    ]


def test_rows_by_label(tmp_path: Path) -> None:
    assert read_rows(tmp_path, ["1"]) == {"1": {}}
    (tmp_path / "participants.tsv").write_text("\ufeffparticipant_id\tsplit\nsub-1\tval\n")
    rows = read_rows(tmp_path, ["1", "2"])
    assert rows["1"]["split"] == "val"
    assert rows["2"]["split"] == "", "whoever is not in a table that splits is in no split"
    assert "neither train nor val" in (flagged(rows["2"], split_of("2", rows["2"], 0, 0.1), LIMITS) or "")


def test_a_table_without_participants_is_refused(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text("id,split\n1,val\n")
    with pytest.raises(TableError, match="participants.tsv has no column 'participant_id': add it, .* by tabs"):
        read_rows(tmp_path, ["1"])


def test_the_split_is_a_function_of_label_and_seed() -> None:
    labels = [str(number) for number in range(2000)]
    rows = {label: {} for label in labels}
    first = splits(labels, rows, 0, 0.1)
    assert 0.08 < sum(value == VAL for value in first.values()) / 2000 < 0.12
    assert splits(labels[::-1][:500], rows, 0, 0.1) == {label: first[label] for label in labels[::-1][:500]}
    other = splits(labels, rows, 1, 0.1)
    assert 0.1 < sum(first[label] != other[label] for label in labels) / 2000 < 0.3
    assert set(splits(labels, rows, 0, 0.0).values()) == {TRAIN}


def test_a_column_wins_over_the_hash() -> None:
    labels = [str(number) for number in range(50)]
    assert set(splits(labels, {label: {"split": "train"} for label in labels}, 0, 0.5).values()) == {TRAIN}
