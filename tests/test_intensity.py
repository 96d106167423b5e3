"""The intensity frame: brain median 1, model range -1..1."""

from __future__ import annotations

import numpy as np
import pytest

from bids_refacer.volumes.intensity import CLIP, brain_scale, from_model, to_model


def test_air_brain_and_the_brightest_have_their_places() -> None:
    got = to_model(np.array([0.0, 640.0, CLIP * 640, 10 * 640, -50]), 640.0)
    np.testing.assert_allclose(got, [-1, -0.2, 1, 1, -1], atol=1e-6)
    assert got.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-3, 1.0, 830.5, 2e6])
def test_there_and_back(scale: float) -> None:
    values = np.random.default_rng(0).uniform(0, CLIP * scale, 1000)
    back = from_model(to_model(values, scale), scale)
    np.testing.assert_allclose(back, values, atol=1e-6 * CLIP * scale)
    assert back.dtype == np.float32


def test_what_leaves_the_range_on_the_way_back_is_clipped() -> None:
    np.testing.assert_allclose(from_model(np.array([-1.4, 1.3]), 100.0), [0, CLIP * 100])


def test_order_and_contrast_do_not_depend_on_the_unit() -> None:
    values, brain = np.random.default_rng(1).gamma(4, 100, (8, 8, 8)), np.zeros((8, 8, 8), bool)
    brain[2:6, 2:6, 2:6] = True
    first = to_model(values, brain_scale(values, brain))
    again = to_model(values * 37.0, brain_scale(values * 37.0, brain))
    np.testing.assert_allclose(again, first, atol=1e-6)
    assert np.median(first[brain]) == pytest.approx(-0.2, abs=1e-6)


def test_the_scale_is_the_median_inside_the_brain_alone() -> None:
    values = np.full((4, 4, 4), 1e4)
    brain = np.zeros((4, 4, 4), bool)
    brain[0, 0, :3], values[0, 0, :3] = True, [5.0, 70.0, 900.0]
    assert brain_scale(values, brain) == 70.0


@pytest.mark.parametrize("median", [0.0, -3.0, np.nan])
def test_a_median_that_is_no_unit_is_refused(median: float) -> None:
    values, brain = np.full((3, 3, 3), median), np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match=f"median intensity of the brain is {median}.*check the brain mask"):
        brain_scale(values, brain)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="not above zero: check the brain mask"):
        brain_scale(np.ones((3, 3, 3)), np.zeros((3, 3, 3), bool))
