"""The average face: where the brain says that the head is, never stretched, its intensities as those of the samples."""

from __future__ import annotations

import numpy as np

from bids_refacer.refacing.compose import average_in_native
from bids_refacer.surfaces.score import score_images
from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid, Volume, resample
from bids_refacer.volumes.templates import asset

STRETCH = np.array([[1.06, 0.0, 0.03, 0.0], [0.0, 0.98, 0.0, 0.0], [0.0, 0.02, 0.94, 0.0], [0.0, 0.0, 0.0, 1.0]])


def average() -> np.ndarray:
    return asset("average_head.nii.gz").values.astype(np.float32)


def test_the_average_is_moved_and_turned() -> None:
    angle = np.deg2rad(7)
    rigid = np.eye(4)
    rigid[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    rigid[:3, 3] = (3.0, -5.0, 2.0)
    native = Grid((90, 110, 100), np.array([[-2.0, 0, 0, 88], [0, 0, 2.0, -120], [0, 2.0, 0, -130], [0, 0, 0, 1]]))
    found = average_in_native(native, Alignment(rigid, STRETCH @ rigid), 50.0)
    expected = resample(Volume(average() / 2, CANONICAL[2].affine), native, rigid)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.dtype == np.float32 and found.max() > 50


def test_a_brain_of_another_shape_does_not_stretch_the_face() -> None:
    """A head whose registration stretches as much as one of a real head did: 19 mm at the chin, then."""
    head, still = average(), Alignment(np.eye(4), STRETCH)
    removed = np.zeros(head.shape, dtype=bool)
    removed[:, 90:, :65] = True
    stretched = still.average_to_native(head, 2, CANONICAL[2])
    faces = {
        ("average", None): np.where(removed, average_in_native(CANONICAL[2], still, 100.0), head),
        ("refaced", 1): np.where(removed, stretched, head),
    }
    rows = score_images(Volume(head, CANONICAL[2].affine), faces, still).rows
    masd = {row.image_type: row.masd_mm for row in rows if row.part == "face"}
    assert masd["average"] < 0.05 and masd["refaced"] > 0.5
