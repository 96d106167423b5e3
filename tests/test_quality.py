"""Figures of a recovered face: debris, enclosed air, roughness and a seam are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_refacer.surfaces.quality import face_quality, roughness
from bids_refacer.surfaces.skin import skin_level, skin_surface
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume
from bids_refacer.volumes.templates import asset

STILL = Alignment(np.eye(4), np.eye(4))
AFFINE = CANONICAL[2].affine


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """The average head, (96, 128, 128) float32."""
    return asset("average_head.nii.gz").values.astype(np.float32)


@pytest.fixture(scope="module")
def level(head: np.ndarray) -> np.ndarray:
    return skin_level(Volume(head, AFFINE))


@pytest.fixture(scope="module")
def painted(head: np.ndarray) -> np.ndarray:
    mask = np.zeros(head.shape, bool)
    mask[20:76, 90:, 20:60] = True
    return mask


def quality(values: np.ndarray, level: np.ndarray, painted: np.ndarray):
    return face_quality(Volume(values, AFFINE), level, painted, STILL)


def test_loose_tissue_in_the_painted_region_is_counted_in_ml(head, level, painted) -> None:
    before = quality(head, level, painted)
    debris = head.copy()
    debris[40:50, 122:126, 30:40] = head.max()  # 10 x 4 x 10 voxels of 8 mm3, in front of the face
    debris[2:6, 20:24, 2:6] = head.max()  # and as far from what was painted as it gets
    after = quality(debris, level, painted)
    assert after.loose_ml - before.loose_ml == pytest.approx(3.2, abs=0.01)
    assert after.cavity_ml == before.cavity_ml


def test_air_enclosed_in_painted_tissue_is_counted_in_ml(head, level, painted) -> None:
    depth = np.where(painted, ndimage.distance_transform_edt(head > level), 0)
    i, j, k = np.unravel_index(depth.argmax(), depth.shape)
    assert depth[i, j, k] > 3, "a block of three voxels is tissue all around"
    hollow = head.copy()
    hollow[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = 0
    inside = painted[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2].sum()
    added = quality(hollow, level, painted).cavity_ml - quality(head, level, painted).cavity_ml
    assert added == pytest.approx(0.008 * inside) and inside >= 18


def test_a_rough_face_and_a_seam_are_told_apart(head, level, painted) -> None:
    smooth = quality(head, level, painted)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 3, head.shape), 0.7)
    deep = ndimage.binary_erosion(painted, iterations=4)
    rough = quality(head * np.exp(noise * deep).astype(np.float32), level, painted)
    assert rough.roughness_mm > 1.2 * smooth.roughness_mm
    assert rough.seam_mm == pytest.approx(smooth.seam_mm, rel=0.1)
    step = np.where(painted, ndimage.shift(head, (0, 2, 0), order=1), head)  # painted 4 mm too far forward
    seam = quality(step, level, painted)
    assert seam.seam_mm > 1.2 * smooth.seam_mm
    assert seam.roughness_mm == pytest.approx(smooth.roughness_mm, rel=0.15)


def test_without_skin_in_the_region_there_is_no_roughness(head, level) -> None:
    nothing = quality(head, level, np.zeros(head.shape, bool))
    assert np.isnan(nothing.roughness_mm) and np.isnan(nothing.seam_mm)
    assert (nothing.loose_ml, nothing.cavity_ml) == (0, 0)


def test_the_roughness_of_a_sphere_is_its_sagitta() -> None:
    """Neighbours at a distance d on a sphere of radius r lie d^2 / 2r below the tangent plane."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=4, radius=80.0)
    edge = np.linalg.norm(np.diff(ball.vertices[ball.edges_unique], axis=1), axis=-1)
    assert np.median(roughness(ball)) == pytest.approx(np.mean(edge**2) / 160, rel=0.05)


def test_a_real_surface_is_no_rougher_than_a_voxel(head, level) -> None:
    assert 0 < roughness(skin_surface(Volume(head, AFFINE), level)).mean() < 0.3
