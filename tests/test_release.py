"""`bids_refacer release`: what goes, what is held back, and that nothing planted gets out."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids import BIDSLayout
from release_study import BOLD, CLOCK, DAY, PLANTED, TOOL, UNJUDGED, VERDICTS, Study, make_study

from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.tables import read_table
from bids_refacer.dataset.validation import validate
from bids_refacer.release.run import run_release
from bids_refacer.volumes.nifti import read_mask, read_scan

FIRST, T2W, WARNED, FAILED, ALONE = VERDICTS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def before(study: Study) -> dict[str, bytes]:
    return contents(study.bids)


@pytest.fixture(scope="module")
def release(study: Study, before: dict[str, bytes], said: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release") / "published"
    assert run_release(study.settings(root), said.append) == 1
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def rows(release: Path) -> dict[str, ReleaseRow]:
    return {row.path: row for row in read_rows(release / "release.tsv", ReleaseRow)}


def test_the_originals_are_not_touched(study: Study, before: dict[str, bytes], release: Path) -> None:
    assert contents(study.bids) == before


def test_each_image_goes_by_its_verdict(release: Path) -> None:
    found = rows(release)
    said = {path: (found[path].action, found[path].verdict) for path in (*VERDICTS, UNJUDGED)}
    assert said == {
        FIRST: ("defaced", "pass"),
        T2W: ("defaced", "pass"),
        WARNED: ("held back", "warn"),
        FAILED: ("held back", "fail"),
        ALONE: ("defaced", "pass"),
        UNJUDGED: ("held back", "not judged"),
    }
    for path, (action, _) in said.items():
        assert (release / path).is_file() is (action == "defaced")
    assert "--review-list" in str(found[WARNED].reason) and "take another tool" in str(found[FAILED].reason)
    assert "--apply-to-others" in str(found[UNJUDGED].reason)


def test_every_file_of_the_originals_has_a_row(study: Study, release: Path) -> None:
    found = rows(release)
    covered = [name for name in found if name.endswith("/")]
    there = [path.relative_to(study.bids).as_posix() for path in study.bids.rglob("*") if not path.is_dir()]
    assert [name for name in there if name not in found and not name.startswith(tuple(covered))] == []
    assert found["sourcedata/"].action == "left out"
    broken = found["sub-03/anat/sub-03_T2w.nii.gz"]
    assert broken.action == "held back" and "git annex get" in str(broken.reason)
    picture = found["stimuli/face.png"]
    assert picture.action == "held back" and "--release-unchecked" in str(picture.reason)


def test_every_file_of_the_release_has_its_checksum(release: Path) -> None:
    found = {path: row.sha256 for path, row in rows(release).items() if row.sha256}
    there = {name: hashlib.sha256(content).hexdigest() for name, content in contents(release).items()}
    assert {name: there[name] for name in there if name not in ("release.tsv", "release.json", "release.html")} == found


def test_a_defaced_image_is_the_original_outside_its_mask(study: Study, release: Path) -> None:
    for path in (FIRST, T2W, ALONE):
        original, defaced = read_scan(study.bids / path), read_scan(release / path)
        stem, suffix = Path(path).name.removesuffix(".nii.gz").rsplit("_", 1)
        name = f"{stem}_mod-{suffix}_desc-{TOOL}_defacemask.nii.gz"
        mask = read_mask(release / "derivatives/defacemasks" / Path(path).parent / name).values
        assert mask.any() and (defaced.stored[mask] == 0).all() and (original.stored[mask] > 0).any()
        np.testing.assert_array_equal(defaced.stored[~mask], original.stored[~mask])
        assert (defaced.affine == original.affine).all()
        assert rows(release)[path].kept_voxels == "equal" and rows(release)[path].removed_voxels == "one value"


def test_nothing_planted_gets_out(release: Path) -> None:
    for name, content in contents(release).items():
        plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        for text in (*PLANTED, DAY, CLOCK):
            assert text.encode() not in content + plain, (name, text)


def test_a_series_keeps_its_voxels_and_header(study: Study, release: Path) -> None:
    before, after = nib.load(study.bids / BOLD), nib.load(release / BOLD)
    np.testing.assert_array_equal(np.asarray(before.dataobj), np.asarray(after.dataobj))
    assert (after.affine == before.affine).all() and after.header.get_zooms() == before.header.get_zooms()
    row = rows(release)[BOLD]
    assert (row.action, row.looked_at) == ("scrubbed", "no")


def test_sidecars_keep_science_and_say_how_the_face_went(release: Path) -> None:
    content = json.loads((release / FIRST.replace(".nii.gz", ".json")).read_text())
    added = {"DeidentificationMethod", "DeidentificationMethodCodeSequence"}
    assert set(content) == {"RepetitionTime", "Manufacturer", "ShimSetting"} | added
    assert TOOL in content["DeidentificationMethod"][0]
    assert content["DeidentificationMethodCodeSequence"][0]["CodeValue"] == "113102"
    row = rows(release)[FIRST.replace(".nii.gz", ".json")]
    assert row.action == "scrubbed" and "PatientName" in str(row.reason) and PLANTED[0] not in str(row.reason)
    assert not (release / WARNED.replace(".nii.gz", ".json")).exists()


def test_tables_lose_names_times_and_rows_of_what_is_held_back(release: Path) -> None:
    people = read_table(release / "participants.tsv")
    assert [row["participant_id"] for row in people] == ["sub-01", "sub-03"]
    assert set(people[0]) == {"participant_id", "age", "sex"}
    scans = read_table(release / "sub-01/ses-1/sub-01_ses-1_scans.tsv")
    assert [set(row) for row in scans] == [{"filename"}] * 3
    assert not (release / "sub-02").exists()
    assert json.loads((release / "participants.json").read_text()) == {"age": {"Units": "year"}}


def test_texts_are_completed(study: Study, release: Path) -> None:
    description = json.loads((release / "dataset_description.json").read_text())
    assert description["DatasetType"] == "raw" and description["Name"] == "Average heads"
    assert description["GeneratedBy"][-1]["Name"] == "bids_refacer" and TOOL in description["HowToAcknowledge"]
    readme, changes = (release / "README").read_text(), (release / "CHANGES").read_text()
    assert readme.startswith((study.bids / "README").read_text().rstrip()) and "Defacing" in readme
    assert changes.startswith("1.2.4 ") and changes.endswith("1.2.3 2020-02-02\n  - First.\n")
    assert "/release.tsv" in (release / ".bidsignore").read_text()


def test_the_release_is_valid_bids(study: Study, release: Path) -> None:
    assert validate(release) == []
    assert validate(release / "derivatives/defacemasks") == []


def test_pybids_reads_it_as_a_raw_dataset(release: Path) -> None:
    layout, images = BIDSLayout(release), {"extension": "nii.gz", "return_type": "filename"}
    found = {Path(path).relative_to(release).as_posix() for path in layout.get(suffix="T1w", **images)}
    assert found == {FIRST, ALONE}
    assert layout.get_metadata(release / FIRST)["RepetitionTime"] == 2.3


def test_what_a_person_reads(release: Path, said: list[str]) -> None:
    text = "\n".join(said)
    assert "3 images defaced" in text and str(release) in text and f"  {FAILED}: The face is still there" in text
    assert "1 image in func folders: not looked at for faces" in text
    page = (release / "release.html").read_text()
    for words in ("3 images defaced with quickshear 1.2.0", FAILED, "PatientName", "func folders: not looked at"):
        assert words in page
    assert "<img" not in page and "<canvas" not in page


def test_what_stays_with_the_audit(study: Study, release: Path) -> None:
    (folder,) = (study.output / "identifiable/release").glob("published-*")
    removed = json.loads((folder / "removed.json").read_text())
    assert removed[FIRST.replace(".nii.gz", ".json")]["PatientName"] == PLANTED[0]
    originals = json.loads((folder / "originals.json").read_text())
    assert originals[FIRST] == hashlib.sha256((study.bids / FIRST).read_bytes()).hexdigest()
    assert originals[FIRST] not in (release / "release.tsv").read_text()
    (row,) = read_table(folder / "review.tsv")
    assert (row["image"], row["verdict"], row["decision"]) == (WARNED, "warn", None)
    assert (folder.parent.stat().st_mode & 0o77) == 0
    page = (folder / "review.html").read_text()
    assert "Do not share this page" in page and WARNED in page and page.count("<img") == 6
    assert not (folder / "work").exists()


def test_a_second_run_changes_nothing(study: Study, release: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in release.rglob("*.nii.gz")}
    first = contents(release)
    assert run_release(study.settings(release), lambda _: None) == 1
    assert contents(release) == first
    assert {path: path.stat().st_mtime_ns for path in release.rglob("*.nii.gz")} == before
