"""Faults that voxels show: unsigned data read as signed, noise in the air, no air at all, a head in pieces."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_datasets import DATA, average_head

from bids_refacer.volumes.content.faults import require_sound
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

AFFINE = nib.load(DATA / "average_head.nii.gz").affine


def saved(folder: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Scan:
    path = folder / "sub-1_T1w.nii"
    nib.Nifti1Image(data, affine).to_filename(path)
    return read_scan(path)


def refused(folder: Path, data: np.ndarray, words: str, affine: np.ndarray = AFFINE) -> None:
    with pytest.raises(ImageError, match=rf"sub-1_T1w\.nii:? .*{words}"):
        require_sound(saved(folder, data, affine))


def test_ordinary_heads_pass(tmp_path: Path) -> None:
    require_sound(saved(tmp_path, average_head()))
    require_sound(saved(tmp_path, average_head().astype(np.int16) - np.int16(1024)))
    require_sound(saved(tmp_path, np.rint(np.random.default_rng(0).normal(average_head(), 5)).astype(np.int16)))


@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_unsigned_numbers_read_as_signed_ones(dtype: str, tmp_path: Path) -> None:
    bright = (average_head().astype(np.float64) * 300).clip(0, 65535).astype(np.uint16)
    assert (bright > 32767).mean() > 0.005
    refused(tmp_path, bright.view(np.int16).astype(dtype), r"uint16\) were read as signed ones \(int16\); convert it")


def test_unsigned_bytes_read_as_signed_ones(tmp_path: Path) -> None:
    refused(tmp_path, average_head().view(np.int8), "uint8.* were read as signed ones .int8.; convert it again")


def test_noise_in_the_air(tmp_path: Path) -> None:
    head = average_head().astype(float)
    noise = np.random.default_rng(0).uniform(0, 4095, head.shape)
    uni = np.where(head > 20, head * 20 + 300, noise)
    words = "noise as bright as tissue, as in the UNI image of MP2RAGE.*second inversion image, or give the denoised"
    refused(tmp_path, uni.astype(np.uint16), words)
    refused(tmp_path, (uni / 4095 - 0.5).astype(np.float32), words)
    require_sound(saved(tmp_path, np.where(head > 20, head * 20 + 300, 0).astype(np.uint16)))


def test_no_level_that_is_air(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(-3, 3, 96)[:, None, None], (96, 64, 64)).astype(np.float32)
    refused(tmp_path, ramp, "both sides of zero and no level that is air: give the magnitude image")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("thick", [2, 9])
def test_a_black_band(axis: int, thick: int, tmp_path: Path) -> None:
    head = average_head().copy()
    middle = head.shape[axis] // 2
    np.moveaxis(head, axis, 0)[middle : middle + thick] = 0
    words = (
        rf"slices {middle} to {middle + thick - 1} along its axis {'ijk'[axis]} \(from 0\) are empty, .*get the image"
    )
    refused(tmp_path, head, words)


def test_an_oblique_band(tmp_path: Path) -> None:
    head = average_head().copy()
    i, j, k = np.indices(head.shape)
    head[np.abs(j + k - 125) < 10] = 0
    refused(tmp_path, head, r"the head is in pieces of \d+ mL and \d+ mL: get the image again")


def test_a_saturation_band_below_the_head(tmp_path: Path) -> None:
    """A tall image: the neck goes on below a dark band."""
    head = average_head()
    low = np.concatenate([np.repeat(head[:, :, :1], 30, axis=2), head], axis=2)
    low[:, :, 22:28] = 0
    affine = AFFINE.copy()
    affine[2, 3] -= 30 * affine[2, 2]
    require_sound(saved(tmp_path, low, affine))
