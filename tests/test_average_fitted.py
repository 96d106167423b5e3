"""The baseline that knows the truth: an average face warped onto the true one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_refacer.audit.nodes.score import Score
from bids_refacer.group.summary import _distances_of
from bids_refacer.refacing.drawing.fitted import Original, fitted_average
from bids_refacer.refacing.drawing.template import face_template
from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.skin import SkinError, skin_surface
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume, resample
from bids_refacer.volumes.nifti import read_scan, write_volume
from bids_refacer.volumes.scan import Scan

INDEX = ["participant_id", "session", "image"]
AT_HOME = Alignment(np.eye(4), np.eye(4))
STRETCH = np.diag([1.06, 0.95, 0.94, 1.0])
"""From a planted head to the template, about the origin, with a shift."""
STRETCH[:3, 3] = [2.0, -3.0, 4.0]
BRAIN_UNIT = 200.0


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Original, Scan, np.ndarray]:
    """The template, stretched; what is left of it when its face is removed; and what was removed."""
    folder, grid = tmp_path_factory.mktemp("planted"), CANONICAL[2]
    image = Volume(face_template().image * np.float32(BRAIN_UNIT), CANONICAL[1].affine)
    head = resample(image, grid, STRETCH)
    brain = np.zeros(head.shape, dtype=bool)
    brain[40:56, 50:70, 70:90] = True
    target = np.zeros(head.shape, dtype=bool)
    target[:, 85:, :70] = True
    write_volume(folder / "defaced.nii.gz", Volume(np.where(target, 0, head), grid.affine), "float32")
    return Original(Volume(head, grid.affine), brain, AT_HOME), read_scan(folder / "defaced.nii.gz"), target


def to_truth(values: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance, mm, of the true face to the skin of an image on the canonical grid."""
    affine = CANONICAL[2].affine
    points = np.asarray(skin_surface(Volume(truth, affine)).vertices)
    face = points[(points[:, 1] > 70) & (np.abs(points[:, 2] + 50) < 50)]
    return float(np.abs(signed_distances(face, skin_surface(Volume(values, affine)))).mean())


def test_the_template_is_warped_onto_the_true_face(planted: tuple[Original, Scan, np.ndarray]) -> None:
    """The face of a stretched template comes back, and nothing else of the image changes."""
    original, scan, target = planted
    head = original.image.values
    found = fitted_average(original, face_template(), scan, target)
    assert np.array_equal(found.values[~target], scan.values[~target])
    still = resample(
        Volume(face_template().image * np.float32(BRAIN_UNIT), CANONICAL[1].affine), CANONICAL[2], np.eye(4)
    )
    assert to_truth(found.values, head) < 0.8 < 3 < to_truth(still, head)


def test_where_nothing_was_removed_nothing_is_put(planted: tuple[Original, Scan, np.ndarray]) -> None:
    original, scan, target = planted
    found = fitted_average(original, face_template(), scan, np.zeros_like(target))
    assert np.array_equal(found.values, scan.values)


def test_without_a_head_to_fit_there_is_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warp that cannot be had costs the baseline and nothing else."""
    image = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4))
    write_volume(tmp_path / "mask.nii.gz", image, "uint8")
    write_volume(tmp_path / "defaced.nii.gz", Volume(np.arange(64.0).reshape(4, 4, 4), image.affine), "uint8")
    AT_HOME.to_json(tmp_path / "alignment.json")
    files = {"brain_mask": "mask.nii.gz", "unknown": "mask.nii.gz", "defaced": "defaced.nii.gz"}
    given = {name: str(tmp_path / file) for name, file in files.items()}
    node = Score(alignment=str(tmp_path / "alignment.json"), **given)
    made = node._fitted(image, tmp_path)
    assert made is not None and np.array_equal(read_scan(made).values, read_scan(given["defaced"]).values)

    def fails(*_: object) -> np.ndarray:
        raise SkinError("No head.")

    monkeypatch.setattr("bids_refacer.refacing.drawing.fitted.fitted_average", fails)
    assert node._fitted(image, tmp_path) is None
    assert Score()._fitted(image, tmp_path) is None


def test_a_group_has_its_mean_beside_the_average() -> None:
    index = pd.MultiIndex.from_tuples([("sub-1", "", "a"), ("sub-2", "", "b")], names=INDEX)
    columns = ["refaced_mean", "average", "average-fitted", "defaced"]
    images = pd.DataFrame([[1.0, 2.0, 1.5, 9.0], [1.2, 2.2, np.nan, 9.0]], index=index, columns=columns)
    found = _distances_of(images, "refaced_mean", "")
    assert found["average_fitted_mm"]["sub-1"] == 1.5 and np.isnan(found["average_fitted_mm"]["sub-2"])
    assert list(found["average_mm"]) == [2.0, 2.2]
    assert "face_average_fitted_mm" not in _distances_of(images, None, "face_")
