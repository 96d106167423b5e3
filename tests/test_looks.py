"""Blemishes of a face, against surfaces whose pits, pieces and steps are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trimesh

from benchmarks.looks import foreign_pits, loose_pieces, pit_depths, step_mm


def sheet(height: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> trimesh.Trimesh:
    """A surface z = height(x, y) over 40 x 40 mm, a vertex every millimetre, normals up."""
    x, y = np.meshgrid(np.arange(41.0), np.arange(41.0), indexing="ij")
    corner = np.arange(41 * 41).reshape(41, 41)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return trimesh.Trimesh(np.stack([x, y, height(x, y)], -1).reshape(-1, 3), faces, process=False)


def pit(x: np.ndarray, y: np.ndarray, depth: float = 2.0, at: float = 20.0) -> np.ndarray:
    """A round pit, 2 mm wide to each side."""
    return -depth * (np.hypot(x - at, y - at) <= 2.0)


def every(mesh: trimesh.Trimesh) -> np.ndarray:
    return np.ones(len(mesh.vertices), bool)


@pytest.mark.parametrize("depth", [1.5, 3.0])
def test_a_pit_is_as_deep_as_it_is(depth: float) -> None:
    depths = pit_depths(sheet(lambda x, y: pit(x, y, depth))).reshape(41, 41)
    assert depths[20, 20] == pytest.approx(depth, abs=0.05)
    assert depths[8, 8] == pytest.approx(0, abs=1e-9)


def test_a_slope_and_a_bump_are_no_pits() -> None:
    inner = (slice(8, 33), slice(8, 33))
    slope, bump = (sheet(height) for height in (lambda x, y: 0.5 * x, lambda x, y: -pit(x, y)))
    assert pit_depths(slope).reshape(41, 41)[inner].max() < 0.05
    assert pit_depths(bump).reshape(41, 41)[20, 20] == 0


def test_pits_of_the_original_are_no_blemishes() -> None:
    flat, one = sheet(lambda x, y: 0 * x), sheet(pit)
    two = sheet(lambda x, y: pit(x, y, at=10.0) + pit(x, y, 3.0, at=30.0))
    np.testing.assert_allclose(sorted(foreign_pits(two, every(two), flat)), [2.0, 3.0], atol=0.05)
    assert len(foreign_pits(one, every(one), one)) == 0
    assert len(foreign_pits(one, ~every(one), flat)) == 0
    assert len(foreign_pits(sheet(lambda x, y: pit(x, y, 0.8)), every(one), flat)) == 0


def test_loose_pieces_are_counted_where_they_were_painted() -> None:
    bright = np.zeros((20, 20, 20), bool)
    bright[:10] = True
    bright[14:16, 4:6, 4:6] = bright[14:16, 14:16, 14:16] = bright[18, 18, 18] = True
    painted = np.zeros_like(bright)
    painted[5:] = True
    assert loose_pieces(bright, painted, 0.008) == 2, "eight voxels each; a single voxel is less than a piece"
    painted[:, 10:] = False
    assert loose_pieces(bright, painted, 0.008) == 1
    assert loose_pieces(np.zeros_like(bright), painted, 0.008) == 0


@pytest.mark.parametrize("height", [0.0, 1.0, 2.0])
def test_a_step_is_as_high_as_it_is(height: float) -> None:
    mesh = sheet(lambda x, y: height * (x > 20.5))
    depth = np.asarray(mesh.vertices)[:, 0] - 20.5
    wanted = np.abs(np.asarray(mesh.vertices)[:, 1] - 20) < 10
    assert step_mm(mesh, depth, wanted) == pytest.approx(height, abs=0.05)
    assert np.isnan(step_mm(mesh, depth - 100, wanted))


def test_a_curved_skin_has_no_step() -> None:
    mesh = sheet(lambda x, y: np.sqrt(60.0**2 - (x - 20) ** 2))
    assert step_mm(mesh, np.asarray(mesh.vertices)[:, 0] - 20.5, every(mesh)) < 0.05
