"""Canonical grids, resampling there and back, rigid parts: against ramps, nibabel and scipy."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nibabel.processing import resample_from_to
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid, Volume, polar_rotation, pool, resample, rigid_part

SLOPES = np.array([0.7, -1.3, 0.4])


def oblique(shape: tuple[int, int, int] = (50, 46, 40)) -> Grid:
    """Permuted, flipped, anisotropic (2.1 x 2.7 x 3.3 mm) and tilted, around the middle of the canonical box."""
    axes = np.array([[0, 2.7, 0], [0, 0, -3.3], [2.1, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [11, -8, 5], degrees=True).as_matrix() @ axes
    affine[:3, 3] = np.array([0, 16, -24]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def centres(grid: Grid) -> np.ndarray:
    return apply_affine(grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1))


def ramp(points: np.ndarray) -> np.ndarray:
    return (points @ SLOPES + 3).astype(np.float32)


def pose(degrees: float = 14.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [degrees, -6, 9], degrees=True).as_matrix()
    matrix[:3, 3] = [12.0, -7.5, 4.0]
    return matrix


@pytest.mark.parametrize("spacing", [4, 2, 1])
def test_canonical_grids_fill_the_same_box(spacing: int) -> None:
    grid = CANONICAL[spacing]
    low = apply_affine(grid.affine, [-0.5, -0.5, -0.5])
    high = apply_affine(grid.affine, np.array(grid.shape) - 0.5)
    np.testing.assert_allclose(low, [-96, -112, -152])
    np.testing.assert_allclose(high, [96, 144, 104])
    np.testing.assert_array_equal(np.diag(grid.affine), [spacing, spacing, spacing, 1])


@pytest.mark.parametrize(("coarse", "fine"), [(4, 2), (2, 1)])
def test_eight_voxels_tile_one_of_the_next_coarser_grid(coarse: int, fine: int) -> None:
    for axis in range(3):
        small, large = (
            CANONICAL[s].affine[axis, 3] + CANONICAL[s].affine[axis, axis] * np.arange(CANONICAL[s].shape[axis])
            for s in (fine, coarse)
        )
        np.testing.assert_allclose(small.reshape(-1, 2).mean(1), large)


def test_the_canonical_frame_is_symmetric_about_the_midline() -> None:
    for grid in CANONICAL.values():
        x = apply_affine(grid.affine, np.c_[np.arange(grid.shape[0]), np.zeros((grid.shape[0], 2))])[:, 0]
        np.testing.assert_allclose(x, -x[::-1])


@pytest.mark.parametrize("order", [1, 3])
def test_a_ramp_is_resampled_exactly(order: int) -> None:
    """Splines of any order keep linear functions, so that every voxel inside has a known value."""
    source, target = CANONICAL[4], oblique()
    got = resample(Volume(ramp(centres(source)), source.affine), target, order=order)
    points = centres(target)
    inside = np.all((points > [-86, -102, -142]) & (points < [86, 134, 94]), axis=-1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(got[inside], ramp(points)[inside], atol=2e-2 if order == 3 else 1e-3)
    assert got.dtype == np.float32


def test_to_source_maps_the_grid_into_the_source() -> None:
    source, target, there = CANONICAL[4], oblique((20, 18, 16)), pose()
    got = resample(Volume(ramp(centres(source)), source.affine), target, there)
    np.testing.assert_allclose(got, ramp(apply_affine(there, centres(target))), atol=1e-3)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_resampling_agrees_with_nibabel(order: int) -> None:
    rng = np.random.default_rng(0)
    source, target = oblique((22, 26, 24)), Grid((30, 32, 28), CANONICAL[4].affine @ np.diag([1.1, 1, 0.9, 1]))
    target.affine[:3, 3] = apply_affine(source.affine, [11, 13, 12]) - target.affine[:3, :3] @ [15, 16, 14]
    values = ndimage.gaussian_filter(rng.normal(size=source.shape), 1).astype(np.float32)
    image = nib.Nifti1Image(values, source.affine)
    expected = resample_from_to(image, (target.shape, target.affine), order=order, cval=-2.0).get_fdata()
    got = resample(Volume(values, source.affine), target, order=order, cval=-2.0)
    assert (got == -2).any() and (got != -2).mean() > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_outside_the_field_of_view_is_cval() -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    far = Grid((4, 4, 4), np.eye(4) + np.array([[0, 0, 0, 2], [0] * 4, [0] * 4, [0] * 4]))
    got = resample(Volume(np.ones(grid.shape, np.float32), grid.affine), far, cval=-1.0)
    np.testing.assert_array_equal(got[:2], 1)
    np.testing.assert_array_equal(got[2:], -1)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, bool])
def test_labels_keep_their_type_and_values(kind: type) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2 if kind is bool else 5, (12, 10, 8)).astype(kind)
    got = resample(Volume(labels, np.eye(4)), Grid((24, 20, 16), np.diag([0.5, 0.5, 0.5, 1])), order=0)
    assert got.dtype == kind
    assert set(np.unique(got)) <= set(np.unique(labels))
    np.testing.assert_array_equal(got[::2, ::2, ::2], labels)


def test_a_mask_resampled_linearly_is_a_share() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[2:] = True
    got = resample(Volume(mask, np.eye(4)), Grid((4, 4, 4), np.array([[1, 0, 0, -0.25], *np.eye(4)[1:]])), order=1)
    assert got.dtype == np.float32
    assert got[2, 1, 1] == pytest.approx(0.75)


def head_like(points: np.ndarray) -> np.ndarray:
    """Smooth blobs, small in the neighbourhood of the border."""
    total = np.zeros(points.shape[:-1])
    for centre, width, height in (((0, 16, -24), 22, 1.0), ((15, 30, -20), 12, 0.6), ((-12, 5, -30), 15, -0.5)):
        total += height * np.exp(-((points - np.array(centre)) ** 2).sum(-1) / (2 * width**2))
    return total.astype(np.float32)


@pytest.mark.parametrize(("spacing", "tolerance"), [(4, 0.02), (2, 0.006)])
def test_there_and_back_from_an_oblique_grid(spacing: int, tolerance: float) -> None:
    native, alignment = oblique(), Alignment(pose(), pose())
    values = head_like(centres(native))
    canonical = alignment.to_canonical(Volume(values, native.affine), spacing, order=3)
    expected = head_like(apply_affine(np.linalg.inv(alignment.rigid), centres(CANONICAL[spacing])))
    inside = alignment.to_canonical(Volume(np.ones(native.shape, np.float32), native.affine), spacing) > 0.99
    np.testing.assert_allclose(canonical[inside], expected[inside], atol=tolerance)
    back = alignment.to_native(canonical, spacing, native, order=3)
    middle = (slice(8, -8),) * 3
    assert np.abs(back - values)[middle].max() < tolerance
    assert np.ptp(values) > 0.9


def test_the_average_head_comes_by_the_affine_and_the_sample_by_the_rigid_map() -> None:
    native = oblique((20, 18, 16))
    stretched = pose() @ np.diag([1.05, 0.95, 1.02, 1])
    alignment = Alignment(pose(), stretched)
    canonical = ramp(centres(CANONICAL[4]))
    points = centres(native)
    got = alignment.average_to_native(canonical, 4, native)
    np.testing.assert_allclose(got, ramp(apply_affine(stretched, points)), atol=1e-3)
    np.testing.assert_allclose(alignment.to_native(canonical, 4, native), ramp(apply_affine(pose(), points)), atol=1e-3)


def test_pooling_averages_the_known_voxels() -> None:
    rng = np.random.default_rng(2)
    values, known = rng.normal(size=(6, 4, 8)).astype(np.float32), rng.random((6, 4, 8)) < 0.6
    known[:2, :2, :2], known[2:4, :2, :2] = True, False
    pooled, whole = pool(values, known)
    assert pooled.shape == whole.shape == (3, 2, 4) and pooled.dtype == np.float32
    for i, j, k in np.ndindex(3, 2, 4):
        block = np.s_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, 2 * k : 2 * k + 2]
        seen = values[block][known[block]]
        assert pooled[i, j, k] == pytest.approx(seen.mean() if seen.size else 0, abs=1e-6)
        assert whole[i, j, k] == known[block].all()


def test_pooling_does_not_read_unknown_voxels() -> None:
    values, known = np.ones((4, 4, 4), np.float32), np.random.default_rng(3).random((4, 4, 4)) < 0.5
    other = np.where(known, values, 1e6).astype(np.float32)
    np.testing.assert_array_equal(pool(other, known)[0], pool(values, known)[0])


def test_the_nearest_rotation_undoes_a_stretch() -> None:
    turn = pose()[:3, :3]
    stretch = np.array([[1.1, 0.03, 0], [0.03, 0.9, 0.02], [0, 0.02, 1.05]])
    np.testing.assert_allclose(polar_rotation(turn @ stretch), turn, atol=1e-12)


def test_the_nearest_rotation_is_no_mirror() -> None:
    got = polar_rotation(np.diag([1.0, 1.0, -0.1]))
    assert np.linalg.det(got) == pytest.approx(1)
    np.testing.assert_allclose(got @ got.T, np.eye(3), atol=1e-12)


def test_no_other_rotation_is_nearer() -> None:
    rng = np.random.default_rng(4)
    matrix = np.eye(3) + rng.normal(0, 0.2, (3, 3))
    best = np.linalg.norm(matrix - polar_rotation(matrix))
    near = Rotation.from_rotvec(rng.normal(0, 0.2, (300, 3))).as_matrix() @ polar_rotation(matrix)
    assert (np.linalg.norm(matrix - near, axis=(1, 2)) >= best).all()


def test_the_rigid_part_turns_moves_and_agrees_at_the_centre() -> None:
    affine = pose() @ np.diag([1.08, 0.93, 1.01, 1]) + np.array([[0, 0.02, 0, 0], *np.zeros((3, 4))])
    centre = np.array([3.0, -20.0, 11.0])
    rigid = rigid_part(affine, centre)
    rotation = rigid[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    native = apply_affine(np.linalg.inv(affine), centre)
    np.testing.assert_allclose(apply_affine(rigid, native), centre, atol=1e-9)
    a, b = np.array([10.0, 20, 30]), np.array([-5.0, 8, 2])
    moved = np.linalg.norm(apply_affine(rigid, a) - apply_affine(rigid, b))
    assert moved == pytest.approx(np.linalg.norm(a - b))


def test_the_rigid_part_of_a_rigid_map_is_itself() -> None:
    np.testing.assert_allclose(rigid_part(pose(), np.array([5.0, 6, 7])), pose(), atol=1e-12)


def test_scales_are_the_principal_stretches() -> None:
    alignment = Alignment(pose(), pose() @ np.diag([1.08, 0.93, 1.01, 1]))
    np.testing.assert_allclose(alignment.scales, [1.08, 1.01, 0.93])


def test_an_alignment_survives_json_bit_for_bit(tmp_path: Path) -> None:
    alignment = Alignment(pose(), pose() @ np.diag([1.08, 0.93, 1.01, 1]))
    alignment.to_json(tmp_path / "a.json")
    again = Alignment.from_json(tmp_path / "a.json")
    np.testing.assert_array_equal(again.rigid, alignment.rigid)
    np.testing.assert_array_equal(again.affine, alignment.affine)
