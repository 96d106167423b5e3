"""What is computed in a part of an image equals what the whole image gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine
from nifti_files import raw_image
from scipy import ndimage

from bids_refacer.refacing.attack import DefacedImage, _target, native_intensities
from bids_refacer.refacing.compose import average_in_native, compose, find_opening
from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid, Volume, bounding_box, resample, resample_at
from bids_refacer.volumes.masks import SLICES, VOLUME, _counted, holes_filled, largest_component
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan, to_stored
from bids_refacer.volumes.seam import FADE_MM, RING_MM, seam_correction
from bids_refacer.volumes.smoothing import masked_mean

SPACING = np.array([1.1, 0.9, 1.5])


def turned_alignment() -> Alignment:
    rigid = np.eye(4)
    rigid[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    rigid[:3, 3] = (3.3, 20.1, -30.7)
    return Alignment(rigid, rigid)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    stored = np.random.default_rng(1).integers(0, 900, (40, 36, 30)).astype("<i2")
    raw_image(tmp_path / "image.nii", stored, affine=np.diag([*SPACING, 1.0]))
    return read_scan(tmp_path / "image.nii")


@pytest.fixture
def target(scan: Scan) -> np.ndarray:
    """A blob that touches the border of the image."""
    places = np.moveaxis(np.indices(scan.stored.shape), 0, -1) * SPACING
    return np.asarray(np.linalg.norm(places - (25, 0, 20), axis=-1) < 11)


def whole_seam(difference: np.ndarray, zone: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The slow twin of `seam_correction`: every step on the whole image."""
    depth = ndimage.distance_transform_edt(zone, sampling=SPACING)
    ring = ~zone & (ndimage.distance_transform_edt(~zone, sampling=SPACING) <= RING_MM) & known
    around, _ = masked_mean(difference.astype(np.float32), ring.astype(np.float32), RING_MM / SPACING, 1e-4)
    return np.where(zone, around * np.exp(-((depth / FADE_MM) ** 2)), 0).astype(np.float32)


def test_a_seam_is_that_of_the_whole_image(scan: Scan, target: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    difference, known = rng.normal(0, 100, target.shape), rng.random(target.shape) < 0.8
    found = seam_correction(difference, target, SPACING, known)
    np.testing.assert_allclose(found, whole_seam(difference, target, known), atol=1e-6 * np.abs(found).max())


def test_a_composed_image_is_that_of_the_whole_image(scan: Scan, target: np.ndarray) -> None:
    """Two things painted in one opening: both as the whole image gives them, bit for bit."""
    known = np.random.default_rng(5).random(target.shape) < 0.9
    opening = find_opening(scan, target, known)
    for seed in (3, 4):
        painted = np.random.default_rng(seed).normal(300, 200, target.shape).astype(np.float32)
        matched = painted + whole_seam(scan.values - painted, target, known)
        whole = np.where(target, to_stored(scan, np.maximum(matched, 0)), scan.stored)
        np.testing.assert_array_equal(opening.filled(painted), whole)
        np.testing.assert_array_equal(compose(scan, painted, target, known), whole)
        np.testing.assert_array_equal(opening.filled(np.where(opening.around, painted, 7e5)), whole)


@pytest.mark.parametrize("order", [1, 3])
def test_sampling_some_voxels_is_sampling_all(order: int, target: np.ndarray) -> None:
    rng = np.random.default_rng(6)
    volume = Volume(rng.normal(0, 100, (20, 24, 22)).astype(np.float32), np.diag([2.0, 2, 2, 1]))
    grid, way = Grid((40, 36, 30), np.diag([*SPACING, 1.0])), turned_alignment().rigid
    way[:3, 3] = (3, -6, -4)
    whole = resample(volume, grid, way, order, cval=-1.0)
    some = resample_at(volume, grid, target, way, order, cval=-1.0)
    np.testing.assert_allclose(some[target], whole[target], rtol=1e-6, atol=1e-4)
    assert not some[~target].any() and (whole[target] == -1).any()


def test_faces_are_sampled_where_they_go(scan: Scan, target: np.ndarray) -> None:
    image = DefacedImage(scan, target, turned_alignment())
    volume = np.random.default_rng(7).uniform(-1, 1, CANONICAL[4].shape).astype(np.float32)
    pairs = (
        (native_intensities(image, volume, 4, 100.0), native_intensities(image, volume, 4, 100.0, target)),
        (average_in_native(*(arguments := (scan.grid, image.alignment, 90.0))), average_in_native(*arguments, target)),
    )
    for whole, some in pairs:
        assert whole[target].any()
        np.testing.assert_allclose(some[target], whole[target], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("side", [1, -1])
def test_the_target_is_that_of_the_whole_image(scan: Scan, side: int) -> None:
    """A region in the canonical frame, within the image and half outside it."""
    alignment = turned_alignment()
    middle = apply_affine(alignment.rigid @ scan.affine, (20, 17 if side > 0 else 1, 14))
    grid = CANONICAL[4]
    places = apply_affine(grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1))
    region = np.linalg.norm(places - middle, axis=-1) < 14
    unknown = np.random.default_rng(8).random(scan.stored.shape) < 0.7
    inside = alignment.to_native(region.astype(np.float32), 4, scan.grid) > 0.5
    found = _target(DefacedImage(scan, unknown, alignment), unknown, region, 4)
    np.testing.assert_array_equal(found, unknown & inside)
    assert found.any()


def test_a_box_holds_the_mask_and_its_margin() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[2, 3:5, 8] = True
    assert bounding_box(mask) == (slice(2, 3), slice(3, 5), slice(8, 9))
    assert bounding_box(mask, np.array([1, 5, 2])) == (slice(1, 4), slice(0, 9), slice(6, 9))


def test_components_and_holes_do_not_depend_on_the_air_around() -> None:
    rng = np.random.default_rng(9)
    for share in (0.0, 0.02, 0.4, 0.8, 1.0):
        inner = rng.random((9, 8, 7)) < share
        wide = np.pad(inner, 4)
        filled = holes_filled(wide, (VOLUME, *SLICES))[4:-4, 4:-4, 4:-4]
        np.testing.assert_array_equal(filled, ndimage_holes(inner))
        labels, count = ndimage.label(wide)
        sizes = np.bincount(labels.ravel())[1:]
        expected = labels == 1 + sizes.argmax() if count else wide
        np.testing.assert_array_equal(largest_component(wide), expected)


def ndimage_holes(mask: np.ndarray) -> np.ndarray:
    """Holes filled by scipy: in the volume, then in the slices along each axis."""
    filled = ndimage.binary_fill_holes(mask)
    for axis in range(3):
        planes = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(filled, axis, 0)]
        filled = np.moveaxis(np.stack(planes), 0, axis)
    return np.asarray(filled)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", "<u2", "<i4", "<f4"])
def test_counts_of_values_are_those_of_sorted_ones(dtype: str) -> None:
    values = np.random.default_rng(3).integers(0, 90, 500).astype(dtype)
    if np.dtype(dtype).kind != "u":
        values = values - np.array(40, dtype)
    for some in (values, values[:0]):
        found, counts = _counted(some)
        expected, expected_counts = np.unique(some, return_counts=True)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(counts, expected_counts)
