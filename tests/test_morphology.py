"""Fast dilation and erosion give what scipy gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_refacer.surfaces import solid
from bids_refacer.volumes.shapes.morphology import BLOCK, ball, closed, dilated, eroded, opened

ELEMENTS = {
    "block": BLOCK,
    "ball": ball(np.ones(3), 3.0),
    "flat": ball(np.array([2.0, 1.0, 9.0]), 2.5),
    "fine": ball(np.array([1.1, 0.9, 0.4]), 2.1),
}


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("shape", [(9, 9, 11), (12, 10, 64), (7, 11, 130), (8, 7, 65)])
def test_morphology_is_that_of_scipy(shape: tuple[int, int, int], name: str) -> None:
    """Borders of the image and of words, sparse and dense masks, once and twice."""
    element, rng = ELEMENTS[name], np.random.default_rng(3)
    for share in (0.02, 0.5, 0.98):
        mask = rng.random(shape) < share
        for times in (1, 2):
            np.testing.assert_array_equal(
                dilated(mask, element, times=times), ndimage.binary_dilation(mask, element, iterations=times)
            )
            np.testing.assert_array_equal(
                eroded(mask, element, times=times), ndimage.binary_erosion(mask, element, iterations=times)
            )
            np.testing.assert_array_equal(
                closed(mask, element, times=times), ndimage.binary_closing(mask, element, iterations=times)
            )
        np.testing.assert_array_equal(
            eroded(mask, element, outside=True), ndimage.binary_erosion(mask, element, border_value=1)
        )
        np.testing.assert_array_equal(opened(mask, element), ndimage.binary_opening(mask, element))


def test_an_element_larger_than_the_image() -> None:
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 1, 1] = True
    assert dilated(mask, np.ones((9, 9, 201), bool)).all() and not eroded(mask, np.ones((9, 9, 201), bool)).any()


def test_a_ball_has_the_voxels_within_its_radius() -> None:
    spacing = np.array([0.7, 1.0, 1.3])
    inside = np.ones((15, 15, 15), bool)
    inside[7, 7, 7] = False
    near = ndimage.distance_transform_edt(inside, sampling=spacing) <= 4.0
    element = ball(spacing, 4.0)
    box = tuple(slice(7 - side // 2, 8 + side // 2) for side in element.shape)
    np.testing.assert_array_equal(near[box], element)
    assert near.sum() == element.sum()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 0.7), (0.9375, 0.9375, 1.2)])
def test_the_ball_of_solid_heads_is_the_ball(spacing: tuple[float, float, float]) -> None:
    for radius in (1.8, 2.8, 4.0):
        np.testing.assert_array_equal(solid._ball(np.array(spacing), radius), ball(np.array(spacing), radius))
