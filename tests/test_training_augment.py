"""Augmentation: what is drawn is small, what is applied is what was drawn."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import ndimage
from training_heads import FIELD_SHAPE, SHAPE

from bids_refacer.training.data.augment import (
    Augmentation,
    apply_intensity,
    apply_pose,
    draw_augmentation,
    size_factor,
    unchanged,
)


def plain_draw(**changes: object) -> Augmentation:
    return replace(unchanged(flip=False), **changes)


def strong_draw() -> Augmentation:
    """One that uses everything."""
    draws = (draw_augmentation(np.random.default_rng(seed)) for seed in range(100))
    return next(d for d in draws if d.noise and d.blur and d.flip)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Smooth tissue on the 4 mm grid."""
    rough = np.random.default_rng(0).normal(0, 3, FIELD_SHAPE).astype(np.float32)
    return np.clip(ndimage.gaussian_filter(rough, 2), -1, 0.9)


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    mask = np.zeros(FIELD_SHAPE, bool)
    mask[16:32, 20:40, 24:48] = True
    return mask


def test_the_same_draw_gives_the_same_head_twice(values: np.ndarray, brain: np.ndarray) -> None:
    draw = strong_draw()
    first, again = (apply_intensity(values, 4, draw, brain) for _ in range(2))
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(apply_pose(values, 4, draw, 4), apply_pose(values, 4, draw, 4))


def test_a_draw_of_nothing_changes_nothing(values: np.ndarray, brain: np.ndarray) -> None:
    np.testing.assert_allclose(apply_intensity(values, 4, plain_draw(), brain), values, atol=1e-5)
    np.testing.assert_allclose(apply_pose(values, 4, plain_draw(), 4), values, atol=1e-6)
    np.testing.assert_array_equal(apply_pose(brain.astype(np.uint8), 4, plain_draw(), 4, order=0), brain)


@pytest.mark.parametrize("order", [1, 3])
def test_a_head_that_is_only_mirrored_is_not_interpolated(values: np.ndarray, order: int) -> None:
    hardly = replace(plain_draw(flip=True), shift=np.array([1e-9, 0, 0]))  # is
    mirrored = apply_pose(values, 4, plain_draw(flip=True), 4, order=order)
    np.testing.assert_array_equal(mirrored, values[::-1])
    np.testing.assert_allclose(apply_pose(values, 4, hardly, 4, order=order)[1:-1], mirrored[1:-1], atol=1e-4)


@pytest.mark.parametrize("flip", [False, True])
def test_a_flip_and_a_shift_of_whole_voxels_move_image_and_mask_alike(
    values: np.ndarray, brain: np.ndarray, flip: bool
) -> None:
    draw = plain_draw(flip=flip, shift=np.array([8.0, -12.0, 4.0]))
    moved = apply_pose(values, 4, draw, 4, cval=-1)
    moved_brain = apply_pose(brain.astype(np.uint8), 4, draw, 4, order=0)
    source, source_brain = (v[::-1] if flip else v for v in (values, brain))
    np.testing.assert_allclose(moved[:-2, 3:, :-1], source[2:, :-3, 1:], atol=1e-6)
    np.testing.assert_array_equal(moved_brain[:-2, 3:, :-1], source_brain[2:, :-3, 1:])
    assert (moved[-2:] == -1).all() and (moved_brain.dtype, moved.dtype) == (np.uint8, np.float32)


def test_a_stretch_leaves_the_centre_of_the_grid_in_place() -> None:
    """Half of the step along one axis: what lay 6 mm from the middle lies 12 mm from it, whatever the grids are."""
    place = np.indices(FIELD_SHAPE)[1].astype(np.float32) * 4 - 126  # mm from the middle
    for target in (4, 2):
        got = apply_pose(place, 4, plain_draw(matrix=np.diag([1, 0.5, 1])), target)
        middle = (np.arange(got.shape[1]) - (got.shape[1] - 1) / 2) * target
        np.testing.assert_allclose(got[20, :, 20], middle / 2, atol=1e-4)


def test_distances_grow_with_the_head_by_the_size_factor() -> None:
    """A ball of 40 mm, posed: its distance field is that of the ball that the factor says."""
    centre = (np.array(FIELD_SHAPE) - 1) / 2
    radius = np.linalg.norm(np.moveaxis(np.indices(FIELD_SHAPE), 0, -1) - centre, axis=-1) * 4
    draw = plain_draw(flip=True, matrix=np.eye(3) * 0.9)
    assert size_factor(draw) == pytest.approx(1 / 0.9)
    got = size_factor(draw) * apply_pose(radius - 40, 4, draw, 4, order=3, cval=99)
    near = np.abs(got) < 30
    np.testing.assert_allclose(got[near], (radius - 40 / 0.9)[near], atol=0.1)
    uneven = plain_draw(matrix=np.diag([1.1, 0.9, 1.0]))
    assert size_factor(uneven) == pytest.approx((1.1 * 0.9) ** (-1 / 3))
    assert size_factor(plain_draw(flip=True, shift=np.ones(3))) == 1


def test_the_brain_keeps_its_place_in_the_intensity_frame(values: np.ndarray, brain: np.ndarray) -> None:
    before = np.median(values[brain])
    for seed in range(12):
        got = apply_intensity(values, 4, draw_augmentation(np.random.default_rng(seed)), brain)
        assert got.shape == values.shape and got.dtype == np.float32
        assert got.min() >= -1 and got.max() <= 1
        assert np.median(got[brain]) == pytest.approx(before, abs=5e-3)


@pytest.mark.parametrize("spacing", [4, 2])
def test_the_bias_is_a_trilinear_field_at_the_same_place_on_every_grid(spacing: int) -> None:
    """27 values at the centres of a third of the grid each, and straight lines in between."""
    bias = np.random.default_rng(3).normal(0, 0.12, (3, 3, 3))
    shape = np.array(SHAPE) * 2 // spacing
    brain = np.zeros(shape, bool)
    brain[tuple(shape // 2)] = True  # one voxel in the middle: the gain undoes the bias there
    got = apply_intensity(np.full(shape, -0.5, np.float32), spacing, plain_draw(bias=bias), brain)
    field = np.log((got + 1) / 2 / 0.25)
    places = [(np.array([0.1, 0.3, 0.5, 0.62, 0.97]) * size).astype(int) for size in shape]
    at = np.stack(np.meshgrid(*places, indexing="ij")).reshape(3, -1)
    knots = np.clip((at + 0.5) / shape[:, None] * 3 - 0.5, 0, 2)
    low = np.minimum(knots.astype(int), 1)
    wanted = np.zeros(at.shape[1])
    for corner in np.ndindex(2, 2, 2):
        share = np.abs(1 - np.array(corner)[:, None] - (knots - low)).prod(0)
        wanted += share * bias[tuple(low + np.array(corner)[:, None])]
    # the middle of a grid of even sides lies half a voxel from the voxel that the gain was found in
    np.testing.assert_allclose(field[tuple(at)] - wanted, np.mean(field[tuple(at)] - wanted), atol=1e-5)
    assert field[tuple(shape // 2)] == pytest.approx(0, abs=1e-6)


def test_blur_is_in_mm_and_noise_is_that_of_a_2_mm_voxel() -> None:
    point = np.full((40, 40, 40), -1, np.float32)
    point[28, 28, 28] = 1
    point[:14, :14, :14] = 0  # a brain far from it, in whose middle the blur changes nothing
    brain = np.zeros(point.shape, bool)
    brain[3:6, 3:6, 3:6] = True
    for spacing in (2, 4):
        got = apply_intensity(point, spacing, plain_draw(blur=3.0), brain)[20:, 20:, 20:]
        share = (got + 1).sum((1, 2)) / (got + 1).sum()
        assert np.sqrt((share * (np.arange(20) - 8) ** 2).sum()) * spacing == pytest.approx(3.0, rel=0.05)
        noisy = apply_intensity(np.zeros_like(point), spacing, plain_draw(noise=0.04), np.ones(point.shape, bool))
        assert (noisy / 2).std() == pytest.approx(0.04 * (2 / spacing) ** 1.5, rel=0.05)


def test_drawn_parameters_are_small_and_contrast_never_turns() -> None:
    draws = [draw_augmentation(np.random.default_rng(seed)) for seed in range(200)]
    assert all((np.diff(d.knots) > 0).all() and d.knots[0] == 0 and d.knots[-1] == pytest.approx(1) for d in draws)
    stretches = [np.linalg.svd(d.matrix, compute_uv=False) for d in draws]
    assert 0.88 < np.min(stretches) and np.max(stretches) < 1.12
    assert np.max([np.abs(d.shift) for d in draws]) < 7, "mm"
    assert 0.4 < np.mean([d.flip for d in draws]) < 0.6
    as_they_are = [d for d in draws if (d.matrix == np.eye(3)).all()]
    assert 0.4 < len(as_they_are) / len(draws) < 0.6
    for draw in as_they_are:
        flipped, wanted = asdict(draw), asdict(unchanged(draw.flip))
        assert all(np.array_equal(flipped[name], wanted[name]) for name in wanted)
    assert 0.4 < np.mean([d.flip for d in as_they_are]) < 0.6
    draws = [d for d in draws if (d.matrix != np.eye(3)).any()]
    plain = [not d.bias.any() for d in draws]
    assert 0.4 < np.mean(plain) < 0.6
    assert [not d.noise and np.allclose(np.diff(d.knots), 1 / 8) for d in draws] == plain
