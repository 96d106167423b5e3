"""A head as fields: what they hold, and that the image they stand for has the skin where they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bids_refacer.refacing.conditioning import render, upsample
from bids_refacer.refacing.fields import SKIN_LIMIT, SKIN_UNIT_MM, skin_field, tissue_field, to_torch
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import Volume, pool

SIDE, RADIUS = 40, 61.3


def distance_to_sphere(spacing: int, radius: float = RADIUS) -> np.ndarray:
    """Signed distance in mm to a sphere around the middle of a cube of 160 mm."""
    size = 4 * SIDE // spacing
    axes = (np.arange(size) - (size - 1) / 2) * spacing
    x, y, z = np.meshgrid(axes, axes, axes, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2) - radius


def skin_radii(image: torch.Tensor) -> np.ndarray:
    """Distances from the centre of the skin found in a 2 mm image of model intensities."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -(image.shape[-1] - 1)
    return np.linalg.norm(skin_surface(Volume((image[0, 0].numpy() + 1) * 100, affine)).vertices, axis=1)


def test_skin_is_positive_outside_in_units_and_bounded() -> None:
    got = skin_field(np.array([-100.0, -8.0, 0.0, 4.0, 16.0, 99.0]))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [-SKIN_LIMIT, -1, 0, 0.5, 2, SKIN_LIMIT])
    assert SKIN_UNIT_MM * SKIN_LIMIT == 16, "farther than a nose is long, nothing is asked of a network"


def test_the_image_of_the_fields_has_the_skin_where_they_say() -> None:
    skin = skin_field(distance_to_sphere(4))
    tissue = np.full(skin.shape, 0.1, np.float32)
    radii = skin_radii(render(upsample(to_torch(skin)), upsample(to_torch(tissue)), 2))
    assert abs(radii.mean() - RADIUS) < 0.1
    assert np.quantile(np.abs(radii - RADIUS), 0.9) < 0.2 and np.abs(radii - RADIUS).max() < 0.3


def test_fields_at_4_mm_keep_a_skin_better_than_intensities_do() -> None:
    share = np.clip(0.5 - distance_to_sphere(1), 0, 1)
    for _ in range(2):
        share, _known = pool(share, np.ones(share.shape, bool))
    pooled = skin_radii(upsample(to_torch(1.1 * share - 1)))
    fields = skin_radii(render(upsample(to_torch(skin_field(distance_to_sphere(4)))), torch.tensor(0.1), 2))
    assert np.abs(pooled - RADIUS).mean() > 2 * np.abs(fields - RADIUS).mean()


def test_tissue_is_the_image_itself_deep_inside() -> None:
    skin = skin_field(distance_to_sphere(4))
    values = np.random.default_rng(0).uniform(-0.9, 0.9, skin.shape).astype(np.float32)
    got = tissue_field(values, skin, np.ones(skin.shape, bool))
    deep = distance_to_sphere(4) < -2
    np.testing.assert_array_equal(got[deep], values[deep])
    assert got.dtype == np.float32 and (got[~deep] != values[~deep]).mean() > 0.99


@pytest.mark.parametrize("hidden", ["air", "partial volume", "outside the view"])
def test_tissue_does_not_hear_what_is_no_tissue(hidden: str) -> None:
    distance = distance_to_sphere(4)
    skin, seen = skin_field(distance), np.ones(distance.shape, bool)
    seen[:, :, :12] = False
    values = np.random.default_rng(0).uniform(-0.9, 0.9, skin.shape).astype(np.float32)
    place = {"air": distance > 0, "partial volume": np.abs(distance) < 2, "outside the view": ~seen}[hidden]
    assert place.any() and (place & (distance < 0)).any() == (hidden != "air")
    other = np.where(place, 0.7, values).astype(np.float32)
    np.testing.assert_array_equal(tissue_field(other, skin, seen), tissue_field(values, skin, seen))


def test_tissue_goes_on_smoothly_into_the_air() -> None:
    distance = distance_to_sphere(4)
    skin, seen = skin_field(distance), np.ones(distance.shape, bool)
    values = np.where(distance < 0, 0.3, -1).astype(np.float32)
    got = tissue_field(values, skin, seen)
    np.testing.assert_allclose(got[distance < 10], 0.3, atol=5e-3)
    middle = SIDE // 2
    two = np.where(distance < 0, np.where(np.arange(SIDE)[:, None, None] < middle, 0.3, -0.3), -1)
    halves = tissue_field(two.astype(np.float32), skin, seen)
    # at the skin the tissue of the next voxels counts, farther out that of a wider neighbourhood
    for low, high, reach, most in ((-1.9, 1, 4, 0.02), (1, 8, 10, 0.05)):
        rim = (distance > low) & (distance < high)
        np.testing.assert_allclose(halves[: middle - reach][rim[: middle - reach]], 0.3, atol=most)
        np.testing.assert_allclose(halves[middle + reach :][rim[middle + reach :]], -0.3, atol=most)


def test_tissue_without_any_is_middling() -> None:
    skin = np.full((8, 8, 8), SKIN_LIMIT, np.float32)
    np.testing.assert_allclose(tissue_field(np.full(skin.shape, -1.0), skin, np.ones(skin.shape, bool)), -0.2)
