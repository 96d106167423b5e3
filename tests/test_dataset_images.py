"""Which images are found in a dataset, and what is said about the others."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.images import find_images, participant_labels, session_labels

IMAGES = (
    "sub-01/anat/sub-01_T1w.nii.gz",
    "sub-01/anat/sub-01_run-2_T1w.nii.gz",
    "sub-01/anat/sub-01_T2w.nii.gz",
    "sub-02/ses-a/anat/sub-02_ses-a_acq-x_rec-y_run-01_echo-1_part-mag_T1w.nii",
    "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz",
    "sub-03/anat/sub-03_FLAIR.nii.gz",
)


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    others = (
        "sub-01/anat/sub-01_T1w.json",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
        "sub-01/derivatives/anat/sub-01_desc-x_T1w.nii.gz",
        "derivatives/other/sub-01/anat/sub-01_desc-x_T1w.nii.gz",
        "sourcedata/raw/sub-01/anat/sub-01_acq-raw_T1w.nii.gz",
        ".git/sub-01/anat/sub-01_acq-git_T1w.nii.gz",
    )
    for name in IMAGES + others:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return root


def found(bids: Path, **options) -> list[str]:
    return [image.bids_path for image in find_images(bids, **options).images]


def test_all_images_of_a_suffix_sorted(bids: Path) -> None:
    assert found(bids) == sorted(name for name in IMAGES if "T1w" in name)


def test_several_suffixes(bids: Path) -> None:
    assert found(bids, suffixes=("T1w", "T2w", "FLAIR")) == sorted(IMAGES)


def test_an_image_knows_its_entities(bids: Path) -> None:
    image = find_images(bids, participants=("02",), sessions=("a",)).images[0]
    assert image.entities == {
        **{"sub": "02", "ses": "a", "acq": "x", "rec": "y"},
        **{"run": "01", "echo": "1", "part": "mag"},
    }
    assert (image.participant, image.session, image.suffix) == ("02", "a", "T1w")
    assert image.path == bids / IMAGES[3]
    assert image.bids_uri == f"bids:raw:{IMAGES[3]}"
    assert pickle.loads(pickle.dumps(image)) == image  # images travel to worker processes
    assert len({image, image}) == 1


def test_participants_and_sessions(bids: Path) -> None:
    assert found(bids, participants=("01",)) == sorted(IMAGES[:2])
    assert found(bids, participants=("02",), sessions=("b",)) == [IMAGES[4]]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"T1w": {"run": 2}}, [IMAGES[1]]),
        ({"t1w": {"acquisition": "x"}}, [IMAGES[3]]),
        ({"T1w": {"run": None, "session": None}}, [IMAGES[0]]),
        ({"T1w": {"run": "*"}}, [IMAGES[1], IMAGES[3]]),
        ({"T1w": {"session": ["a", "b"]}, "bold": {"task": "rest"}}, [IMAGES[3], IMAGES[4]]),
        ({"T1w": {"session": [None, "b"]}}, [IMAGES[0], IMAGES[1], IMAGES[4]]),
    ],
)
def test_filter_file(bids: Path, tmp_path: Path, filters: dict, expected: list[str]) -> None:
    (tmp_path / "f.json").write_text(json.dumps(filters))
    assert found(bids, filter_file=tmp_path / "f.json") == expected


def test_filter_with_an_unknown_entity(bids: Path, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{"T1w": {"acquisitio": "x"}}')
    with pytest.raises(DatasetError, match="filters for T1w in .*f.json cannot be used .*acquisitio.*: use pybids"):
        find_images(bids, filter_file=tmp_path / "f.json")


def test_participants_without_images_are_named(bids: Path) -> None:
    (problem,) = find_images(bids).problems
    assert (problem.participant, problem.session, problem.bids_path) == ("03", None, None)
    assert problem.message.startswith(f"{bids / 'sub-03'} has no T1w image: add one below an anat folder")


def test_the_reason_names_session_and_filter(bids: Path, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{"T1w": {"run": 7}}')
    problems = find_images(
        bids, participants=("02",), sessions=("a", "b"), suffixes=("T1w", "T2w"), filter_file=tmp_path / "f.json"
    ).problems
    assert "has no T1w or T2w image in session a or b that matches the filter file: " in problems[0].message


def test_broken_annex_link_is_named_not_skipped(bids: Path) -> None:
    link = bids / "sub-03/anat/sub-03_T1w.nii.gz"
    link.symlink_to("../../.git/annex/objects/aa/bb/key")
    selection = find_images(bids, participants=("03",))
    assert selection.images == ()
    (problem,) = selection.problems
    assert problem.bids_path == "sub-03/anat/sub-03_T1w.nii.gz"
    assert problem.message.startswith(f"{link} is a broken link to ../../.git/annex/objects/aa/bb/key; ")
    assert "run 'git annex get' or 'datalad get' on it" in problem.message


def test_other_broken_link(bids: Path) -> None:
    (bids / "sub-03/anat/sub-03_T1w.nii.gz").symlink_to("nowhere.nii.gz")
    (problem,) = find_images(bids, participants=("03",)).problems
    assert problem.message.endswith("is a broken link to nowhere.nii.gz; repair the link or remove it.")


def test_link_that_works_is_followed(bids: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "anat").mkdir(parents=True)
    (tmp_path / "elsewhere" / "anat" / "sub-04_T1w.nii.gz").write_text("")
    (bids / "sub-04").symlink_to(tmp_path / "elsewhere")
    assert found(bids, participants=("04",)) == ["sub-04/anat/sub-04_T1w.nii.gz"]


def test_participant_folder_that_is_a_broken_link(bids: Path) -> None:
    (bids / "sub-05").symlink_to("nowhere")
    assert participant_labels(bids) == ["01", "02", "03", "05"]
    (problem,) = find_images(bids, participants=("05",)).problems
    assert problem.message == f"{bids / 'sub-05'} is a broken link to nowhere: repair the link or remove it."


def test_same_name_with_two_extensions(bids: Path) -> None:
    (bids / "sub-01/anat/sub-01_T1w.nii").write_text("")
    selection = find_images(bids, participants=("01",))
    assert [image.path.name for image in selection.images] == ["sub-01_T1w.nii", "sub-01_run-2_T1w.nii.gz"]
    (problem,) = selection.problems
    assert "sub-01_T1w.nii.gz has the same name as sub-01_T1w.nii but for its extension" in problem.message


def test_dataset_through_a_link(bids: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bids)
    images = find_images(tmp_path / "link").images
    assert images[0].path == tmp_path / "link" / images[0].bids_path


def test_sessions_of_a_dataset(bids: Path) -> None:
    assert session_labels(bids) == ["a", "b"]
    assert session_labels(bids, ("01",)) == []


def test_database_is_made_and_used_again(bids: Path, tmp_path: Path) -> None:
    first = find_images(bids, database_dir=tmp_path / "db")
    assert list((tmp_path / "db").iterdir())
    (bids / IMAGES[1]).unlink()
    again = find_images(bids, database_dir=tmp_path / "db")
    assert len(again.images) == len(first.images) - 1
    lost = next(problem for problem in again.problems if problem.bids_path == IMAGES[1])
    assert "is listed in the pybids database but is not on disk: delete the database" in lost.message


def test_database_of_another_dataset(bids: Path, tmp_path: Path) -> None:
    find_images(bids, database_dir=tmp_path / "db")
    (tmp_path / "other").mkdir()
    with pytest.raises(DatasetError, match=f"db was made for {bids}, not {tmp_path / 'other'}: delete it, or give"):
        find_images(tmp_path / "other", database_dir=tmp_path / "db")


def test_database_that_is_damaged(bids: Path, tmp_path: Path) -> None:
    find_images(bids, database_dir=tmp_path / "db")
    for file in (tmp_path / "db").iterdir():
        file.write_text("damaged")
    with pytest.raises(DatasetError, match="database .*db cannot be read or made .*: delete it, or give another"):
        find_images(bids, database_dir=tmp_path / "db")


def test_nothing_is_written_to_the_input(bids: Path) -> None:
    def listing() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_mtime_ns) for path in bids.rglob("*"))

    before = listing()
    find_images(bids)
    assert listing() == before


def test_unit1_in_the_place_of_t1w(bids: Path) -> None:
    """MP2RAGE has no T1w image; a session with one keeps it, and who filters gets what was filtered."""
    for name in ("sub-01/anat/sub-01_UNIT1", "sub-02/ses-c/anat/sub-02_ses-c_UNIT1", "sub-03/anat/sub-03_UNIT1"):
        (bids / name).parent.mkdir(parents=True, exist_ok=True)
        (bids / f"{name}.nii.gz").write_text("{}")
    taken = ["sub-02/ses-c/anat/sub-02_ses-c_UNIT1.nii.gz", "sub-03/anat/sub-03_UNIT1.nii.gz"]
    assert [name for name in found(bids) if "UNIT1" in name] == taken
    assert found(bids, participants=("03",)) == taken[1:]
    assert found(bids, participants=("03",), suffixes=("T2w",)) == []
    assert len(found(bids, suffixes=("UNIT1",))) == 3
    filters = bids.parent / "filters.json"
    filters.write_text(json.dumps({"T1w": {"run": None}}))
    assert not any("UNIT1" in name for name in found(bids, filter_file=filters))
