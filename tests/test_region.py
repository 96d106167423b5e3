"""The face region: parts lie where the landmarks are, follow the rigid pose, and hold faces of other sizes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import trimesh

from bids_refacer.surfaces.region import ASSET, PARTS, face_patch, in_part, inside_view, part_of, vertex_areas
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid
from bids_refacer.volumes.templates import asset

AT_HOME = Alignment(np.eye(4), np.eye(4))
LANDMARKS = {
    "nose": [(0.0, 123.0, -64.0), (0.0, 105.0, -34.0)],
    "eyes": [(-32.0, 88.0, -32.0), (32.0, 88.0, -32.0)],
    "mouth": [(0.0, 105.0, -92.0), (-22.0, 98.0, -94.0)],
    "chin": [(0.0, 102.0, -118.0)],
    "cheeks": [(-45.0, 80.0, -60.0), (50.0, 70.0, -80.0)],
    "forehead": [(0.0, 97.0, 18.0), (40.0, 80.0, 20.0)],
}
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "make_face_parts.py"


@pytest.fixture(scope="module")
def average_skin():
    return skin_surface(asset("average_head.nii.gz"))


@pytest.mark.parametrize("part", LANDMARKS)
def test_landmarks_lie_in_their_part(part):
    labels = part_of(np.array(LANDMARKS[part]), AT_HOME)
    assert [PARTS[label - 1] for label in labels] == [part] * len(labels)
    assert in_part(labels, part).all() and in_part(labels, "face").all()


def test_outside_the_face_is_zero():
    away = [(0.0, -90.0, 0.0), (-85.0, -20.0, -50.0), (0.0, 30.0, 78.0), (0.0, 60.0, -150.0), (0.0, 1e4, 0.0)]
    labels = part_of(np.array(away), AT_HOME)
    assert labels.dtype == np.int8
    np.testing.assert_array_equal(labels, 0)
    assert not in_part(labels, "face").any()


def test_parts_follow_the_rigid_pose_and_ignore_the_affine():
    turn = trimesh.transformations.rotation_matrix(0.5, [1.0, 0.0, 1.0], [0.0, 10.0, 0.0])
    points = np.concatenate([np.array(points) for points in LANDMARKS.values()])
    native = trimesh.transform_points(points, np.linalg.inv(turn))
    np.testing.assert_array_equal(part_of(native, Alignment(turn, 3 * np.eye(4))), part_of(points, AT_HOME))


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"Points have shape \(3,\); give an \(n, 3\) array"):
        part_of(np.zeros(3), AT_HOME)


def test_asset_lies_on_the_canonical_grid_and_holds_every_part():
    labels, affine = asset(ASSET).values, asset(ASSET).affine
    assert labels.shape == CANONICAL[2].shape and labels.dtype == np.uint8
    np.testing.assert_array_equal(affine, CANONICAL[2].affine)
    assert set(np.unique(labels)) == set(range(len(PARTS) + 1))


def test_asset_is_what_its_script_builds():
    spec = importlib.util.spec_from_file_location("make_face_parts", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    np.testing.assert_array_equal(script.face_parts(), asset(ASSET).values)


def test_region_holds_faces_15_mm_larger_and_smaller(average_skin):
    labels = part_of(average_skin.vertices, AT_HOME)
    # Away from the region's sides, where a move along the normal leaves it sideways
    middle = (labels > 1) & (average_skin.vertices[:, 1] > 70) & (average_skin.vertices[:, 2] > -95)
    middle &= average_skin.vertices[:, 2] < 30
    normals = average_skin.vertex_normals[middle]
    for move in (-15.0, 15.0):
        assert in_part(part_of(average_skin.vertices[middle] + move * normals, AT_HOME), "face").mean() > 0.98


def test_inside_view_leaves_out_the_border():
    view = Grid((5, 5, 5), np.diag([2.0, 2.0, 2.0, 1.0]))
    points = np.array([[4.0, 4.0, 4.0], [0.0, 4.0, 4.0], [4.0, 8.0, 4.0], [4.0, 4.0, 9.0], [0.1, 7.9, 4.0]])
    np.testing.assert_array_equal(inside_view(points, view), [True, False, False, False, True])


def test_face_patch_keeps_whole_triangles_and_their_places():
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=10.0)
    inside = mesh.vertices[:, 2] > 0
    patch, kept = face_patch(mesh, inside)
    np.testing.assert_array_equal(patch.vertices, mesh.vertices[kept])
    assert len(patch.faces) == inside[mesh.faces].all(axis=1).sum()
    assert patch.area == pytest.approx(mesh.area_faces[inside[mesh.faces].all(axis=1)].sum())


def test_face_patch_of_nothing_is_empty():
    mesh = trimesh.creation.icosphere()
    patch, kept = face_patch(mesh, np.zeros(len(mesh.vertices), dtype=bool))
    assert len(patch.faces) == len(patch.vertices) == len(kept) == 0


def test_areas_of_vertices_are_thirds_of_the_triangles_around_them() -> None:
    """Two triangles of 2 and 3 mm^2 that share an edge."""
    corners = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 3, 0]], float)
    mesh = trimesh.Trimesh(corners, [[0, 1, 2], [1, 3, 2]], process=False)
    np.testing.assert_allclose(mesh.area_faces, [2, 3])
    np.testing.assert_allclose(vertex_areas(mesh), [2 / 3, 5 / 3, 5 / 3, 1])
