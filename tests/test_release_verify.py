"""`bids_refacer verify` finds every planted fault, and none in a release as it was made."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from release_study import BOLD, DAY, PLANTED, UNJUDGED, VERDICTS, Study, make_study

from bids_refacer.__main__ import main
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows, write_rows
from bids_refacer.release.errors import ReleaseError
from bids_refacer.release.run import run_release
from bids_refacer.release.verify import read_certificate, verify_release
from bids_refacer.volumes.nifti import read_scan, write_scan

FIRST, T2W, WARNED, FAILED, ALONE = VERDICTS
SIDECAR = FIRST.replace(".nii.gz", ".json")
SCANS = "sub-01/ses-1/sub-01_ses-1_scans.tsv"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def made(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "release"
    run_release(study.settings(root), lambda _: None)
    return root


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    """A release that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "release"))


def found(release: Path, **options: object) -> str:
    said: list[str] = []
    code = verify_release(release, with_validator=False, say=said.append, **options)  # type: ignore[arg-type]
    assert code == (0 if "nothing is wrong" in said[-1] else 1)
    return "\n".join(said)


def change(release: Path, path: str, **cells: str) -> None:
    rows = read_rows(release / "release.tsv", ReleaseRow)
    write_rows(
        release / "release.tsv", ReleaseRow, [replace(row, **cells) if row.path == path else row for row in rows]
    )


def certify(release: Path, path: str) -> None:
    """Write the checksum that a file has now into the certificate, as somebody would who wants to hide a change."""
    change(release, path, sha256=hashlib.sha256((release / path).read_bytes()).hexdigest())


def certified(release: Path, path: str, content: bytes) -> None:
    (release / path).write_bytes(content)
    certify(release, path)


def swapped(release: Path, study: Study) -> None:
    one, other = (release / FIRST).read_bytes(), (release / ALONE).read_bytes()
    (release / FIRST).write_bytes(other)
    (release / ALONE).write_bytes(one)


def with_its_face(release: Path, study: Study) -> None:
    scan = read_scan(study.bids / T2W)
    write_scan(release / T2W, scan, scan.stored)
    certify(release, T2W)


def with_a_changed_voxel(release: Path, study: Study) -> None:
    scan = read_scan(release / FIRST)
    stored = scan.stored.copy()
    stored[5, 5, 5] += 1
    write_scan(release / FIRST, scan, stored)


def with_a_name(release: Path, study: Study) -> None:
    content = json.loads((release / SIDECAR).read_text())
    certified(release, SIDECAR, json.dumps({**content, "PatientName": PLANTED[0]}).encode())


def without_the_method(release: Path, study: Study) -> None:
    content = json.loads((release / SIDECAR).read_text())
    certified(release, SIDECAR, json.dumps({**content, "DeidentificationMethod": []}).encode())


def truncated(release: Path, study: Study) -> None:
    certified(release, BOLD, (release / BOLD).read_bytes()[:400])


def with_texts(release: Path, study: Study) -> None:
    image = nib.load(release / BOLD)
    image.header["descrip"] = PLANTED[0].encode()
    certified(release, BOLD, gzip.compress(image.to_bytes(), mtime=0))


def with_a_time_in_gzip(release: Path, study: Study) -> None:
    certified(release, BOLD, gzip.compress(gzip.decompress((release / BOLD).read_bytes()), mtime=1557142496))


def with_times(release: Path, study: Study) -> None:
    lines = (release / SCANS).read_text().splitlines()
    text = "\n".join([f"{lines[0]}\tacq_time", *(f"{line}\t{DAY}T01:02:03" for line in lines[1:])])
    certified(release, SCANS, text.encode())


def with_a_column(release: Path, study: Study) -> None:
    certified(release, "participants.tsv", b"participant_id\tname\nsub-01\tx\nsub-03\ty\n")


def with_an_empty_mask(release: Path, study: Study) -> None:
    (mask,) = [row.mask for row in read_certificate(release) if row.path == FIRST]
    image = nib.load(release / str(mask))
    nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine).to_filename(release / str(mask))
    certify(release, str(mask))


def without_its_mask(release: Path, study: Study) -> None:
    next(release.rglob("*ses-1_mod-T1w*defacemask.nii.gz")).unlink()


def with_a_head_nobody_judged(release: Path, study: Study) -> None:
    shutil.copy(study.bids / UNJUDGED, release / UNJUDGED)
    change(release, UNJUDGED, action="copied", looked_at="no")
    certify(release, UNJUDGED)


def with_what_was_held_back(release: Path, study: Study) -> None:
    (release / FAILED).parent.mkdir(parents=True)
    shutil.copy(study.bids / FAILED, release / FAILED)


FAULTS: dict[str, tuple[Callable[[Path, Study], object], str]] = {
    "swapped images": (swapped, f"{FIRST}: Its content is not what was released"),
    "an image with its face": (with_its_face, f"{T2W}: Inside its mask, it holds more than one value"),
    "a changed kept voxel": (with_a_changed_voxel, f"{FIRST}: Its content is not what was released"),
    "a sidecar with a name": (with_a_name, f"{SIDECAR}: It has fields that were to be removed: PatientName."),
    "a sidecar without the method": (without_the_method, f"{FIRST}: Its sidecar does not say how it was defaced"),
    "a truncated file": (truncated, f"{BOLD}: .*truncated or damaged"),
    "texts in a header": (with_texts, f"{BOLD}: Its header, or gzip's, holds texts"),
    "a time in gzip's header": (with_a_time_in_gzip, f"{BOLD}: Its header, or gzip's, holds texts"),
    "times in a table": (with_times, f"{SCANS}: It has columns that were to be removed: acq_time."),
    "a column with names": (with_a_column, "participants.tsv: It has columns that were to be removed: name."),
    "an empty mask": (with_an_empty_mask, f"{FIRST}: Its mask is empty or does not fit it"),
    "no mask": (without_its_mask, f"{FIRST}: Its mask is missing"),
    "a head that nobody judged": (with_a_head_nobody_judged, f"{UNJUDGED}: .*released without a verdict"),
    "what was held back": (with_what_was_held_back, f"{FAILED}: It was not released, and is here all the same"),
    "a missing file": (lambda release, _: (release / SCANS).unlink(), f"{SCANS}: It is missing"),
    "another file": (lambda release, _: (release / "x.txt").write_text("x"), "x.txt: It has no row in release.tsv"),
    "a failed verdict": (
        lambda release, _: change(release, FIRST, verdict="fail"), f"{FIRST}: It was released with the verdict fail"
    ),
    "a warning nobody accepted": (
        lambda release, _: change(release, FIRST, verdict="warn"), f"{FIRST}: It was released with the verdict warn"
    ),
    "kept voxels that differ": (
        lambda release, _: change(release, FIRST, kept_voxels="differ"), f"{FIRST}: Its kept voxels were not seen"
    ),
    "no page": (lambda release, _: (release / "release.html").unlink(), "release.html: It is missing"),
    "a sidecar that is none": (lambda release, _: certified(release, SIDECAR, b"{"), f"{SIDECAR}: It is no JSON"),
    "a sidecar that is a list": (
        lambda release, _: certified(release, SIDECAR, b"[]"), f"{SIDECAR}: It is no JSON object"
    ),
    "a table that is none": (
        lambda release, _: certified(release, "participants.tsv", b"a\n1\t2\n"), "participants.tsv: .* 2 cells in"
    ),
    "two rows": (
        lambda release, _: write_rows(
            release / "release.tsv", ReleaseRow, [*read_certificate(release), *read_certificate(release)]
        ),
        f"{FIRST}: It has more than one row",
    ),
}  # fmt: skip


def test_nothing_is_wrong_with_a_release_as_it_was_made(made: Path, study: Study, tmp_path: Path) -> None:
    assert "nothing is wrong" in found(made) and "3 defaced images among them" in found(made)
    shutil.copytree(made, tmp_path / "published")
    (tmp_path / "published/.git/refs").mkdir(parents=True)
    (tmp_path / "published/.git/HEAD").write_text("x")
    assert "nothing is wrong" in found(tmp_path / "published")
    run_release(study.settings(tmp_path / "shifted", shift_dates=True, accept_warnings=True), lambda _: None)
    assert "nothing is wrong" in found(tmp_path / "shifted")
    run_release(study.settings(tmp_path / "kept", keep_field=("SeriesDescription",)), lambda _: None)
    assert "SeriesDescription" in found(tmp_path / "kept")
    assert "nothing is wrong" in found(tmp_path / "kept", keep=("seriesdescription",))


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found(fault: str, release: Path, study: Study) -> None:
    plant, words = FAULTS[fault]
    plant(release, study)

    assert re.search(words, found(release)), found(release)


def test_a_release_that_is_not_valid_bids(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certified(release, "dataset_description.json", b'{"BIDSVersion": "1.10.0", "DatasetType": "raw"}')
    assert main(["verify", str(release), "--nprocs", "1"]) == 1
    assert "dataset_description.json: JSON_KEY_REQUIRED Name" in capsys.readouterr().out
    assert main(["verify", str(release), "--nprocs", "1", "--skip-bids-validation"]) == 0


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "sub-01/../../x"])
def test_a_certificate_that_names_files_outside(path: str, release: Path) -> None:
    rows = read_rows(release / "release.tsv", ReleaseRow)
    write_rows(release / "release.tsv", ReleaseRow, [*rows, ReleaseRow(path=path, action="copied")])
    with pytest.raises(ReleaseError, match="which lies outside of the release: somebody changed it"):
        verify_release(release)


def test_releases_that_cannot_be_looked_at(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "release.tsv").write_text("path\taction\nx\n")
    assert main(["verify", str(release)]) == 1
    assert "The certificate cannot be read" in capsys.readouterr().err
    (release / "release.tsv").unlink()
    assert main(["verify", str(release)]) == 1
    assert "has no release.tsv, so it is no finished release" in capsys.readouterr().err
    for command, words in (
        ([str(release / "none")], "is not a folder"),
        ([str(release), "--nprocs", "0"], "give 1 or more"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["verify", *command])
        assert words in capsys.readouterr().err
