"""What scoring leaves out changes no figure: each against its slow twin."""

from __future__ import annotations

import igl
import numpy as np
import pytest
import trimesh

from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.skin import SkinError, skin_surface, smoothed
from bids_refacer.volumes.grid import Volume

SPACING = np.array([1.5, 2.0, 1.0])
AFFINE = np.diag([*SPACING, 1.0])


def head(*bumps: tuple[tuple[float, float, float], float]) -> np.ndarray:
    """A noisy ball of 100, and smaller ones on it: (middle in mm, radius in mm)."""
    places = np.moveaxis(np.indices((44, 34, 60)), 0, -1) * SPACING
    inside = np.linalg.norm(places - (33, 34, 30), axis=-1) < 22
    for middle, radius in bumps:
        inside |= np.linalg.norm(places - middle, axis=-1) < radius
    return (100 * inside + np.random.default_rng(0).normal(0, 1, inside.shape) ** 2).astype(np.float32)


def whole_distances(points: np.ndarray, mesh: trimesh.Trimesh) -> np.ndarray:
    """The slow twin: every triangle is searched for every point."""
    kind = igl.SignedDistanceType.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    return np.asarray(igl.signed_distance(np.asarray(points), np.asarray(mesh.vertices), faces, sign_type=kind)[0])


@pytest.fixture(scope="module")
def with_nose() -> trimesh.Trimesh:
    return skin_surface(Volume(head(((33, 56, 30), 8.0)), AFFINE), 50.0)


@pytest.mark.parametrize(
    "bumps",
    [(), (((33, 52, 34), 9.0),), (((33, 34, 30), 25.0),)],
    ids=["the nose is gone", "another nose", "all skin moved"],
)
def test_distances_are_those_to_the_whole_surface(
    with_nose: trimesh.Trimesh, bumps: tuple[tuple[tuple[float, float, float], float], ...]
) -> None:
    other = skin_surface(Volume(head(*bumps), AFFINE), 50.0)
    for points, mesh in ((other.vertices, with_nose), (with_nose.vertices, other)):
        found, whole = signed_distances(points, mesh), whole_distances(points, mesh)
        np.testing.assert_allclose(found, whole, atol=1e-9)
        away = np.abs(whole) > 1e-6
        assert away.any() and (np.sign(found[away]) == np.sign(whole[away])).all()


def test_distances_of_points_anywhere(with_nose: trimesh.Trimesh) -> None:
    """Deep inside, far outside, on vertices, and on all sides of the surface."""
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.uniform(-60, 140, (60, 3)), with_nose.vertices[::50], [[33, 34, 30]]])
    np.testing.assert_allclose(signed_distances(points, with_nose), whole_distances(points, with_nose), atol=1e-9)


@pytest.mark.parametrize("place", ["inside the image", "at its border", "nowhere", "not a number"])
def test_a_skin_is_the_same_whatever_was_smoothed_before(place: str) -> None:
    original = head(((33, 56, 30), 8.0))
    candidate = original.copy()
    if place == "inside the image":
        candidate[15:30, 22:30, 20:40] = 0
    elif place == "at its border":
        candidate[15:30, 22:, :40] *= 0.5
    elif place == "not a number":
        candidate[20:25, 24:28, 28:33] = np.nan
    whole = skin_surface(Volume(candidate, AFFINE), 50.0)
    part = skin_surface(Volume(candidate, AFFINE), 50.0, smoothed(Volume(original, AFFINE)))
    np.testing.assert_array_equal(part.vertices, whole.vertices)
    np.testing.assert_array_equal(part.faces, whole.faces)


def test_nothing_left_is_still_no_skin() -> None:
    with pytest.raises(SkinError, match="constant"):
        skin_surface(Volume(np.zeros_like(head()), AFFINE), 50.0, smoothed(Volume(head(), AFFINE)))
