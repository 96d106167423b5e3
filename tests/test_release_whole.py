"""A release of more than the raw images: every folder looked at, other datasets inside, DataLad, arrays of tasks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from release_study import BOLD, TOOL, VERDICTS, Study, copied, make_study
from small_datasets import add_image, start_dataset

from bids_refacer.cli import deface as deface_command
from bids_refacer.cli.deface import parse_args
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.validation import validate
from bids_refacer.release import datalad
from bids_refacer.release.audit_results import session_of
from bids_refacer.release.errors import ReleaseError
from bids_refacer.release.images import looking
from bids_refacer.release.images.judged import Reference
from bids_refacer.release.images.looking import Seen
from bids_refacer.release.run import run_release
from bids_refacer.release.verify import verify_release
from bids_refacer.volumes.nifti import read_series

FIRST, _, WARNED, *_ = VERDICTS
PREPROCESSED = "derivatives/prep/sub-01/ses-1/anat/sub-01_ses-1_desc-preproc_T1w.nii.gz"
ALONE = "derivatives/prep/sub-09/anat/sub-09_desc-preproc_T1w.nii.gz"
GROUP = "derivatives/prep/average.nii.gz"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study with a derivative in it: a preprocessed head, one of a stranger, one of nobody, a table, a DICOM."""
    made = make_study(tmp_path_factory.mktemp("study"))
    names = OutputNames.of(made.layout, made.image(FIRST))
    names.brain_mask().write_bytes(names.defacemask(TOOL).read_bytes())  # a session without one lends no mask
    for path in (PREPROCESSED, ALONE, GROUP):
        (made.bids / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made.bids / FIRST, made.bids / path)
    prep = made.bids / "derivatives/prep"
    (prep / "dataset_description.json").write_text('{"Name": "prep", "BIDSVersion": "1.10.0"}')
    (prep / "figures.tsv").write_text("participant_id\tacq_time\tthickness\nsub-01\t2019-05-06\t2.5\n")
    (made.bids / "sourcedata").mkdir(exist_ok=True)
    (made.bids / "sourcedata/0001.dcm").write_bytes(b"DICM")
    return made


def released(study: Study, place: Path, **changes: Any) -> dict[str, ReleaseRow]:
    run_release(study.settings(place, **changes), lambda _: None)
    return {row.path: row for row in read_rows(place / "release.tsv", ReleaseRow)}


def test_other_datasets_are_left_out_and_the_row_says_how_they_go(study: Study, tmp_path: Path) -> None:
    rows = released(study, tmp_path / "x")
    for name in ("derivatives", "sourcedata"):
        assert rows[f"{name}/"].action == "left out"
        assert str(rows[f"{name}/"].reason).endswith(f"--include {name} takes them.")
        assert not (tmp_path / "x" / name / "prep").exists()


@pytest.fixture
def asked(study: Study, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Images that were looked at, each with its reference; every look finds a face that a mask takes away."""
    looks = []

    def look(path: Path, reference: Reference, limits: tuple[float, float], tool: str) -> Seen:
        looks.append((path.relative_to(study.bids).as_posix(), reference.name))
        scan = read_series(path)
        removed = np.zeros(scan.stored.shape[:3], dtype=bool)
        removed[:, -3:, :3] = True
        return Seen(scan, removed, "pass", None)

    monkeypatch.setattr(looking, "look", look)
    return looks


def test_images_of_derivatives_go_only_with_a_look(study: Study, tmp_path: Path, asked: list[tuple[str, str]]) -> None:
    """They get the mask of their session's image; what no audited image can be laid over is held back."""
    place = tmp_path / "x"
    rows = released(study, place, include=("derivatives", "sourcedata"))
    assert asked == [(PREPROCESSED, FIRST)]
    head = rows[PREPROCESSED]
    assert (head.action, head.looked_at, head.verdict) == ("defaced", "yes", "pass")
    assert (
        str(head.mask).startswith("derivatives/defacemasks/derivatives/prep/sub-01/")
        and (place / str(head.mask)).is_file()
    )
    assert (place / "derivatives/defacemasks/.bidsignore").read_text() == "derivatives/\n"
    assert rows[ALONE].action == rows[GROUP].action == "held back"
    assert "No audited image of its session" in str(rows[ALONE].reason)
    assert "nobody knows whose image it is" in str(rows[GROUP].reason)
    assert rows["sourcedata/0001.dcm"].action == "held back"
    assert (place / "derivatives/prep/figures.tsv").read_text() == "participant_id\tthickness\nsub-01\t2.5\n"
    assert json.loads((place / "derivatives/prep/dataset_description.json").read_text())["Name"] == "prep"
    assert validate(place) == [] and validate(place / "derivatives/defacemasks") == []
    assert verify_release(place, with_validator=False, say=lambda _: None) == 0


def test_masks_of_another_release_are_not_overwritten(study: Study, tmp_path: Path) -> None:
    own = copied(study, tmp_path / "own")
    (own.bids / "derivatives/defacemasks").mkdir()
    with pytest.raises(ReleaseError, match="is there already: rename that folder, or leave --include derivatives out"):
        run_release(own.settings(tmp_path / "x", include=("derivatives",)))
    run_release(own.settings(tmp_path / "x"), lambda _: None)


def test_every_image_is_looked_at_when_asked_for(study: Study, tmp_path: Path, asked: list[tuple[str, str]]) -> None:
    rows = released(study, tmp_path / "some")
    assert rows[BOLD].looked_at == "no" and (BOLD, FIRST) not in asked
    rows = released(study, tmp_path / "all", scan_everything=True)
    assert (rows[BOLD].action, rows[BOLD].looked_at) == ("defaced", "yes") and (BOLD, FIRST) in asked
    went = [row for row in rows.values() if row.path.endswith((".nii", ".nii.gz")) and row.action != "held back"]
    assert all(row.looked_at == "yes" for row in went)


@pytest.mark.parametrize(
    ("path", "session"),
    [
        ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01"),
        ("sub-01/ses-1/func/sub-01_ses-1_bold.nii.gz", "sub-01/ses-1"),
        (PREPROCESSED, "sub-01/ses-1"),
        (GROUP, ""),
    ],
)
def test_whose_an_image_is(path: str, session: str) -> None:
    assert session_of(path) == session


class TestDataLad:
    """With stand-ins for its programs; the real ones were tried by hand."""

    @pytest.fixture
    def calls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Programs that write down how they are called; `datalad create` makes what the real one makes."""
        programs, calls = tmp_path / "programs", tmp_path / "calls"
        programs.mkdir()
        for name in datalad.PROGRAMS:
            script = programs / name
            script.write_text(
                f'#!/bin/sh\necho "{name} $*" >> "{calls}"\n'
                '[ "$1" != create ] || { for last; do :; done; mkdir -p "$last/.datalad" "$last/.git"; '
                'echo x > "$last/.git/config"; }\n[ -z "$FAILS" ] || { echo "no identity" >&2; exit 3; }\n'
            )
            script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/bin")
        return calls

    def test_a_release_is_saved_once_it_is_complete(self, study: Study, tmp_path: Path, calls: Path) -> None:
        place = tmp_path / "x"
        released(study, place, datalad=True)
        create, save = calls.read_text().splitlines()
        assert create == f"datalad create --force -c text2git {place}"
        assert save.startswith(f"datalad save --dataset {place} --message Release made by bids_refacer ")
        assert verify_release(place, with_validator=False, say=lambda _: None) == 0
        before = {path: path.stat().st_mtime_ns for path in place.rglob("*.nii.gz")}
        released(study, place, datalad=True)
        assert [line.split()[1] for line in calls.read_text().splitlines()] == ["create", "save", "save"]
        assert {path: path.stat().st_mtime_ns for path in place.rglob("*.nii.gz")} == before

    def test_what_was_withdrawn_stays_in_the_history_and_that_is_said(
        self, study: Study, tmp_path: Path, calls: Path
    ) -> None:
        place, said = tmp_path / "x", []
        run_release(study.settings(place, datalad=True, accept_warnings=True), said.append)
        assert not [line for line in said if "history" in line]
        run_release(study.settings(place, datalad=True), said.append)
        assert f"are withdrawn, but the history of {place} keeps them: publish a release in a new folder." in said[-1]
        assert WARNED.removesuffix(".nii.gz") in said[-1]

    def test_what_it_says_when_it_fails(
        self, study: Study, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAILS", "1")
        words = r"is complete, but 'datalad create' failed with code 3 \(no identity\): mend that, and run the same"
        with pytest.raises(ReleaseError, match=words):
            run_release(study.settings(tmp_path / "x", datalad=True), lambda _: None)
        assert (tmp_path / "x/release.tsv").is_file()

    def test_programs_that_are_missing(self, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        words = r"datalad, git-annex, git cannot be found: install them \(pip install datalad git-annex\), or leave"
        with pytest.raises(ReleaseError, match=words):
            run_release(study.settings(tmp_path / "x", datalad=True))
        assert not (tmp_path / "x").exists()


class TestTasksOfAnArray:
    """`deface --participant-label`."""

    @pytest.fixture
    def command(self, tmp_path: Path) -> list[str]:
        root = start_dataset(tmp_path / "bids")
        for name in ("sub-01_T1w", "sub-02_T1w"):
            add_image(root, name)
        return [str(root), str(tmp_path / "published"), "--tool", TOOL, "--nprocs", "1"]

    def test_some_participants_are_defaced_and_nothing_is_released(
        self, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = parse_args([*command, "--participant-label", "sub-02", "--work-dir", str(tmp_path / "w")])
        assert asked.run.participant_label == ("02",) and asked.run.work_dir == tmp_path / "w"
        failures = iter((0, 1))
        monkeypatch.setattr("bids_refacer.release.defacing.deface_dataset", lambda run: next(failures))
        monkeypatch.setattr("bids_refacer.release.run.run_release", lambda *_, **__: pytest.fail("released"))
        assert [deface_command.deface_and_release(asked) for _ in range(2)] == [0, 1]
        assert "run the same command without --participant-label for it" in capsys.readouterr().out

    def test_a_dry_run_says_how_many_and_writes_nothing(
        self, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for labels, words in (([], "2 images"), (["--participant-label", "02"], "1 image")):
            assert deface_command.main([*command, "--skip-bids-validation", "--dry-run", *labels]) == 0
            assert f"{words} would be defaced with {TOOL}. Nothing was written." in capsys.readouterr().out
        assert [path.name for path in tmp_path.iterdir()] == ["bids"]

    def test_a_participant_that_is_not_there(self, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            parse_args([*command, "--participant-label", "07"])
        assert "'07'" in capsys.readouterr().err
