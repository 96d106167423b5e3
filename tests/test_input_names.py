"""Images whose names or places cannot be relied on: each is refused by name, with the remedy, and no other one is."""

from __future__ import annotations

from pathlib import Path

import pytest
from output_folders import shareable
from small_datasets import run_with_stand_in, settings_for, start_dataset

from bids_refacer.audit.other_images import Others, about_passed_over, choose, describe_others, passed_over_rows
from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.inputs.naming import name_problem, suffix_in
from bids_refacer.dataset.tables import read_table

MOVE = "or move it out of the dataset."
GOOD = "sub-01/anat/sub-01_T1w.nii.gz"
ENDINGS = ("_ND", "__dup-01", "_Crop_1", "_ROI1", "_Eq_1", "_heudiconv123", "_run-2", "_T2w", "_a", "_defaced")


def add(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    root = start_dataset(tmp_path / "in")
    add(root, GOOD)
    return root


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_suffix_is_what_stands_before_any_ending(ending: str) -> None:
    key = ImageKey.of(f"sub-01_acq-x_T1w{ending}.nii.gz")
    assert (key.suffix, key.ending, key.entities) == ("T1w", ending, {"sub": "01", "acq": "x"})
    assert ImageKey.of("sub-01_new_more.nii").suffix == "new" and ImageKey.of("sub-01_T1w.nii").ending == ""


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_name_that_goes_on_after_its_suffix_is_refused_beside_an_image_that_is_not(bids: Path, ending: str) -> None:
    name = f"sub-01/anat/sub-01_T1w{ending}.nii.gz"
    add(bids, name, "sub-01/anat/sub-01_run-2_T1w.nii.gz")
    selection = find_images(bids)
    assert [image.bids_path for image in selection.images] == [GOOD, "sub-01/anat/sub-01_run-2_T1w.nii.gz"]
    (problem,) = selection.problems
    assert (problem.participant, problem.bids_path) == ("01", name)
    assert problem.message == (
        f"{bids / name}: its name goes on after the suffix T1w ({ending!r}), which BIDS does not allow, so that it is "
        f"not known what the image is: rename it to a BIDS name such as sub-01_run-3_T1w.nii.gz, {MOVE}"
    )


def test_a_filter_that_asks_for_an_ending_gets_no_image(bids: Path, tmp_path: Path) -> None:
    add(bids, "sub-01/anat/sub-01_T1w_ND.nii.gz")
    (tmp_path / "f.json").write_text('{"T1w": {"suffix": "ND"}}')
    selection = find_images(bids, filter_file=tmp_path / "f.json")
    assert selection.images == () and "('_ND')" in selection.problems[0].message


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "sub-WMH_MRI_21/anat/sub-WMH_MRI_21_T1w.nii.gz",
            "the label 'WMH_MRI_21' of the participant is not one that BIDS allows (letters, digits and + alone): "
            "rename the folder and its files, for example to sub-WMHMRI21.",
        ),
        (
            "sub-1/ses-a.b/anat/sub-1_ses-a.b_T1w.nii.gz",
            "the label 'a.b' of the session is not one that BIDS allows (letters, digits and + alone): "
            "rename the folder and its files, for example to ses-ab.",
        ),
        (
            "sub-1/anat/sub-1_acq-0.8mm_T1w.nii.gz",
            "the label '0.8mm' of acq is not one that BIDS allows (letters, digits and + alone): rename it, for "
            f"example to acq-0p8mm, {MOVE}",
        ),
        (
            "sub-1/anat/sub-1_T1w.NII.gz",
            f"the extension .NII.gz is .nii.gz in BIDS: rename it to sub-1_T1w.nii.gz, {MOVE}",
        ),
        ("sub-1/anat/sub-1_T1w.Nii", f"the extension .Nii is .nii in BIDS: rename it to sub-1_T1w.nii, {MOVE}"),
        ("sub-1/anat/sub-1_t1W.nii", f"the suffix t1W is T1w in BIDS: rename it to sub-1_T1w.nii, {MOVE}"),
        (
            "sub-1/anat/sub-1_T1w copy.nii",
            f"'T1w copy' is no suffix that BIDS allows: end its name in one, such as _T1w, {MOVE}",
        ),
        (
            "sub-1/anat/sub-1_odd_T1w.nii",
            f"'odd' in its name is no entity with a label, such as acq-odd: rename it, {MOVE}",
        ),
        ("sub-1/anat/sub-1_acq-a_acq-b_T1w.nii", f"its name has the entity acq more than once: rename it, {MOVE}"),
        ("sub-1/anat/T1w.nii.gz", f"its name is of no participant: begin it with sub-1_, {MOVE}"),
        (
            "sub-1/anat/sub-2_T1w.nii",
            "by its name it belongs into sub-2/anat, and it lies in sub-1/anat: rename it after its folder, move it to "
            f"where it belongs, {MOVE}",
        ),
        (
            "sub-1/ses-a/anat/sub-1_T1w.nii",
            "by its name it belongs into sub-1/anat, and it lies in sub-1/ses-a/anat: rename it after its folder, "
            f"move it to where it belongs, {MOVE}",
        ),
        (
            "sub-1/anat/orig/sub-1_T1w.nii",
            "by its name it belongs into sub-1/anat, and it lies in sub-1/anat/orig: rename it after its folder, "
            f"move it to where it belongs, {MOVE}",
        ),
    ],
)
def test_what_is_wrong_with_a_name_is_said_instead_of_that_there_is_no_image(
    bids: Path, name: str, problem: str
) -> None:
    add(bids, name)
    selection = find_images(bids)
    assert [image.bids_path for image in selection.images] == [GOOD]
    (found,) = selection.problems
    assert (f"sub-{found.participant}", found.bids_path) == (Path(name).parts[0], name)
    assert found.message == f"{bids / name}: {problem}"


@pytest.mark.parametrize("name", ["sub-1/ses-a/anat/sub-1_ses-a_acq-x+y_run-01_T1w.nii", "sub-1/anat/sub-1_new.nii.gz"])
def test_a_name_of_bids_in_its_place_is_right(name: str) -> None:
    assert name_problem(Path("/in") / name, Path("/in")) is None


def test_suffixes_are_read_whatever_else_is_wrong() -> None:
    names = ("sub-1_T1w-2.nii", "sub-1_t1w.NII", "sub-1_T1w (1).nii.gz", "sub-1_T1w__dup-2.nii.gz", "sub-1_new_x.nii")
    assert list(map(suffix_in, names)) == ["T1w", "T1w", "T1w", "T1w", "new"]


def test_an_image_in_the_folder_of_another_participant_is_that_ones_problem(bids: Path) -> None:
    add(bids, "sub-02/anat/sub-01_T1w.nii.gz")
    assert find_images(bids, participants=("01",)).problems == ()
    (problem,) = find_images(bids, participants=("02",)).problems
    assert problem.participant == "02" and "sub-02/anat/sub-01_T1w.nii.gz: by its name" in problem.message


def test_sessions_and_hidden_files_are_left_out(bids: Path) -> None:
    add(bids, "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii", "sub-02/ses-b/anat/sub-02_ses-b_T1w_ND.nii")
    add(bids, "sub-02/ses-a/anat/._sub-02_ses-a_T1w_ND.nii", "sub-02/ses-a/anat/sub-02_ses-a_T1w_mask.nii")
    assert find_images(bids, participants=("02",), sessions=("a",)).problems == ()
    assert [one.session for one in find_images(bids, participants=("02",)).problems] == ["b"]


@pytest.mark.parametrize("apply", [False, True])
def test_other_images_are_refused_too_and_have_a_row(bids: Path, tmp_path: Path, apply: bool) -> None:
    """Also where a filter is about the suffix: the run is not about such an image then, and says so."""
    add(
        bids,
        "sub-01/anat/sub-01_T2w__dup-01.nii.gz",
        "sub-01/anat/orig/sub-01_FLAIR.nii.gz",
        GOOD.replace("T1w", "T1w_ND"),
    )
    (tmp_path / "f.json").write_text('{"T1w": {"run": null}}')
    settings = settings_for(bids, tmp_path / "out", apply_to_others=apply, bids_filter_file=tmp_path / "f.json")
    selection, others = choose(find_images(bids, filter_file=tmp_path / "f.json"), settings)
    assert [image.bids_path for image in selection.images] == [GOOD] and others.images == others.passed_over == ()
    assert selection.problems == ()
    problems = others.problems if apply else others.misnamed
    assert [str(problem.bids_path).split("anat/")[1] for problem in problems] == [
        "orig/sub-01_FLAIR.nii.gz",
        "sub-01_T1w_ND.nii.gz",
        "sub-01_T2w__dup-01.nii.gz",
    ]
    rows = passed_over_rows(others, settings)
    assert [(row.status, row.message) for row in rows] == (
        [] if apply else [("skipped", one.message) for one in problems]
    )
    said = about_passed_over(rows, others.misnamed)
    assert said == ([] if apply else [f"Warning: {problem.message}" for problem in problems])
    assert {problem.message for problem in problems} <= set(describe_others(others, settings))


def test_a_run_has_a_row_for_each_and_ends_with_1(tmp_path: Path) -> None:
    root = start_dataset(tmp_path / "in")
    names = ["sub-WMH_MRI_21/anat/sub-WMH_MRI_21_T1w.nii.gz", "sub-01/anat/orig/sub-01_T1w.nii.gz"]
    add(root, *names, "sub-01/anat/sub-01_T2w_ND.nii.gz")
    done = run_with_stand_in(settings_for(root, tmp_path / "out"))
    assert done.code == 1 and "Traceback" not in done.out + done.err and "could not be made" not in done.out
    rows = {str(row["image"]): row for row in read_table(shareable(done.settings.output_dir) / "status.tsv")}
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(names, "failed"),
        "sub-01/anat/sub-01_T2w_ND.nii.gz": "skipped",
    }
    assert rows[names[0]]["participant_id"] == "sub-WMH_MRI_21"
    assert "Warning: " in done.out and "goes on after the suffix T2w ('_ND')" in done.out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "an audited image of its session."),
        ({"bids_filter_file": "f.json"}, "of its session, or leave out the filter that it did not match."),
        ({"bids_database_dir": "db"}, "of its session, or delete the pybids database, which does not know it."),
    ],
)
def test_a_filter_is_named_only_where_there_is_one(bids: Path, tmp_path: Path, changes: dict, words: str) -> None:
    settings = settings_for(bids, tmp_path / "out", **{name: tmp_path / value for name, value in changes.items()})
    image = find_images(bids).images[0]
    (row,) = passed_over_rows(Others(passed_over=(image,)), settings)
    assert str(row.message).endswith(words)


@pytest.mark.parametrize("place", ["sub-02", "sub-02/Anat", "sub-02/anatomical", "sub-02/func", "sub-02/ses-1"])
def test_an_image_outside_of_anat_is_named_with_where_it_belongs(bids: Path, place: str) -> None:
    """Also of a participant who has another one where it belongs."""
    name = "sub-02_ses-1_T1w.nii.gz" if "ses" in place else "sub-02_T1w.nii.gz"
    belongs = "sub-02/ses-1/anat" if "ses" in place else "sub-02/anat"
    add(bids, f"{place}/{name}", "sub-02/func/sub-02_task-x_bold.nii.gz", f"{place}/sub-02_mask.nii.gz")
    for others in ((), ("sub-02/anat/sub-02_acq-x_T1w.nii.gz",)):
        add(bids, *others)
        (problem,) = find_images(bids).problems
        assert (problem.participant, problem.bids_path) == ("02", f"{place}/{name}")
        assert problem.message == (
            f"{bids / place / name}: by its name it belongs into {belongs}, and it lies in {place}: rename it after "
            f"its folder, move it to where it belongs, {MOVE}"
        )
    assert [image.bids_path for image in find_images(bids, suffixes=("T2w",)).images] == []
    assert not any(problem.bids_path for problem in find_images(bids, suffixes=("T2w",)).problems)
