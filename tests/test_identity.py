"""Face maps of known shapes, files of them, and searching a crowd against slow, obvious twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from bids_refacer.surfaces.face_distance import FaceShape, face_distance
from bids_refacer.surfaces.face_map import (
    COLUMNS,
    ROWS,
    FaceMap,
    depth_map,
    halved,
    map_face,
    read_face_map,
    write_face_map,
)
from bids_refacer.surfaces.face_matching import LEAST_SHARE, Gallery, match, reranked
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.image_file import ImageError


def cylinder(radius: float) -> trimesh.Trimesh:
    """A finely cut upright cylinder around the axis of the grid, taller than it."""
    angles, heights = np.linspace(-np.pi, np.pi, 721), np.arange(-150.0, 61.0, 10.0)
    a, z = np.meshgrid(angles, heights, indexing="ij")
    points = np.stack([radius * np.sin(a), radius * np.cos(a), z], axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(720), np.arange(len(heights) - 1), indexing="ij")
    corner = (i * len(heights) + j).ravel()
    quads = np.stack([corner, corner + 1, corner + len(heights), corner + len(heights) + 1], axis=1)
    return trimesh.Trimesh(points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [1, 3, 2]]]), process=False)


def test_a_cylinder_is_a_plane() -> None:
    mesh = cylinder(80.0)
    depth = depth_map(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    assert depth.shape == (ROWS, COLUMNS) and depth.dtype == np.float32
    np.testing.assert_allclose(depth, 80.0, atol=0.01)


def test_every_place_agrees_with_a_ray() -> None:
    """The slow twin: a ray from the axis through each place, and its furthest hit with a bumpy head."""
    head = trimesh.creation.icosphere(subdivisions=5, radius=1.0)
    points = np.asarray(head.vertices)
    radius = 90 + 12 * np.sin(5 * points[:, :1]) * np.cos(3 * points[:, 2:]) + 8 * points[:, 1:2]
    points = points * radius - [0, 0, 40]
    depth = depth_map(points, np.asarray(head.faces))
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(15, ROWS - 15, 60), rng.integers(0, COLUMNS, 60)
    angle = (columns - (COLUMNS - 1) / 2) * 2.0 / 90.0
    start = np.stack([0 * angle, 0 * angle, -139.0 + 2 * rows], axis=1)
    ray = np.stack([np.sin(angle), np.cos(angle), 0 * angle], axis=1)
    a, b, c = (points[head.faces[:, corner]] for corner in range(3))
    for origin, direction, found in zip(start, ray, depth[rows, columns], strict=True):
        edge1, edge2 = b - a, c - a  # Moeller and Trumbore 1997, for every triangle
        normal = np.cross(direction, edge2)
        scale = np.sum(edge1 * normal, axis=1)
        t0 = origin - a
        u = np.sum(t0 * normal, axis=1) / scale
        q = np.cross(t0, edge1)
        v, t = q @ direction / scale, np.sum(edge2 * q, axis=1) / scale
        hits = t[(u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)]
        assert found == pytest.approx(hits.max(), abs=0.15)  # flat on the grid is not flat in space


def test_the_outermost_skin_counts_and_gaps_stay_gaps() -> None:
    inner, outer = cylinder(60.0), cylinder(85.0)
    keep = np.asarray(outer.vertices)[outer.faces].mean(axis=1)[:, 2] > -40
    both = trimesh.util.concatenate([inner, trimesh.Trimesh(outer.vertices, outer.faces[keep], process=False)])
    depth = depth_map(np.asarray(both.vertices), np.asarray(both.faces))
    assert depth[-1, 60] == pytest.approx(85, abs=0.01) and depth[0, 60] == pytest.approx(60, abs=0.01)
    assert np.isnan(depth_map(np.asarray(outer.vertices), outer.faces[keep])[0]).all()
    assert np.isnan(depth_map(np.zeros((0, 3)), np.zeros((0, 3), int))).all()


def test_a_head_is_moved_and_never_scaled() -> None:
    mesh = cylinder(80.0)
    away = np.array([[0.0, -1.0, 0.0, 31.0], [1.0, 0.0, 0.0, -12.0], [0.0, 0.0, 1.0, 7.0], [0.0, 0.0, 0.0, 1.0]])
    native = mesh.copy().apply_transform(away)
    home = Alignment(np.linalg.inv(away), np.diag([2.0, 2.0, 2.0, 1.0]))
    np.testing.assert_allclose(map_face(native, home).depth, 80.0, atol=0.01)


def test_halving_ignores_gaps() -> None:
    depth = np.full((ROWS, COLUMNS), np.nan, np.float32)
    depth[0, :2], depth[1, 0] = (2, 4), 6
    small = halved(depth)
    assert small.shape == (ROWS // 2, COLUMNS // 2)
    assert small[0, 0] == 4 and np.isnan(small[1:]).all()


def test_files_come_back_and_are_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    face = FaceMap(rng.normal(90, 5, (ROWS, COLUMNS)).astype(np.float32), np.eye(4))
    face.depth[3] = np.nan
    for name in ("a.npz", "b.npz"):
        write_face_map(tmp_path / name, face)
    np.testing.assert_array_equal(read_face_map(tmp_path / "a.npz").depth, face.depth)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(b"PK not really")
    with pytest.raises(ImageError, match=r"bad.npz holds no readable face maps .*: run the participant level again"):
        read_face_map(path)
    np.savez(path, depth=np.zeros((4, 4)), rigid=np.eye(4), version=7)
    with pytest.raises(ImageError, match="holds face maps of version 7, and this is version 1: run the participant"):
        read_face_map(path)


# searching a crowd -----------------------------------------------------------------------------------------------


def crowd(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random faces with gaps, (count, 12, 16)."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(0, 3, (count, 6))
    y, x = np.mgrid[0:1:12j, 0:1:16j]
    base = np.stack([np.cos(np.pi * (i * y + j * x)) for i, j in ((0, 1), (1, 0), (1, 1), (2, 0), (0, 2), (2, 1))])
    maps = 90 + np.tensordot(waves, base, 1)
    maps[rng.uniform(size=maps.shape) < 0.1] = np.nan
    return maps.astype(np.float32)


def slow_distance(probe: np.ndarray, member: np.ndarray) -> float:
    both = ~np.isnan(probe) & ~np.isnan(member)
    if both.sum() == 0 or both.sum() < LEAST_SHARE * np.sum(~np.isnan(probe)):
        return np.inf
    return float(np.sqrt(np.mean((probe[both].astype(float) - member[both].astype(float)) ** 2)))


def test_distances_agree_with_the_slow_twin() -> None:
    maps = crowd(150)
    maps[7, :, :13] = np.nan  # shows too little to be compared with most
    probes = maps + np.random.default_rng(1).normal(0, 0.5, maps.shape).astype(np.float32)
    gallery = Gallery(maps)
    expected = np.array([[slow_distance(probe, member) for member in maps] for probe in probes[:20]])
    found = gallery.distances(probes[:20])
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.isinf(found[0, 7])
    own = np.arange(150)
    matches = match(probes, gallery, own, nearest=5)
    for number in range(20):
        row = expected[number]
        assert matches.genuine[number] == pytest.approx(row[number], rel=1e-5)
        assert matches.ranks[number] == 1 + np.sum(row < row[number])
        np.testing.assert_array_equal(matches.nearest[number], np.argsort(row)[:5])
    assert matches.counter.impostors.sum() == 150 * 149


def test_a_face_is_found_at_distance_zero_from_itself() -> None:
    maps = crowd(300)
    matches = match(maps, Gallery(maps), np.arange(300))
    assert np.all(matches.genuine == 0.0) and np.all(matches.ranks == 1.0)
    np.testing.assert_array_equal(matches.nearest[:, 0], np.arange(300))


def test_more_noise_is_a_worse_rank() -> None:
    """Truth and noise of known size: with a squared distance, the chance to beat one impostor is known."""
    rng = np.random.default_rng(2)
    places = 60
    maps = rng.normal(0, 1, (400, 6, 10)).astype(np.float32)
    rates = []
    for noise in (0.5, 2.0, 8.0):
        probes = maps + rng.normal(0, noise, maps.shape).astype(np.float32)
        rates.append(np.mean(match(probes, Gallery(maps), np.arange(400)).ranks == 1))
        genuine, impostor = noise**2, noise**2 + 2.0
        found = match(probes, Gallery(maps), np.arange(400)).genuine
        assert np.mean(found**2) == pytest.approx(genuine, rel=0.05)
        assert np.mean(Gallery(maps).distances(probes)[~np.eye(400, dtype=bool)] ** 2) == pytest.approx(
            impostor, rel=0.05
        )
    assert rates[0] == 1.0 and rates[0] > rates[1] > rates[2] and places == maps[0].size


def test_reranking_orders_the_nearest_alone() -> None:
    nearest = np.array([[3, 0, 2], [5, 6, 7], [2, 1, 0]])
    exact = np.array([[2.0, 1.0, 3.0], [1.0, 2.0, 3.0], [1.0, 1.0, 5.0]])
    found = reranked(np.array([2.0, 9.0, 1.0]), nearest, np.array([0, 1, 2]), exact)
    np.testing.assert_array_equal(found, [1.0, 9.0, 1.5])


def test_exact_distance_of_two_spheres() -> None:
    small, large = (trimesh.creation.icosphere(subdivisions=5, radius=r) for r in (80.0, 83.0))
    shapes = FaceShape(small, np.eye(4)), FaceShape(large, np.eye(4))
    assert face_distance(*shapes) == pytest.approx(3.0, abs=0.05)
    assert face_distance(shapes[0], shapes[0]) == pytest.approx(0.0, abs=1e-6)
    away = np.eye(4)
    away[:3, 3] = (5, -3, 2)
    moved = FaceShape(small.copy().apply_transform(np.linalg.inv(away)), away)
    assert face_distance(moved, shapes[0]) == pytest.approx(0.0, abs=1e-6)
