"""Head and constant-fill masks against shapes that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Phantom, make_phantom
from scipy import ndimage

from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.masks import (
    _neighbours,
    constant_fill,
    head_mask,
    largest_component,
    voxel_sizes,
    voxel_volume,
)

SIZE = 48


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def noisy_air(zeros: float = 0.2, seed: int = 3) -> np.ndarray:
    """Small positive numbers, and exact zeros at random places."""
    rng = np.random.default_rng(seed)
    stored = rng.integers(1, 40, (SIZE,) * 3).astype(np.int16)
    stored[rng.random(stored.shape) < zeros] = 0
    return stored


def box() -> np.ndarray:
    mask = np.zeros((SIZE,) * 3, dtype=bool)
    mask[10:40, 25:, :20] = True
    return mask


def oblique_cut() -> np.ndarray:
    i, j, k = np.indices((SIZE,) * 3)
    return 0.83 * j - 0.55 * k + 0.1 * i > 18


@pytest.mark.parametrize("zeros", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("fill", [0, -7])
def test_a_removed_box_in_noisy_air_is_found_exactly(zeros: float, fill: int) -> None:
    stored = noisy_air(zeros)
    stored[box()] = fill
    found, mask = constant_fill(stored)
    assert found == fill
    np.testing.assert_array_equal(mask, box())


def test_an_oblique_cut_is_covered() -> None:
    stored = noisy_air(0.2)
    stored[oblique_cut()] = 0
    _, mask = constant_fill(stored)
    assert (mask & oblique_cut()).sum() >= 0.9999 * oblique_cut().sum()
    extra = np.argwhere(mask & ~oblique_cut())
    assert len(extra) < 0.01 * mask.sum()
    near = ndimage.binary_dilation(oblique_cut(), np.ones((3, 3, 3)), iterations=2)
    assert near[tuple(extra.T)].all(), "only zeros that touch the cut may join it"


def test_zero_air_merges_with_the_removed_box() -> None:
    stored = np.full((SIZE,) * 3, 100, dtype=np.int16) + noisy_air(0.0)
    air = np.indices(stored.shape)[1] > 30
    stored[air | box()] = 0
    found, mask = constant_fill(stored)
    assert found == 0
    np.testing.assert_array_equal(mask, air | box())


def test_nothing_constant_gives_an_empty_mask() -> None:
    found, mask = constant_fill(noisy_air(0.4))
    assert found == 0.0
    assert not mask.any()


def test_the_commonest_value_need_not_be_the_fill() -> None:
    stored = np.random.default_rng(0).choice(np.array([3, 4], dtype=np.int16), (SIZE,) * 3)
    stored[:, :, :4] = 0
    assert (stored == 3).sum() > 4 * (stored == 0).sum()
    found, mask = constant_fill(stored)
    assert found == 0
    assert mask[:, :, :4].all() and not mask[:, :, 4:].any()


def test_a_sheet_of_one_voxel_at_the_border_is_found() -> None:
    stored = noisy_air(0.0)
    stored[0] = 0
    _, mask = constant_fill(stored)
    assert mask[0].all() and not mask[1:].any()


def test_a_void_below_500_mm3_is_anatomy() -> None:
    stored = noisy_air(0.0)
    stored[10:16, 10:16, 10:16] = 0  # 216 voxels
    assert not constant_fill(stored, voxel_mm3=1.0)[1].any()
    assert constant_fill(stored, voxel_mm3=8.0)[1].sum() == 216


def test_float_values_have_a_fill_too() -> None:
    values = np.random.default_rng(0).normal(5, 2, (SIZE,) * 3)
    values[box()] = 0.0
    np.testing.assert_array_equal(constant_fill(values)[1], box())


def test_neighbour_count_equals_a_convolution() -> None:
    mask = np.random.default_rng(0).random((9, 8, 7)) < 0.4
    voxels = np.argwhere(np.ones(mask.shape))
    kernel = np.ones((3, 3, 3))
    kernel[1, 1, 1] = 0
    expected = ndimage.convolve(mask.astype(float), kernel, mode="nearest")
    np.testing.assert_array_equal(_neighbours(mask, voxels), expected.ravel())


def test_head_of_the_phantom(phantom_head: Phantom) -> None:
    assert dice(head_mask(phantom_head.volume), phantom_head.head) > 0.98


def test_dark_skull_and_cavities_belong_to_the_head(phantom_head: Phantom) -> None:
    values = phantom_head.values.copy()
    values[28:36, 28:36, 28:36] = 0
    mask = head_mask(Volume(values, phantom_head.affine))
    assert mask[28:36, 28:36, 28:36].all()


def test_noisy_air_stays_outside() -> None:
    noisy = make_phantom(noise=60.0)
    mask = head_mask(noisy.volume)
    assert not (mask & ~ndimage.binary_dilation(noisy.head, np.ones((3, 3, 3)))).any()
    assert (mask & noisy.head).sum() > 0.9 * noisy.head.sum()


def test_head_mask_does_not_depend_on_the_orientation(phantom_head: Phantom) -> None:
    mask = head_mask(phantom_head.volume)
    turned = np.transpose(phantom_head.values[::-1], (2, 0, 1))
    affine = phantom_head.affine[:, [2, 0, 1, 3]] @ np.diag([1, -1, 1, 1])
    np.testing.assert_array_equal(head_mask(Volume(turned, affine)), np.transpose(mask[::-1], (2, 0, 1)))


def test_ghost_spikes_are_cut_off(phantom_head: Phantom) -> None:
    values = phantom_head.values.copy()
    values[2:10, 32, 40] = 400.0  # a line of one voxel, up to the side of the head and beyond it
    assert not phantom_head.head[2:8, 32, 40].any()
    assert not head_mask(Volume(values, phantom_head.affine))[2:8, 32, 40].any()


def test_no_contrast_no_head() -> None:
    assert not head_mask(Volume(np.full((9, 9, 9), 3.0), np.eye(4))).any()


def test_largest_component() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, 0, :3] = mask[3:5, 3:5, 3:5] = True
    expected = mask.copy()
    expected[0] = False
    np.testing.assert_array_equal(largest_component(mask), expected)
    assert not largest_component(np.zeros((3, 3, 3), dtype=bool)).any()


def test_voxel_size_and_volume_of_an_oblique_grid() -> None:
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 2.0, 3.0])
    np.testing.assert_allclose(voxel_sizes(affine), [1, 2, 3])
    assert voxel_volume(affine) == pytest.approx(6.0)
