"""The baseline that knows the truth: the average head fitted to an original by twelve parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine

from benchmarks import attack
from benchmarks.attack import fitted_average
from bids_refacer.audit.nodes import truth
from bids_refacer.audit.nodes.score import Score
from bids_refacer.group.summary import _distances_of
from bids_refacer.refacing import compose
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume, resample
from bids_refacer.volumes.nifti import read_scan, write_volume
from bids_refacer.volumes.registration import RegistrationError, fit_average_head
from bids_refacer.volumes.templates import asset

INDEX = ["participant_id", "session", "image"]
AT_HOME = Alignment(np.eye(4), np.eye(4))
STRETCH = np.diag([1.06, 0.95, 0.94, 1.0])
"""From a planted head to the average head, about the origin, with a shift."""
STRETCH[:3, 3] = [2.0, -3.0, 4.0]


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    return resample(asset("average_head.nii.gz"), CANONICAL[2], STRETCH)


def test_a_planted_stretch_is_found_in_the_face(head: np.ndarray) -> None:
    """The head is the average one, stretched: the fit brings its face onto the average face."""
    fitted = fit_average_head(Volume(head, CANONICAL[2].affine), AT_HOME)
    points = np.asarray(skin_surface(Volume(head, CANONICAL[2].affine)).vertices)
    face = points[(points[:, 1] > 70) & (np.abs(points[:, 2] + 50) < 50)]
    apart = np.linalg.norm(apply_affine(fitted, face) - apply_affine(STRETCH, face), axis=1)
    unfitted = np.linalg.norm(face - apply_affine(STRETCH, face), axis=1)
    assert apart.mean() < 1.5 < 4 < unfitted.mean()


def test_the_average_is_put_where_skin_was_removed(
    head: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the true fit the face comes back, and nothing else of the image changes."""
    affine, brain = CANONICAL[2].affine, np.zeros(head.shape, dtype=bool)
    brain[40:56, 50:70, 70:90] = True
    target = np.zeros(head.shape, dtype=bool)
    target[:, 85:, :70] = True
    write_volume(tmp_path / "original.nii.gz", Volume(head, affine), "float32")
    write_volume(tmp_path / "defaced.nii.gz", Volume(np.where(target, 0, head), affine), "float32")
    original, scan = read_scan(tmp_path / "original.nii.gz"), read_scan(tmp_path / "defaced.nii.gz")
    monkeypatch.setattr(attack, "prepare", lambda *_: (brain, AT_HOME))
    monkeypatch.setattr(attack, "fit_average_head", lambda *_: STRETCH)
    monkeypatch.setattr(compose, "brain_scale", lambda *_: 100.0)  # the unit of the average head
    found = fitted_average(original, scan, target, tmp_path)
    assert np.array_equal(found[~target], head[~target])
    tissue = target & (head > 20)
    assert np.abs(found - head)[tissue].mean() < 0.1 * head[tissue].mean()
    assert (tmp_path / "average_fitted.npy").exists()
    monkeypatch.setattr(attack, "fit_average_head", lambda *_: pytest.fail("it was kept"))
    assert np.array_equal(fitted_average(original, scan, target, tmp_path), found)


def test_no_fit_is_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration that fails costs the baseline and nothing else."""
    image = Volume(np.zeros((2, 2, 2), np.float32), np.eye(4))
    monkeypatch.setattr(truth, "fit_average_head", lambda *_: STRETCH)
    assert np.allclose(np.loadtxt(truth._fit(image, AT_HOME, tmp_path)), STRETCH)
    assert Score(average_fit=str(tmp_path / "average_fit.txt"))._fitted(image) is not None

    def fails(*_: object) -> np.ndarray:
        raise RegistrationError("It does not fit.")

    monkeypatch.setattr(truth, "fit_average_head", fails)
    assert Path(truth._fit(image, AT_HOME, tmp_path)).read_text() == ""
    assert Score(average_fit=str(tmp_path / "average_fit.txt"))._fitted(image) is None


def test_a_group_has_its_mean_beside_the_average() -> None:
    index = pd.MultiIndex.from_tuples([("sub-1", "", "a"), ("sub-2", "", "b")], names=INDEX)
    columns = ["refaced_mean", "average", "average-fitted", "defaced"]
    images = pd.DataFrame([[1.0, 2.0, 1.5, 9.0], [1.2, 2.2, np.nan, 9.0]], index=index, columns=columns)
    found = _distances_of(images, "refaced_mean", "")
    assert found["average_fitted_mm"]["sub-1"] == 1.5 and np.isnan(found["average_fitted_mm"]["sub-2"])
    assert list(found["average_mm"]) == [2.0, 2.2]
    assert "face_average_fitted_mm" not in _distances_of(images, None, "face_")
