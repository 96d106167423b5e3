"""Outputs of versions before 0.10, whose shareable dataset held the faces, are taken up and nothing is done again."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from output_folders import as_earlier_version, identifiable, layout_of, shareable
from records_by_hand import add_record, image_of, selection_of
from small_datasets import STAND_IN, run_with_stand_in, settings_for, start_dataset

from bids_refacer.audit.plan import make_plan
from bids_refacer.dataset.descriptions import former_layout
from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.descriptions.former_layout import take_up
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import faces_page, lock_file, participant_page
from bids_refacer.dataset.records import all_records
from bids_refacer.layout import Layout

PAGE = '<a href="../group.html">All</a> <a href="../sub-01.html">Without faces</a> <a href="https://x/../sub-01.html">'


@pytest.fixture(params=[False, True], ids=["0.9", "0.8"])
def former(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An output whose image is finished, as earlier versions left it."""
    bids, output = start_dataset(tmp_path / "in"), tmp_path / "out"
    image = image_of(bids, "sub-01_T1w")
    write_datasets(layout_of(output), bids)
    (job,) = make_plan(selection_of(image), settings_for(bids, output), STAND_IN).jobs
    add_record(output, image, "quickshear", dict(job.tools[0].key))
    (identifiable(output) / "logs" / "run").mkdir(parents=True)
    (identifiable(output) / "logs" / "run" / "run.log").write_text("/home/jane\n")
    participant_page(layout_of(output), "01").write_text("page")
    faces_page(layout_of(output), "01").write_text(PAGE)
    return as_earlier_version(output, with_records=request.param)


def finished(output: Path) -> int:
    settings = settings_for(output.parent / "in", output)
    return len(make_plan(selection_of(image_of(output.parent / "in", "sub-01_T1w")), settings, STAND_IN).finished)


def taken_up(output: Path, **changes: Path) -> list[str]:
    said: list[str] = []
    take_up(output, said.append, **changes)
    return said


def assert_taken_up(output: Path) -> None:
    assert {path.name for path in output.iterdir()} == {"bids_refacer", "identifiable"}
    private = identifiable(output)
    assert finished(output) == 1 and len(list(all_records(layout_of(output)))) == 1
    assert (private / "logs" / "run" / "run.log").read_text() == "/home/jane\n" and not (private / "work").exists()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700 and lock_file(layout_of(output)).is_relative_to(private)
    assert {"dataset_description.json", "README", ".bidsignore", "sub-01.html", "sub-01", "status.json"} <= {
        path.name for path in shareable(output).iterdir()
    }
    new = PAGE.replace('"../', '"../bids_refacer/')
    assert faces_page(layout_of(output), "01").read_text() == new, "links still lead to the pages without faces"


def test_it_is_read_as_it_is_and_moved_once(former: Path) -> None:
    assert finished(former) == 1 and len(list(all_records(Layout.found(former)))) == 1, "as --dry-run sees it"
    (sentence,) = taken_up(former)
    assert f"{former} is of an earlier version: what may be shared was moved into {shareable(former)}" in sentence
    assert_taken_up(former)
    assert taken_up(former) == []


@pytest.mark.parametrize("moves", range(8))
def test_a_move_that_was_cut_short_goes_on(former: Path, moves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left, move = moves, former_layout._move

    def killed(path: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        move(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(former_layout, "_move", killed)
        taken_up(former)
    assert len(taken_up(former)) == 1
    assert_taken_up(former)


def test_what_lies_there_twice_is_kept_as_it_is_newer(former: Path) -> None:
    """As when an earlier version ran again after this one."""
    copy = shutil.copytree(former / "sub-01", shareable(former) / "sub-01")
    names = [path.name for path in sorted((copy / "anat").iterdir())]
    (copy / "anat" / names[0]).write_text("newer")
    os.utime(copy / "anat" / names[1], (1, 1))
    (copy / "anat" / names[1]).write_text("older")
    os.utime(copy / "anat" / names[1], (1, 1))
    taken_up(former)
    assert (shareable(former) / "sub-01" / "anat" / names[0]).read_text() == "newer"
    assert (shareable(former) / "sub-01" / "anat" / names[1]).read_bytes() == b"1234"


def test_links_lead_where_they_led(former: Path) -> None:
    elsewhere = Path(shutil.move(former / "sub-01", former.parent / "disk"))
    (former / "sub-01").symlink_to(os.path.relpath(elsewhere, former))
    taken_up(former)
    assert (shareable(former) / "sub-01").resolve() == elsewhere and (shareable(former) / "sub-01").is_symlink()


def test_foreign_files_stay(former: Path) -> None:
    (former / "notes.txt").write_text("mine")
    (former / "fmriprep").mkdir()
    taken_up(former)
    assert (former / "notes.txt").read_text() == "mine" and (former / "fmriprep").is_dir()


def test_files_under_version_control_are_not_moved(former: Path) -> None:
    (former / ".git").mkdir()
    with pytest.raises(DatasetError, match=r"is of an earlier version and under version control.*git mv README"):
        taken_up(former)
    assert not shareable(former).exists()


def test_faces_that_are_wanted_elsewhere_are_moved_by_hand(former: Path) -> None:
    with pytest.raises(DatasetError, match="move that folder to .*faces, or leave --identifiable-dir out"):
        taken_up(former, identifiable_dir=former.parent / "faces")


def test_a_run_does_nothing_again_and_says_what_it_moved(former: Path) -> None:
    bids, calls = former.parent / "in", former.parent / "calls"
    dry = run_with_stand_in(settings_for(bids, former, dry_run=True))
    assert dry.code == 0 and "0 image x tool to do, 1 finished" in dry.out and not shareable(former).exists()
    done = run_with_stand_in(settings_for(bids, former), calls=calls)
    assert done.code == 0 and not calls.exists() and "is of an earlier version: what may be shared" in done.out
    assert "1 image x tool done, 1 of them by an earlier run" in done.out
    assert {path.name for path in former.iterdir()} == {"bids_refacer", "identifiable", "README"}


def test_the_group_level_and_pages_alone_take_it_up_too(former: Path) -> None:
    settings = settings_for(former.parent / "in", former, reports_only=True)
    assert "run the level 'participant' first" in run_with_stand_in(settings).err, "there is no table"
    assert_taken_up(former)
