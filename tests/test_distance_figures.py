"""Figures of distances by hand, from a few points; distances of whole faces; and skin that the frame cuts off."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import trimesh

from bids_refacer.surfaces.distances import FIGURES, FaceSurface, part_rows, removed_row, weighted_quantile
from bids_refacer.surfaces.face_distance import FaceShape, face_distance
from bids_refacer.surfaces.region import PARTS
from bids_refacer.surfaces.skin_distance import FAR_MM, near_skin_distance, skin_distance
from bids_refacer.volumes.grid import CANONICAL

NOSE = PARTS.index("nose") + 1


def surface(labels: list[int], areas: list[float], vertices: list[list[float]] | None = None) -> FaceSurface:
    """A face of as many points as it has labels, whose distances are given."""
    mesh = trimesh.Trimesh(vertices or np.zeros((len(labels), 3)), np.zeros((0, 3), int), process=False)
    return FaceSurface(mesh, np.arange(len(labels)), np.array(labels, np.int8), np.array(areas))


def test_figures_of_five_points() -> None:
    """Three recovered points of areas 1, 3 and 2, two true ones of area 2 each."""
    recovered, truth = surface([NOSE, NOSE, 1], [1.0, 3.0, 2.0]), surface([NOSE, 1], [2.0, 2.0])
    rows = part_rows(recovered, truth, np.array([1.0, -2.0, 4.0]), np.array([-1.5, 0.5]))
    face, nose, *rest = (asdict(row) for row in rows)
    assert face == {
        "part": "face",
        "masd_mm": 1.75,
        "to_true_mm": 2.5,  # (1 + 6 + 8) / 6
        "to_recovered_mm": 1.0,  # (3 + 1) / 4
        "median_mm": 1.5,  # by areas: 0.5 to 2, 1 to 3, 1.5 to 5 of 10
        "p95_mm": 4.0,
        "hausdorff_mm": 4.0,
        "signed_mean_mm": 0.5,  # (1 - 6 + 8) / 6
        "n_vertices": 5,
    }
    assert (nose["to_true_mm"], nose["to_recovered_mm"], nose["masd_mm"]) == (1.75, 1.5, 1.625)
    assert (nose["signed_mean_mm"], nose["hausdorff_mm"], nose["n_vertices"]) == (-1.25, 2.0, 3)
    for row in rest:
        assert row["n_vertices"] == 0 and all(np.isnan(row[figure]) for figure in FIGURES)


def test_figures_where_one_of_the_two_has_no_points() -> None:
    nothing, truth = surface([], []), surface([NOSE, 1], [1.0, 3.0])
    face = asdict(part_rows(nothing, truth, np.zeros(0), np.array([-2.0, 1.0]))[0])
    assert np.isnan(face["to_true_mm"]) and face["masd_mm"] == face["to_recovered_mm"] == 1.25
    assert (face["signed_mean_mm"], face["median_mm"], face["n_vertices"]) == (-0.25, 1.0, 2)
    face = asdict(part_rows(truth, nothing, np.array([-2.0, 1.0]), np.zeros(0))[0])
    assert face["n_vertices"] == 2 and all(np.isnan(face[figure]) for figure in FIGURES)


def test_points_are_of_removed_skin_by_the_nearest_true_point() -> None:
    """Two of three recovered points lie next to the true point whose skin was removed."""
    recovered = surface([1, 1, 1], [1.0, 2.0, 3.0], [[0, 0, 1], [0, 1, 0], [9, 0, 0]])
    truth = surface([1, 1], [4.0, 5.0], [[0, 0, 0], [10, 0, 0]])
    distances = np.array([3.0, -6.0, 7.0]), np.array([2.0, 8.0])
    row = asdict(removed_row(recovered, truth, distances, np.array([True, False])))
    assert (row["part"], row["n_vertices"]) == ("removed", 3)
    assert (row["to_true_mm"], row["to_recovered_mm"], row["masd_mm"]) == (5.0, 2.0, 3.5)
    assert (row["signed_mean_mm"], row["hausdorff_mm"]) == (-3.0, 6.0)


def test_quantiles_of_one_value_and_of_unsorted_ones() -> None:
    for q in (0.0, 0.5, 1.0):
        assert weighted_quantile(np.array([3.0]), np.array([2.0]), q) == 3.0
    values, weights = np.array([5.0, 1.0, 3.0]), np.array([1.0, 1.0, 2.0])
    assert [weighted_quantile(values, weights, q) for q in (0.25, 0.26, 0.75, 0.76)] == [1.0, 3.0, 3.0, 5.0]


def sheet(rows: int, columns: int, height: float = 0.0) -> trimesh.Trimesh:
    """A plane of `rows` times `columns` points."""
    x, y = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    points = np.stack([x, y, np.full_like(x, height, dtype=float)], axis=-1).reshape(-1, 3).astype(float)
    return trimesh.Trimesh(points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), process=False)


def test_of_a_face_with_many_points_every_second_is_measured() -> None:
    assert len(FaceShape(sheet(100, 30), np.eye(4)).points) == 1500
    assert len(FaceShape(sheet(100, 29), np.eye(4)).points) == 2900, "fewer than twice 1500 are all taken"
    assert len(FaceShape(sheet(2, 2), np.eye(4)).points) == 4


def test_distance_of_faces_is_the_mean_of_both_directions() -> None:
    """A plane above a part of another: 3 mm one way; the other way, points beside it are farther."""
    whole, part = FaceShape(sheet(2, 5), np.eye(4)), FaceShape(sheet(2, 2, height=3.0), np.eye(4))
    back = (2 * 3.0 + np.sqrt(9 + 1) + np.sqrt(9 + 4) + np.sqrt(9 + 9)) / 5
    assert face_distance(whole, part) == pytest.approx((3.0 + back) / 2, abs=1e-9)
    assert face_distance(part, whole) == pytest.approx(face_distance(whole, part), abs=1e-12)


def test_skin_that_the_frame_cuts_off_is_near_where_it_is() -> None:
    """A ball in the last corner of the frame, so that its surface closes just outside of the outermost voxels."""
    grid, coarse = CANONICAL[2], CANONICAL[4]
    places = np.moveaxis(np.indices(grid.shape), 0, -1) * 2.0
    centre = 2.0 * (np.array(grid.shape) - 1) - 12.0
    values = np.clip(200 * (0.5 - (np.linalg.norm(places - centre, axis=-1) - 30.0) / 2), 0, 200).astype(np.float32)
    every, near = skin_distance(values, 2, 4), near_skin_distance(values, 2, 4)
    assert every.shape == near.shape == coarse.shape and near.dtype == np.float32
    close, far = np.abs(every) < 4, np.abs(every) > 11
    assert close[-2:, -2:, -2:].any(), "the lid is skin, too"
    np.testing.assert_array_equal(near[close], every[close])
    np.testing.assert_array_equal(near[far], np.sign(every[far]) * FAR_MM)
