"""Images that the audit did not judge: looked at, masked where they show a face, held back where nobody can say."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from other_contrast import other_contrast
from release_study import TOOL, Study, add_result
from small_datasets import DATA, add_image, average_head, start_dataset

from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.validation import validate
from bids_refacer.release.images.judged import Reference
from bids_refacer.release.images.looking import look
from bids_refacer.release.run import run_release
from bids_refacer.release.verify import verify_release

pytestmark = pytest.mark.slow  # each look registers heads

T1W = "sub-01/anat/sub-01_T1w.nii.gz"
T2W = "sub-01/anat/sub-01_T2w.nii.gz"
SLAB = "sub-01/anat/sub-01_acq-slab_T2w.nii.gz"
NOISE = "sub-01/anat/sub-01_FLAIR.nii.gz"
BOLD = "sub-01/func/sub-01_task-rest_bold.nii.gz"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, average_head_path: Path) -> Study:
    root = tmp_path_factory.mktemp("looking")
    bids = start_dataset(root / "bids")
    study = Study(bids, root / "out")
    head = nib.load(average_head_path)
    add_image(bids, "sub-01_T1w")
    t2w = other_contrast(head)
    save(bids / T2W, t2w)
    top = np.asarray(head.dataobj)[:, :, head.shape[2] * 2 // 3 :]
    moved = head.affine.copy()
    moved[:3, 3] = head.affine[:3, :3] @ [0, 0, head.shape[2] * 2 // 3] + head.affine[:3, 3]
    save(bids / SLAB, nib.Nifti1Image(top, moved))
    save(
        bids / NOISE,
        nib.Nifti1Image(np.random.default_rng(0).normal(50, 9, (40, 40, 40)).astype(np.float32), np.eye(4)),
    )
    small = average_head()[::2, ::2, ::2].astype(np.int16)
    series = np.stack([small, small + 3, small + 1], axis=-1)
    affine = head.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    save(bids / BOLD, nib.Nifti1Image(series, affine))
    (bids / BOLD.replace(".nii.gz", ".json")).write_text(json.dumps({"TaskName": "rest", "RepetitionTime": 1.0}))
    add_result(study, T1W, 0.0, 0.0)
    brain = OutputNames.of(study.layout, study.image(T1W)).brain_mask()
    brain.write_bytes((DATA / "average_brain_mask.nii.gz").read_bytes())
    return study


def save(path: Path, image: nib.Nifti1Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(path)


@pytest.fixture(scope="module")
def release(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "release"
    assert run_release(study.settings(place, also=("func",)), lambda _: None) == 1
    return place


@pytest.fixture(scope="module")
def rows(release: Path) -> dict[str, ReleaseRow]:
    return {row.path: row for row in read_rows(release / "release.tsv", ReleaseRow)}


@pytest.mark.parametrize("path", [T2W, BOLD])
def test_an_image_that_shows_a_face_is_masked_in_every_volume(
    path: str, study: Study, release: Path, rows: dict[str, ReleaseRow]
) -> None:
    row = rows[path]
    assert (row.action, row.verdict, row.looked_at) == ("defaced", "pass", "yes"), row
    assert str(row.reason).startswith(f"With the mask of {T1W}.")
    before, after = (np.asarray(nib.load(root / path).dataobj) for root in (study.bids, release))
    mask = np.asarray(nib.load(release / str(row.mask)).dataobj) > 0
    assert 0.02 < mask.mean() < 0.6 and (after[mask] == 0).all() and (before[mask] > 20).any()
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert (nib.load(release / path).affine == nib.load(study.bids / path).affine).all()


def test_an_image_without_a_face_goes_as_it_is(study: Study, release: Path, rows: dict[str, ReleaseRow]) -> None:
    assert (rows[SLAB].verdict, rows[SLAB].looked_at) == ("pass", "yes")
    assert rows[SLAB].action in ("copied", "scrubbed") and "is in its field of view" in str(rows[SLAB].reason)
    one, other = (np.asarray(nib.load(root / SLAB).dataobj) for root in (study.bids, release))
    np.testing.assert_array_equal(one, other)


def test_what_is_no_head_is_not_judged(release: Path, rows: dict[str, ReleaseRow]) -> None:
    assert (rows[NOISE].action, rows[NOISE].verdict) == ("held back", "not judged")
    assert "Registration of two images of one head failed" in str(rows[NOISE].reason)
    assert not (release / NOISE).exists()


def test_the_release_is_valid_and_can_be_verified(release: Path) -> None:
    assert validate(release) == [] and validate(release / "derivatives/defacemasks") == []
    assert verify_release(release, with_validator=False, say=lambda _: None) == 0


def test_a_second_run_looks_at_nothing_again(study: Study, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was looked at again")

    before = {path: path.stat().st_mtime_ns for path in release.rglob("*.nii.gz")}
    noise = study.bids / NOISE
    content = noise.read_bytes()
    noise.unlink()  # what was held back is looked at again, as its reference may be another
    monkeypatch.setattr("bids_refacer.release.images.looking.look", never)
    run_release(study.settings(release, also=("func",)), lambda _: None)
    noise.write_bytes(content)
    assert {path: path.stat().st_mtime_ns for path in release.rglob("*.nii.gz")} == before


def test_a_mask_that_lies_beside_the_face_holds_back(study: Study, tmp_path: Path) -> None:
    names = OutputNames.of(study.layout, study.image(T1W))
    image = nib.load(names.defacemask(TOOL))
    data = np.zeros(image.shape, np.uint8)
    data[:, -12:, -12:] = 1
    mask = tmp_path / "mask.nii.gz"
    nib.Nifti1Image(data, image.affine).to_filename(mask)
    reference = Reference(path=study.bids / T1W, brain_mask=names.brain_mask(), mask=mask, name=T1W)
    seen = look(study.bids / BOLD, reference, (5.0, 20.0), TOOL)
    assert seen.verdict == "fail" and "is not published" in str(seen.reason)
