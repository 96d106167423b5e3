"""Facial voxels of the average head, whose place in the canonical frame is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_refacer.phenotypes.voxels import (
    ROIS,
    face_roi,
    head_roi,
    read_voxels,
    roi,
    sample_voxels,
    to_lattice,
    write_voxels,
)
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.templates import asset

AT_HOME = Alignment(np.eye(4), np.eye(4))


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    average = asset("average_head.nii.gz")
    return average.values.astype(np.float32), average.affine, asset("average_brain_mask.nii.gz").values > 0


def test_regions_are_where_they_should_be(head) -> None:
    values, _, brain = head
    inside, face = head_roi(), np.zeros(CANONICAL[4].shape, dtype=bool)
    face[inside] = face_roi()
    fine = np.kron(face, np.ones((2, 2, 2), dtype=bool))
    assert not (fine & brain).any() and 0.2 < (values[fine] > 40).mean() < 0.9
    assert np.kron(inside, np.ones((2, 2, 2), dtype=bool))[values > 40].all()
    centre = CANONICAL[4].affine[:3, :3] @ np.argwhere(face).mean(axis=0) + CANONICAL[4].affine[:3, 3]
    assert abs(centre[0]) < 3 and centre[1] > 40 and centre[2] < 0, "in the middle, in front, below"
    assert roi("head").all() and roi("head").shape == roi("face").shape


def test_voxels_are_means_of_eight_in_brain_medians(head) -> None:
    values, affine, brain = head
    found = sample_voxels(Volume(values, affine), brain, AT_HOME)
    scaled = np.clip(values / np.median(values[brain]), 0, 2.5) * 255 / 2.5
    for number in np.flatnonzero(found)[:: len(found) // 40]:
        i, j, k = 2 * np.argwhere(head_roi())[number]
        assert found[number] == pytest.approx(scaled[i : i + 2, j : j + 2, k : k + 2].mean(), abs=0.51)


def test_scanner_units_and_pose_do_not_matter(head) -> None:
    values, affine, brain = head
    before = sample_voxels(Volume(values, affine), brain, AT_HOME)
    assert np.array_equal(sample_voxels(Volume(values * 7, affine), brain, AT_HOME), before)
    moved, back = np.eye(4), np.eye(4)
    moved[:3, 3], back[:3, 3] = (5, -3, 8), (-5, 3, -8)
    assert np.array_equal(sample_voxels(Volume(values, moved @ affine), brain, Alignment(back, back)), before)
    assert not np.array_equal(sample_voxels(Volume(values, moved @ affine), brain, AT_HOME), before)


def test_defacing_changes_the_face_and_nothing_else(head) -> None:
    values, affine, brain = head
    before = sample_voxels(Volume(values, affine), brain, AT_HOME)
    removed = asset("face_parts.nii.gz").values > 0
    after = sample_voxels(Volume(np.where(removed & ~brain, 0, values), affine), brain, AT_HOME)
    assert not after[face_roi() & (before > 0)].all() and before[face_roi()].mean() > 4 * after[face_roi()].mean()
    far = np.argwhere(head_roi())[:, 1] < 20
    assert np.array_equal(after[far], before[far])


def test_what_is_left_of_a_cut_brain_gives_its_unit(head) -> None:
    values, affine, brain = head
    even = np.where(values > 40, np.float32(100), np.float32(0))
    cut = np.where(np.arange(96)[:, None, None] > 40, even, 0)
    rest = np.argwhere(head_roi())[:, 0] > 21
    whole = sample_voxels(Volume(even, affine), brain, AT_HOME)
    assert whole[rest].max() == 102 and np.array_equal(
        sample_voxels(Volume(cut, affine), brain, AT_HOME)[rest], whole[rest]
    )


def test_without_a_brain_there_is_no_unit(head) -> None:
    values, affine, brain = head
    with pytest.raises(ValueError, match="median intensity of the brain is 0.0, not above zero: check the brain mask"):
        sample_voxels(Volume(np.where(brain, 0, values), affine), brain, AT_HOME)


def test_read_what_was_written(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, int(head_roi().sum()), dtype=np.uint8)
    for name in ("a.npz", "b.npz"):
        write_voxels(tmp_path / name, voxels)
    assert np.array_equal(read_voxels(tmp_path / "a.npz"), voxels)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK")
    with pytest.raises(ImageError, match="a.npz holds no readable facial voxels .* run the participant level again"):
        read_voxels(path)
    np.savez(path, voxels=np.zeros(4, dtype=np.uint8), version=9)
    with pytest.raises(ImageError, match="of version 9, and this is version 1: run the participant level again"):
        read_voxels(path)


@pytest.mark.parametrize("region", ROIS)
def test_rows_become_volumes_again(region: str) -> None:
    rows = np.random.default_rng(0).integers(1, 256, (2, int(head_roi().sum())), dtype=np.uint8)
    volumes = to_lattice(rows, region)
    assert np.array_equal(volumes[:, volumes[0] > 0], rows[:, roi(region)]), "in the same order"
    for axis in (1, 2, 3):
        sides = np.moveaxis(volumes, axis, 1)
        assert sides[:, 0].any() and sides[:, -1].any(), "the box is tight"
    places = np.argwhere(to_lattice(np.ones((1, rows.shape[1]), np.uint8), "head")[0])
    neighbours = np.argwhere(head_roi())
    assert np.array_equal(places + neighbours.min(axis=0), neighbours)
