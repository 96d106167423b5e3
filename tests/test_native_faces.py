"""Painted heads in the native image: sharp, never negative, matched to what is known, and never over the brain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine
from nifti_files import raw_image

from bids_refacer.refacing.attack import DefacedImage, native_intensities
from bids_refacer.refacing.compose import compose
from bids_refacer.refacing.unknown import unknown_region
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import asset

STILL = Alignment(np.eye(4), np.eye(4))
SIDE = 24


def scan_of(values: np.ndarray, folder: Path, affine: np.ndarray | None = None) -> Scan:
    raw_image(folder / "image.nii", values.astype("<i2"), affine=np.eye(4) if affine is None else affine)
    return read_scan(folder / "image.nii")


def turned(degrees: float, axis: int) -> np.ndarray:
    """(4, 4) rotation about an axis."""
    angle, matrix = np.deg2rad(degrees), np.eye(4)
    one, other = [n for n in range(3) if n != axis]
    matrix[np.ix_([one, other], [one, other])] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def waves(points: np.ndarray) -> np.ndarray:
    """A wave of 12 mm along every axis, at (..., 3) points of the canonical frame: model intensities."""
    return 0.5 * np.sin(2 * np.pi * points / 12).prod(-1)


def test_the_way_back_to_an_oblique_image_is_cubic(tmp_path: Path) -> None:
    """Fine structure survives a real alignment; linear interpolation is wrong by three times as much as is allowed."""
    rigid = turned(17, 0) @ turned(-11, 1) @ turned(8, 2)
    rigid[:3, 3] = (3.3, -5.1, 2.7)
    native = turned(-9, 2) @ np.diag([1.7, 1.9, 2.3, 1.0])
    scan = scan_of(np.indices((SIDE,) * 3)[0], tmp_path, native)
    image = DefacedImage(scan, np.zeros(scan.stored.shape, bool), Alignment(rigid, rigid))
    grid = CANONICAL[2]
    volume = waves(apply_affine(grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1))).astype(np.float32)
    got = native_intensities(image, volume, 2, scale=100.0)
    places = apply_affine(rigid @ scan.affine, np.moveaxis(np.indices(scan.stored.shape), 0, -1))
    wanted = (waves(places) + 1) * 1.25 * 100
    assert np.abs(got - wanted).max() < 5
    linear = (image.alignment.to_native(volume, 2, scan.grid) + 1) * 1.25 * 100
    assert np.abs(linear - wanted).max() > 15, "this head tells the two apart"


def test_outside_the_canonical_frame_there_is_air(tmp_path: Path) -> None:
    far = np.eye(4)
    far[:3, 3] = 500
    scan = scan_of(np.indices((SIDE,) * 3)[0], tmp_path, far)
    image = DefacedImage(scan, np.zeros(scan.stored.shape, bool), STILL)
    assert (native_intensities(image, np.full(CANONICAL[2].shape, 0.5, np.float32), 2, 100.0) == 0).all()


@pytest.fixture
def target() -> np.ndarray:
    target = np.zeros((SIDE,) * 3, bool)
    target[8:16, 8:16, 8:16] = True
    return target


def test_what_is_painted_is_not_negative(tmp_path: Path, target: np.ndarray) -> None:
    scan = scan_of(np.where(target, 0, 50 + np.indices(target.shape)[0]), tmp_path)
    got = compose(scan, np.full(target.shape, -30.0, np.float32), target, np.zeros(target.shape, bool))
    assert (got[target] == 0).all()


def test_intensities_are_matched_to_known_voxels_alone(tmp_path: Path, target: np.ndarray) -> None:
    """What a tool put beside the target is not the head: it must not change what is painted."""
    painted, made_up = np.full(target.shape, 100.0, np.float32), np.zeros(target.shape, bool)
    made_up[16:20] = True
    images = []
    for value in (100, 900):
        values = np.where(target, 0, np.where(made_up, value, 120))
        images.append(compose(scan_of(values, tmp_path), painted, target, ~target & ~made_up))
    np.testing.assert_array_equal(images[0][target], images[1][target])
    assert images[0][8:10, 12, 12].mean() > 110, "the known side is met"


@pytest.mark.parametrize("zone", [False, True])
def test_the_brain_is_never_unknown(tmp_path: Path, zone: bool) -> None:
    zone_map = asset("face_zone.nii.gz")
    public, affine = zone_map.values, zone_map.affine
    values = np.where(public > 0, 0, 1 + np.indices(public.shape).sum(0))
    scan, nothing = scan_of(values, tmp_path, affine), np.zeros(public.shape, bool)
    whole = unknown_region(scan, nothing, STILL, zone=zone)
    brain = nothing.copy()
    brain[: len(brain) // 2] = True
    assert (whole & brain).any() and (whole & ~brain).any()
    np.testing.assert_array_equal(unknown_region(scan, brain, STILL, zone=zone), whole & ~brain)
