"""What becomes of images that the audit did not judge, by what is seen in them; the look itself is stood in for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from release_study import ALONE, BOLD, TOOL, UNJUDGED, Study, make_study

from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.tables import read_table
from bids_refacer.dataset.validation import validate
from bids_refacer.release.content.masks import mask_of
from bids_refacer.release.images import looking
from bids_refacer.release.images.judged import Reference
from bids_refacer.release.images.looking import Seen, masked, mean_of
from bids_refacer.release.run import run_release
from bids_refacer.release.verify import verify_release
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_series

FIRST = "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = make_study(tmp_path_factory.mktemp("study"))
    for path in (FIRST, ALONE):
        names = OutputNames.of(study.layout, study.image(path))
        names.brain_mask().write_bytes(names.defacemask(TOOL).read_bytes())
    (study.bids / BOLD.replace("_bold.nii.gz", "_events.tsv")).write_text("onset\tduration\n1.0\t2.0\n")
    return study


def released(
    study: Study, place: Path, monkeypatch: pytest.MonkeyPatch, verdict: str | None, reason: str | None, **changes: Any
) -> tuple[dict[str, ReleaseRow], list[tuple[str, str]]]:
    """Rows of a release in which every look ends so, and what was looked at with which reference."""
    asked = []

    def look(path: Path, reference: Reference, limits: tuple[float, float], tool: str) -> Seen:
        asked.append((path.relative_to(study.bids).as_posix(), reference.name))
        scan = read_series(path)
        removed = np.zeros(scan.stored.shape[:3], dtype=bool)
        removed[:, -3:, :3] = True
        return Seen(
            scan, None if verdict in ("no face", None) else removed, "pass" if verdict == "no face" else verdict, reason
        )

    monkeypatch.setattr(looking, "look", look)
    run_release(study.settings(place, **changes), lambda _: None)
    return {row.path: row for row in read_rows(place / "release.tsv", ReleaseRow)}, asked


def test_a_face_is_masked_in_every_volume(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "x"
    rows, asked = released(study, place, monkeypatch, "pass", None, also=("func",))
    assert asked == [(BOLD, FIRST), (UNJUDGED, ALONE)]
    for path in (BOLD, UNJUDGED):
        row = rows[path]
        assert (row.action, row.verdict, row.looked_at, row.removed_voxels) == ("defaced", "pass", "yes", "one value")
        mask = mask_of(place / str(row.mask))
        before, after = (np.asarray(nib.load(root / path).dataobj) for root in (study.bids, place))
        assert (after[mask] == 0).all()
        np.testing.assert_array_equal(after[~mask], before[~mask])
        assert b"Doe" not in nib.load(place / path).header.binaryblock
    assert "DeidentificationMethod" in (place / BOLD.replace(".nii.gz", ".json")).read_text()
    assert validate(place) == [] and validate(place / "derivatives/defacemasks") == []
    assert verify_release(place, with_validator=False, say=lambda _: None) == 0
    _, asked = released(study, place, monkeypatch, "pass", None, also=("func",))
    assert asked == [], "it was looked at before"
    rows, asked = released(study, place, monkeypatch, "pass", None)
    assert rows[BOLD].looked_at == "no" and not list(place.rglob("*mod-bold*"))


def test_an_image_without_a_face_goes_as_it_is(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = released(study, tmp_path / "x", monkeypatch, "no face", "No face.", also=("func",))
    assert (rows[BOLD].action, rows[BOLD].looked_at, rows[BOLD].verdict) == ("scrubbed", "yes", "pass")
    assert rows[BOLD].reason == "No face." and rows[BOLD].mask is None
    assert verify_release(tmp_path / "x", with_validator=False, say=lambda _: None) == 0
    _, asked = released(study, tmp_path / "x", monkeypatch, "no face", "No face.", also=("func",))
    assert asked == []


@pytest.mark.parametrize(
    ("verdict", "words"), [("fail", "Still there."), (None, "Not judged."), ("warn", "--review-list")]
)
def test_what_must_not_go_is_held_back(
    verdict: str | None, words: str, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = {"fail": "Still there.", "warn": "Look."}.get(str(verdict), "Not judged.")
    rows, _ = released(study, tmp_path / "x", monkeypatch, verdict, reason, also=("func",))
    assert rows[UNJUDGED].action == rows[BOLD].action == "held back" and words in str(rows[UNJUDGED].reason)
    assert rows[UNJUDGED].verdict == (verdict or "not judged")
    assert not (tmp_path / "x" / UNJUDGED).exists()
    assert rows[UNJUDGED.replace(".nii.gz", ".json")].action == "held back"
    assert rows[BOLD.replace("_bold.nii.gz", "_events.tsv")].action == "held back"


def test_a_warning_can_be_accepted_by_its_line_in_the_review_list(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(study, tmp_path / "warned", monkeypatch, "warn", "Look.")
    (folder,) = (study.layout.identifiable / "release").glob("warned-*")
    kept = mask_of(folder / "images" / UNJUDGED)  # as it would be released
    assert kept.any() and not kept[:, -3:, :3].any() and UNJUDGED in (folder / "review.html").read_text()
    assert [row["image"] for row in read_table(folder / "review.tsv") if row["image"] == UNJUDGED] == [UNJUDGED]
    listed = tmp_path / "review.tsv"
    listed.write_text(f"participant_id\timage\tdecision\tinitials\nsub-03\t{UNJUDGED}\trelease\tAB\n")
    rows, _ = released(study, tmp_path / "warned", monkeypatch, "warn", "Look.", review_list=listed)
    assert rows[UNJUDGED].action == "defaced" and "Accepted by AB" in str(rows[UNJUDGED].reason)
    rows, _ = released(study, tmp_path / "y", monkeypatch, "warn", "Look.", accept_warnings=True)
    assert rows[UNJUDGED].action == "defaced"


def test_an_image_that_cannot_be_read_is_held_back(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> Seen:
        raise ImageError("It is truncated.")

    monkeypatch.setattr(looking, "look", look)
    run_release(study.settings(tmp_path / "x"), lambda _: None)
    rows = {row.path: row for row in read_rows(tmp_path / "x/release.tsv", ReleaseRow)}
    assert (rows[UNJUDGED].action, rows[UNJUDGED].reason) == ("held back", "It is truncated.")


def test_the_mean_and_the_mask_of_a_series(study: Study) -> None:
    series = read_series(study.bids / BOLD)
    assert series.stored.shape == (8, 8, 6, 5)
    np.testing.assert_allclose(mean_of(series).values, series.stored.mean(axis=3), rtol=1e-5)
    removed = np.zeros((8, 8, 6), dtype=bool)
    removed[2] = True
    stored = masked(series, removed)
    assert stored.dtype == series.stored.dtype and (stored[2] == 0).all() and (stored[3] == series.stored[3]).all()
    single = read_series(study.bids / FIRST)
    assert single.stored.ndim == 3 and mean_of(single) is single
