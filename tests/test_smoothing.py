"""Means within a mask, and block means brought back to voxels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_refacer.volumes.masks import SLICES, VOLUME, holes_filled
from bids_refacer.volumes.smoothing import interpolate_blocks, masked_mean


def test_a_mean_within_a_mask_does_not_know_what_lies_outside() -> None:
    rng = np.random.default_rng(0)
    values, mask = rng.normal(0, 1, (12, 10, 8)).astype(np.float32), (rng.random((12, 10, 8)) < 0.4).astype(np.float32)
    mean, weight = masked_mean(values, mask, 1.5, 1e-3)
    other, _ = masked_mean(np.where(mask > 0, values, np.float32(9)), mask, 1.5, 1e-3)
    np.testing.assert_array_equal(mean, other)
    np.testing.assert_allclose(weight, ndimage.gaussian_filter(mask, 1.5))
    constant, _ = masked_mean(np.full_like(values, 0.7), mask, 1.5, 1e-3)
    np.testing.assert_allclose(constant, 0.7, rtol=1e-5)


def test_a_mean_falls_to_0_where_the_mask_is_far() -> None:
    mask = np.zeros((40, 3, 3), np.float32)
    mask[0] = 1
    mean, weight = masked_mean(np.ones_like(mask), mask, (1, 0, 0), 0.1)
    assert mean[0, 1, 1] == pytest.approx(1) and 0 < mean[3, 1, 1] < 0.1 and mean[20, 1, 1] == 0
    np.testing.assert_allclose(mean[weight < 0.1], weight[weight < 0.1] / 0.1, rtol=1e-6)


def test_blocks_are_joined_by_straight_lines_and_end_flat() -> None:
    blocks = np.array([0.0, 4.0, 8.0])[:, None, None] * np.ones((1, 2, 1))
    got = interpolate_blocks(blocks, np.array([4, 3, 1]), (12, 6, 1))
    assert got.shape == (12, 6, 1) and got.dtype == np.float32
    np.testing.assert_allclose(got[:, 2, 0], np.clip(np.arange(12) - 1.5, 0, 8))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tunnel_is_closed_in_slices_and_not_in_the_volume(axis: int) -> None:
    solid = np.ones((7, 7, 7), bool)
    solid = np.pad(solid, 1)
    tunnel = [slice(4, 5)] * 3
    tunnel[axis] = slice(None)
    open_through = solid.copy()
    open_through[tuple(tunnel)] = False
    np.testing.assert_array_equal(holes_filled(open_through, [VOLUME]), open_through)
    np.testing.assert_array_equal(holes_filled(open_through, [SLICES[axis]]), solid)
    for other in set(range(3)) - {axis}:
        np.testing.assert_array_equal(holes_filled(open_through, [SLICES[other]]), open_through)
    inner = solid.copy()
    inner[4, 4, 4] = False
    np.testing.assert_array_equal(holes_filled(inner, [VOLUME]), solid)
