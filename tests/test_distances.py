"""Distances against closed forms: spheres, planes, a face moved by a known amount; and against a slow obvious twin."""

import numpy as np
import pytest
import trimesh

from bids_refacer.surfaces.distances import (
    FIGURES,
    face_distances,
    mark_face,
    part_rows,
    signed_distances,
    weighted_quantile,
)
from bids_refacer.surfaces.region import PARTS
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.templates import asset

AT_HOME = Alignment(np.eye(4), np.eye(4))


def compare_surfaces(recovered, truth, alignment, view=None):
    """What `surfaces.score` does with each candidate."""
    ours, theirs = mark_face(recovered, alignment, view), mark_face(truth, alignment, view)
    return part_rows(ours, theirs, *face_distances(ours, theirs))


@pytest.fixture(scope="module")
def average_face():
    return skin_surface(asset("average_head.nii.gz"))


def sphere(radius, centre=(0.0, 20.0, -50.0)):
    mesh = trimesh.creation.icosphere(subdivisions=6, radius=radius)
    return trimesh.Trimesh(mesh.vertices + centre, mesh.faces, process=False)


def block(front_y, slope=0.0, half=(120.0, 100.0, 200.0), cells=40):
    """A closed block whose front face (many triangles) is y = front_y + slope * x, the rest far from the face."""
    width, _, height = half
    x, z = np.meshgrid(np.linspace(-width, width, cells + 1), np.linspace(-height, height, cells + 1), indexing="ij")
    front = np.stack([x, front_y + slope * x, z], axis=-1).reshape(-1, 3)
    back = front * [1.0, 0.0, 1.0] - [0.0, 150.0, 0.0]
    index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    sheet = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, c, b), (a, d, c))])
    rim = np.concatenate([index[:, 0], index[-1, 1:], index[-2::-1, -1], index[0, -2:0:-1]])
    rim_next = np.roll(rim, -1)
    wall = np.concatenate(
        [
            np.stack([rim, rim_next, rim + index.size], 1),
            np.stack([rim_next, rim_next + index.size, rim + index.size], 1),
        ]
    )
    mesh = trimesh.Trimesh(
        np.concatenate([front, back]), np.concatenate([sheet, sheet[:, ::-1] + index.size, wall]), process=False
    )
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
    return mesh


def of_part(rows, part):
    return next(row for row in rows if row.part == part)


def naive_distance(points, mesh):
    """The slow twin: clamp the projection onto every triangle's plane, and onto every edge; keep the smallest."""
    best = np.full(len(points), np.inf)
    for a, b, c in mesh.triangles:
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal)
        height = (points - a) @ normal
        foot = points - height[:, None] * normal
        inside = np.ones(len(points), dtype=bool)
        for start, end in ((a, b), (b, c), (c, a)):
            inside &= np.cross(end - start, foot - start) @ normal >= 0
            along = np.clip(((points - start) @ (end - start)) / ((end - start) @ (end - start)), 0, 1)
            best = np.minimum(best, np.linalg.norm(points - start - along[:, None] * (end - start), axis=1))
        best[inside] = np.minimum(best[inside], np.abs(height[inside]))
    return best


def naive_inside(points, mesh):
    """Inside where the triangles' solid angles add up to 4 pi (van Oosterom and Strackee 1983)."""
    a, b, c = np.moveaxis(mesh.triangles[None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
    volume = np.sum(a * np.cross(b, c), axis=-1)
    rest = la * lb * lc + np.sum(a * b, -1) * lc + np.sum(b * c, -1) * la + np.sum(c * a, -1) * lb
    return np.sum(2 * np.arctan2(volume, rest), axis=1) > 2 * np.pi


def test_distances_equal_the_slow_twin():
    rng = np.random.default_rng(0)
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=10.0)
    mesh = trimesh.Trimesh(mesh.vertices * rng.uniform(0.8, 1.2, (len(mesh.vertices), 1)), mesh.faces, process=False)
    points = np.concatenate([rng.normal(0, 9, (200, 3)), mesh.vertices[:20], mesh.triangles_center[:20]])
    found = signed_distances(points, mesh)
    np.testing.assert_allclose(np.abs(found), naive_distance(points, mesh), atol=1e-6)
    sign = np.where(naive_inside(points[:200], mesh), -1, 1)
    np.testing.assert_array_equal(np.sign(found[:200]), sign)


def test_no_points_no_distances():
    assert signed_distances(np.zeros((0, 3)), sphere(10.0)).shape == (0,)


@pytest.mark.parametrize(("recovered", "truth"), [(88.0, 85.0), (82.5, 85.0)])
def test_concentric_spheres(recovered, truth):
    """Between icospheres of 2 mm edges: the distance differs from r2 - r1 by their sagitta, under 0.01 mm."""
    rows = compare_surfaces(sphere(recovered), sphere(truth), AT_HOME)
    assert [row.part for row in rows] == list(PARTS)
    for row in rows:
        for figure in ("masd_mm", "to_true_mm", "to_recovered_mm", "median_mm", "p95_mm", "hausdorff_mm"):
            assert getattr(row, figure) == pytest.approx(abs(recovered - truth), abs=0.02), (row.part, figure)
        assert row.signed_mean_mm == pytest.approx(recovered - truth, abs=0.02)
        assert row.n_vertices > 50


@pytest.mark.parametrize("shift", [2.5, -4.0])
def test_shifted_planes(shift):
    rows = compare_surfaces(block(95.0 + shift), block(95.0), AT_HOME)
    for row in rows:
        for figure in FIGURES[:-1]:
            assert getattr(row, figure) == pytest.approx(abs(shift), abs=1e-9)
        assert row.signed_mean_mm == pytest.approx(shift, abs=1e-9)


def test_same_surface_is_at_zero(average_face):
    for row in compare_surfaces(average_face, average_face, AT_HOME):
        assert [getattr(row, figure) for figure in FIGURES] == pytest.approx([0.0] * len(FIGURES), abs=1e-9)


@pytest.mark.parametrize("move", [(0.0, 1.0, 0.0), (0.0, -1.5, 0.0), (0.5, 0.5, -0.7)])
def test_face_moved_by_a_known_amount(average_face, move):
    """To first order a point moved by t is |n.t| away from where its surface was (n the outward normal)."""
    moved = trimesh.Trimesh(average_face.vertices + move, average_face.faces, process=False)
    found = of_part(compare_surfaces(moved, average_face, AT_HOME), "face")
    marked = mark_face(moved, AT_HOME)
    across = average_face.vertex_normals[marked.where] @ np.array(move)
    assert found.masd_mm == pytest.approx(np.average(np.abs(across), weights=marked.areas), abs=0.05)
    assert found.signed_mean_mm == pytest.approx(np.average(across, weights=marked.areas), abs=0.05)
    assert found.hausdorff_mm <= np.linalg.norm(move) + 1e-9
    assert found.to_true_mm == pytest.approx(found.to_recovered_mm, abs=0.02)


def test_means_weigh_by_area_and_not_by_vertex():
    """A slanted front, its left half cut into four times as many triangles: the mean distance does not change."""
    truth, plain = block(85.0), block(95.0, slope=0.1)
    left = np.nonzero(plain.triangles_center[:, 0] < 0)[0]
    vertices, faces = trimesh.remesh.subdivide(plain.vertices, plain.faces, face_index=left)
    dense = trimesh.Trimesh(vertices, faces, process=False)
    rows = [of_part(compare_surfaces(mesh, truth, AT_HOME), "face") for mesh in (plain, dense)]
    assert rows[1].to_true_mm == pytest.approx(rows[0].to_true_mm, abs=0.1)
    points = mark_face(dense, AT_HOME).points
    assert abs(np.mean(np.abs(signed_distances(points, truth))) - rows[0].to_true_mm) > 0.3


def test_symmetric_distance_is_the_mean_of_both_directions():
    row = of_part(compare_surfaces(sphere(86.0, (0.0, 25.0, -50.0)), sphere(80.0), AT_HOME), "face")
    assert row.to_true_mm != pytest.approx(row.to_recovered_mm, abs=0.01)
    assert row.masd_mm == pytest.approx((row.to_true_mm + row.to_recovered_mm) / 2)


def test_nearest_points_are_searched_outside_the_region_too():
    """A whole sphere moved sideways by less than the region's border: no distance exceeds the move."""
    row = of_part(compare_surfaces(sphere(85.0, (0.0, 20.0, -44.0)), sphere(85.0), AT_HOME), "face")
    assert row.hausdorff_mm <= 6.0 + 1e-6


def test_part_that_the_truth_lacks_is_not_available():
    """A truth that ends below the eyes, as where the scan does, has no forehead: NaN and never zero."""
    truth = trimesh.Trimesh(sphere(60.0, (0.0, 40.0, -100.0)).vertices, sphere(60.0).faces, process=False)
    rows = compare_surfaces(sphere(85.0), truth, AT_HOME)
    assert all(np.isnan(getattr(of_part(rows, "forehead"), figure)) for figure in FIGURES)
    assert np.isfinite(of_part(rows, "mouth").masd_mm)


def test_recovered_surface_without_a_face_is_far_and_finite():
    """A ball deep inside: only the true face has points, and only that direction counts."""
    truth, brain = sphere(85.0), sphere(8.0)
    for row in compare_surfaces(brain, truth, AT_HOME):
        assert np.isnan(row.to_true_mm)
        for figure in ("masd_mm", "to_recovered_mm", "median_mm", "p95_mm", "hausdorff_mm"):
            assert getattr(row, figure) == pytest.approx(77.0, abs=0.05)
        assert row.signed_mean_mm == pytest.approx(-77.0, abs=0.05)
        assert row.n_vertices > 0


def test_region_follows_the_rigid_alignment(average_face):
    turn = trimesh.transformations.rotation_matrix(0.7, [1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
    moved = trimesh.Trimesh(average_face.vertices + [0.0, 1.0, 0.0], average_face.faces, process=False)
    at_home = compare_surfaces(moved, average_face, AT_HOME)
    away = [
        trimesh.Trimesh(trimesh.transform_points(m.vertices, turn), m.faces, process=False)
        for m in (moved, average_face)
    ]
    turned = compare_surfaces(away[0], away[1], Alignment(np.linalg.inv(turn), 2 * np.eye(4)))
    for here, there in zip(at_home, turned, strict=True):
        assert there.masd_mm == pytest.approx(here.masd_mm, abs=0.01)


def test_border_of_the_field_of_view_is_no_skin():
    """The lid of a block that the scan cuts at y = 95 counts only where no field of view is given."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [-158.0, -165.0, -238.0]
    view = Grid((80, 66, 120), affine)  # outermost voxel centres at y = 95
    lid = block(95.0)
    assert len(mark_face(lid, AT_HOME).where) > 0
    assert len(mark_face(lid, AT_HOME, view).where) == 0
    assert len(mark_face(block(94.0), AT_HOME, view).where) > 0


def test_weighted_quantile_is_the_quantile_of_repeated_values():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=50), rng.integers(1, 6, 50)
    for q in (0.05, 0.5, 0.95, 1.0):
        expected = np.quantile(np.repeat(values, weights), q, method="inverted_cdf")
        assert weighted_quantile(values, weights.astype(float), q) == expected
