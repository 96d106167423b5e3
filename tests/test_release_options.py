"""Options of `bids_refacer release`, consent to the risk, and every refusal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from release_study import (
    BOLD,
    CLOCK,
    DAY,
    PLANTED,
    TOOL,
    UNJUDGED,
    VERDICTS,
    Study,
    add_attack,
    add_result,
    copied,
    make_study,
)

from bids_refacer.cli.release import answer
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.rows.audit import DefacingRow, subject_columns
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows, write_rows
from bids_refacer.dataset.tables import read_table
from bids_refacer.release.errors import ReleaseError
from bids_refacer.release.run import run_release
from bids_refacer.volumes.nifti import read_scan, write_scan

FIRST, T2W, WARNED, FAILED, ALONE = VERDICTS
SCANS = "sub-01/ses-1/sub-01_ses-1_scans.tsv"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that no test changes."""
    return make_study(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def own(shared: Study, tmp_path: Path) -> Study:
    """A study that a test may change."""
    return copied(shared, tmp_path / "own")


def released(study: Study, place: Path, **changes: Any) -> dict[str, ReleaseRow]:
    run_release(study.settings(place, **changes), lambda _: None)
    return {row.path: row for row in read_rows(place / "release.tsv", ReleaseRow)}


def review(path: Path, decision: str, initials: str = "AB", image: str = WARNED) -> Path:
    path.write_text(f"participant_id\timage\tdecision\tinitials\nsub-01\t{image}\t{decision}\t{initials}\n")
    return path


def test_warnings_go_when_they_are_accepted(shared: Study, tmp_path: Path) -> None:
    rows = released(shared, tmp_path / "all", accept_warnings=True)
    assert rows[WARNED].action == "defaced" and "Accepted with --accept-warnings" in str(rows[WARNED].reason)
    assert rows[FAILED].action == "held back" and rows[UNJUDGED].action == "held back"
    rows = released(shared, tmp_path / "looked", review_list=review(tmp_path / "r.tsv", "release"))
    assert rows[WARNED].action == "defaced" and "Accepted by AB, who looked at it." in str(rows[WARNED].reason)
    assert (tmp_path / "looked" / WARNED.replace(".nii.gz", ".json")).is_file()


def test_a_person_can_hold_back_what_passed_and_not_release_what_failed(shared: Study, tmp_path: Path) -> None:
    rows = released(shared, tmp_path / "one", review_list=review(tmp_path / "r.tsv", "hold back", image=FIRST))
    assert rows[FIRST].action == "held back" and rows[FIRST].reason == "Held back by AB, who looked at it."
    for image in (FAILED, UNJUDGED):
        rows = released(shared, tmp_path / "two", review_list=review(tmp_path / "r.tsv", "release", image=image))
        assert rows[image].action == "held back"


@pytest.mark.parametrize(
    ("decision", "initials", "image", "words"),
    [
        ("maybe", "AB", WARNED, "has the decision 'maybe' for .*: write release or hold back"),
        ("release", "n/a", WARNED, "no initials: write who looked at it"),
        ("release", "AB", "sub-09/anat/sub-09_T1w.nii.gz", "which the dataset does not have: correct its path"),
        ("release", "AB", "../x", "The review list cannot be used: .*which must be the path of an image"),
    ],
)
def test_review_lists_that_cannot_be_used(
    decision: str, initials: str, image: str, words: str, shared: Study, tmp_path: Path
) -> None:
    listed = review(tmp_path / "r.tsv", decision, initials, image)
    with pytest.raises(DatasetError, match=words):
        run_release(shared.settings(tmp_path / "x", review_list=listed))
    assert not (tmp_path / "x").exists()


def test_a_review_list_that_is_not_there(shared: Study, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="The review list .* is not there: check the path"):
        run_release(shared.settings(tmp_path / "x", review_list=tmp_path / "none.tsv"))


def test_fields_and_columns_are_kept_when_they_are_asked_for(shared: Study, tmp_path: Path) -> None:
    kept = ("SeriesDescription", "acquisitiontime", "name", "acq_time")
    released(shared, tmp_path / "x", keep_field=kept)
    sidecar = json.loads((tmp_path / "x" / FIRST.replace(".nii.gz", ".json")).read_text())
    assert sidecar["SeriesDescription"].endswith(PLANTED[0]) and sidecar["AcquisitionTime"] == CLOCK
    assert "PatientName" not in sidecar
    assert read_table(tmp_path / "x/participants.tsv")[0]["name"] == PLANTED[0]
    assert read_table(tmp_path / "x" / SCANS)[0]["acq_time"] == f"{DAY}T{CLOCK}"


def test_dates_are_shifted_by_one_offset_that_stays(own: Study, tmp_path: Path) -> None:
    table = own.bids / SCANS
    table.write_text(
        table.read_text().replace(f"{BOLD.removeprefix('sub-01/ses-1/')}\t{DAY}", f"{BOLD[13:]}\t2019-05-09")
    )
    released(own, tmp_path / "one", shift_dates=True)
    times = [datetime.fromisoformat(str(row["acq_time"])) for row in read_table(tmp_path / "one" / SCANS)]
    assert (times[-1] - times[0]).days == 3 and max(times).year < 1925
    assert {time.strftime("%H:%M:%S") for time in times} == {CLOCK}
    released(own, tmp_path / "two", shift_dates=True)
    assert (tmp_path / "two" / SCANS).read_bytes() == (tmp_path / "one" / SCANS).read_bytes()
    (key,) = own.output.glob("identifiable/release/date_key.json")
    assert key.stat().st_mode & 0o77 == 0
    key.unlink()
    released(own, tmp_path / "three", shift_dates=True)
    assert (tmp_path / "three" / SCANS).read_bytes() != (tmp_path / "one" / SCANS).read_bytes()


def test_ages_are_capped_when_asked_for(shared: Study, tmp_path: Path) -> None:
    released(shared, tmp_path / "x", cap_ages=True)
    assert [row["age"] for row in read_table(tmp_path / "x/participants.tsv")] == ["89", None]


def test_files_that_nobody_can_look_into_go_when_asked_for(shared: Study, tmp_path: Path) -> None:
    rows = released(shared, tmp_path / "x", release_unchecked=("stimuli/*",))
    assert (rows["stimuli/face.png"].action, rows["stimuli/face.png"].looked_at) == ("copied", "no")
    assert "1 file .png in stimuli." in (tmp_path / "x/release.html").read_text()


@pytest.mark.parametrize(("mode", "linked"), [("hardlink", True), ("reflink", False), ("copy", False)])
def test_how_files_are_taken_over(mode: str, linked: bool, own: Study, tmp_path: Path) -> None:
    source = own.bids / "sub-03/anat/LICENSE.txt"
    source.write_text("free\n")
    released(own, tmp_path / "x", link_mode=mode)
    target = tmp_path / "x/sub-03/anat/LICENSE.txt"
    assert target.read_text() == "free\n" and (target.stat().st_ino == source.stat().st_ino) is linked
    image = tmp_path / "x" / FIRST
    assert image.stat().st_nlink == 1


def test_the_audits_own_verdict_counts_where_it_was_stricter(own: Study, tmp_path: Path) -> None:
    row = DefacingRow(**subject_columns(own.image(FIRST), TOOL), face_verdict="fail", brain_verdict="pass")
    write_rows(own.layout.shareable / "defacing.tsv", DefacingRow, [row])
    assert released(own, tmp_path / "x")[FIRST].verdict == "fail"


def test_limits_of_the_release(shared: Study, tmp_path: Path) -> None:
    rows = released(shared, tmp_path / "x", face_left_limits=(1.5, 5.0))
    assert (rows[FIRST].verdict, rows[T2W].verdict, rows[WARNED].verdict) == ("pass", "warn", "fail")


def test_a_brain_that_is_cut_holds_an_image_back(own: Study, tmp_path: Path) -> None:
    add_result(own, FIRST, 0.0, 30.0)
    add_result(own, T2W, None, 0.0)
    rows = released(own, tmp_path / "x")
    assert rows[FIRST].reason == "The brain is cut: take another tool for it."
    assert rows[T2W].verdict == "not judged" and "nor chin is in its field of view" in str(rows[T2W].reason)


def test_an_image_that_changed_since_is_not_judged(own: Study, tmp_path: Path) -> None:
    scan = read_scan(own.bids / FIRST)
    write_scan(own.bids / FIRST, scan, scan.stored[::-1].copy())
    row = released(own, tmp_path / "x")[FIRST]
    assert row.verdict == "not judged" and "has changed since it was audited" in str(row.reason)


def test_an_audits_image_that_differs_outside_its_mask_is_held_back(own: Study, tmp_path: Path) -> None:
    """As when images were swapped: its size is what the record says."""
    one, other = (OutputNames.of(own.layout, own.image(path)).defaced(TOOL) for path in (FIRST, ALONE))
    content = bytearray(other.read_bytes())
    record = OutputNames.of(own.layout, own.image(FIRST)).other_record(TOOL)
    known = json.loads(record.read_text())
    known["Outputs"][own.layout.name_of(one)] = len(content)
    record.write_text(json.dumps(known))
    one.write_bytes(content)
    row = released(own, tmp_path / "x")[FIRST]
    assert row.action == "held back" and row.kept_voxels == "differ" and "differs from the original" in str(row.reason)
    assert not (tmp_path / "x" / FIRST).exists()


def test_an_audits_image_that_was_not_defaced_is_held_back(own: Study, tmp_path: Path) -> None:
    defaced = OutputNames.of(own.layout, own.image(FIRST)).defaced(TOOL)
    scan = read_scan(own.bids / FIRST)
    write_scan(defaced, scan, scan.stored)
    record = OutputNames.of(own.layout, own.image(FIRST)).other_record(TOOL)
    known = json.loads(record.read_text())
    known["Outputs"][own.layout.name_of(defaced)] = defaced.stat().st_size
    record.write_text(json.dumps(known))
    row = released(own, tmp_path / "x")[FIRST]
    assert row.action == "held back" and "was removed is still there" in str(row.reason)


def test_a_mask_or_an_image_that_cannot_be_read(own: Study, tmp_path: Path) -> None:
    mask = OutputNames.of(own.layout, own.image(FIRST)).defacemask(TOOL)
    mask.write_bytes(bytes(mask.stat().st_size))
    (own.bids / BOLD).write_bytes((own.bids / BOLD).read_bytes()[:900])
    (own.bids / "sub-03/anat/sub-03_T1w.json").write_text("[1]")
    rows = released(own, tmp_path / "x")
    assert rows[FIRST].action == "held back" and "cannot be read" in str(rows[FIRST].reason)
    assert rows[BOLD].action == "held back" and "truncated or damaged" in str(rows[BOLD].reason)
    assert "It is no JSON object" in str(rows["sub-03/anat/sub-03_T1w.json"].reason)


def test_what_is_no_longer_released_is_removed(own: Study, tmp_path: Path) -> None:
    place = tmp_path / "x"
    released(own, place)
    assert (place / FIRST).is_file()
    add_result(own, FIRST, 70.0, 0.0)
    released(own, place)
    assert not (place / FIRST).exists() and not list(place.rglob("*ses-1_mod-T1w*"))
    assert (place / T2W).is_file()


def test_dry_run(shared: Study, tmp_path: Path) -> None:
    said: list[str] = []
    assert run_release(shared.settings(tmp_path / "x", dry_run=True), said.append) == 1
    assert "3 images would be released defaced, 1 other image without a look for faces" in said[-1]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("recovered", "words"), [(0.9, "did not withstand"), (1.35, "not shown that the tool withstands")]
)
def test_the_risk_has_to_be_accepted_where_there_is_one(
    recovered: float, words: str, own: Study, tmp_path: Path
) -> None:
    add_attack(own, recovered)
    settings = own.settings(tmp_path / "x")
    if recovered < 1.3:
        with pytest.raises(
            ReleaseError, match="did not withstand .* nothing was released.*--i-accept-the-residual-risk"
        ):
            run_release(settings)
        assert not (tmp_path / "x").exists()
        asked: list[str] = []
        run_release(settings, lambda _: None, lambda question: not asked.append(question))
        assert asked == [f"{TOOL} did not withstand the attack of this audit. Release its images all the same?"]
    said: list[str] = []
    run_release(replace(settings, accept_risk=True), said.append)
    assert said[0].startswith("The attack came nearer to the true face than an average face in")
    assert words in (tmp_path / "x/release.html").read_text()


def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert answer("Well?", lambda question: " Yes ") and not answer("Well?", lambda question: "y")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert not answer("Well?", lambda question: "yes")
