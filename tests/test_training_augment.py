"""Augmentation: what is drawn is small, what is applied is what was drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_refacer.training.augment import Augmentation, apply_intensity, apply_pose, draw_augmentation


def plain_draw(**changes: object) -> Augmentation:
    draw = Augmentation(
        flip=False,
        matrix=np.eye(3),
        shift=np.zeros(3),
        knots=np.linspace(0, 1, 9),
        bias=np.zeros((3, 3, 3)),
        blur=0.0,
        noise=0.0,
        seed=0,
    )
    return replace(draw, **changes)


def small_head() -> tuple[np.ndarray, np.ndarray]:
    values = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 3, (24, 30, 36)), 2).astype(np.float32)
    brain = np.zeros(values.shape, bool)
    brain[8:16, 10:20, 12:24] = True
    return np.clip(values, -1, 0.9), brain


def test_the_same_draw_gives_the_same_head_twice() -> None:
    values, brain = small_head()
    draws = [draw_augmentation(np.random.default_rng(seed)) for seed in range(20)]
    draw = next(d for d in draws if d.noise and d.blur)
    np.testing.assert_array_equal(apply_intensity(values, brain, draw), apply_intensity(values, brain, draw))
    np.testing.assert_array_equal(apply_pose(values, draw, -1), apply_pose(values, draw, -1))


def test_a_draw_of_nothing_changes_nothing() -> None:
    values, brain = small_head()
    np.testing.assert_allclose(apply_intensity(values, brain, plain_draw()), values, atol=1e-5)
    np.testing.assert_allclose(apply_pose(values, plain_draw(), -1), values, atol=1e-6)
    np.testing.assert_array_equal(apply_pose(brain.astype(np.uint8), plain_draw(), 0), brain)


def test_a_flip_mirrors_left_and_right() -> None:
    values, brain = small_head()
    np.testing.assert_allclose(apply_pose(values, plain_draw(flip=True), -1), values[::-1], atol=1e-6)
    np.testing.assert_array_equal(apply_pose(brain.astype(np.uint8), plain_draw(flip=True), 0), brain[::-1])


def test_a_shift_of_whole_voxels_moves_image_and_mask_alike() -> None:
    values, brain = small_head()
    draw = plain_draw(shift=np.array([2.0, -3.0, 1.0]))
    moved, moved_brain = apply_pose(values, draw, -1), apply_pose(brain.astype(np.uint8), draw, 0)
    np.testing.assert_allclose(moved[:-2, 3:, :-1], values[2:, :-3, 1:], atol=1e-6)
    np.testing.assert_array_equal(moved_brain[:-2, 3:, :-1], brain[2:, :-3, 1:])
    assert (moved[-2:] == -1).all() and moved_brain.dtype == np.uint8


def test_a_stretch_leaves_the_centre_of_the_grid_in_place() -> None:
    volume = np.zeros((21, 21, 21), np.float32)
    volume[10, 10, 10] = 1
    volume[10, 15, 10] = 1
    moved = apply_pose(volume, plain_draw(matrix=np.diag([1, 0.5, 1])), 0.0)
    assert moved[10, 10, 10] == 1 and moved[10, 20, 10] == 1


def test_the_brain_keeps_its_place_in_the_intensity_frame() -> None:
    values, brain = small_head()
    before = np.median(values[brain])
    for seed in range(25):
        got = apply_intensity(values, brain, draw_augmentation(np.random.default_rng(seed)))
        assert got.shape == values.shape and got.dtype == np.float32
        assert got.min() >= -1 and got.max() <= 1
        assert np.median(got[brain]) == pytest.approx(before, abs=5e-3)


def test_drawn_parameters_are_small_and_contrast_never_turns() -> None:
    draws = [draw_augmentation(np.random.default_rng(seed)) for seed in range(200)]
    assert all((np.diff(d.knots) > 0).all() and d.knots[0] == 0 and d.knots[-1] == pytest.approx(1) for d in draws)
    stretches = [np.linalg.svd(d.matrix, compute_uv=False) for d in draws]
    assert 0.88 < np.min(stretches) and np.max(stretches) < 1.12
    assert 0.4 < np.mean([d.flip for d in draws]) < 0.6
    assert 0.2 < np.mean([not d.bias.any() for d in draws]) < 0.5
