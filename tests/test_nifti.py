"""What is read, and what is written back bit for bit."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import OBLIQUE, SHAPE, raw_image, stored_of

from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume
from bids_refacer.volumes.scan import Scan, to_stored


def content_of(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">i4", "<u4", "<i8", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_round_trip_changes_no_bit(tmp_path: Path, dtype: str, suffix: str) -> None:
    content = raw_image(tmp_path / f"in{suffix}", stored_of(dtype))
    scan = read_scan(tmp_path / f"in{suffix}")
    np.testing.assert_array_equal(scan.stored, stored_of(dtype))
    assert scan.stored.dtype == np.dtype(dtype)
    write_scan(tmp_path / f"out{suffix}", scan, scan.stored, keep_texts=True)
    assert content_of(tmp_path / f"out{suffix}") == content


@pytest.mark.parametrize("shape", [SHAPE + (1,), SHAPE + (1, 1)])
def test_trailing_axes_of_one_are_dropped_and_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    content = raw_image(tmp_path / "in.nii.gz", stored_of("<i2"), shape=shape)
    scan = read_scan(tmp_path / "in.nii.gz")
    assert scan.stored.shape == SHAPE
    assert scan.header.get_data_shape() == shape
    write_scan(tmp_path / "out.nii.gz", scan, scan.stored, keep_texts=True)
    assert content_of(tmp_path / "out.nii.gz") == content


def test_room_before_the_voxels_is_kept(tmp_path: Path) -> None:
    content = raw_image(tmp_path / "in.nii", stored_of("<i2"), extension=False)
    scan = read_scan(tmp_path / "in.nii")
    write_scan(tmp_path / "out.nii", scan, scan.stored, keep_texts=True)
    assert (tmp_path / "out.nii").read_bytes() == content


def test_nifti2_round_trip(tmp_path: Path) -> None:
    content = raw_image(tmp_path / "in.nii", stored_of("<i2"), nifti2=True)
    scan = read_scan(tmp_path / "in.nii")
    write_scan(tmp_path / "out.nii", scan, scan.stored, keep_texts=True)
    assert (tmp_path / "out.nii").read_bytes() == content


@pytest.mark.parametrize("slope, inter", [(2.5, -40.0), (0.001, 0.0), (-3.0, 7.0), (1.0, 12.0)])
def test_scaling_is_that_of_nibabel_and_inverts(tmp_path: Path, slope: float, inter: float) -> None:
    content = raw_image(tmp_path / "in.nii.gz", stored_of("<i2"), slope=slope, inter=inter)
    scan = read_scan(tmp_path / "in.nii.gz")
    expected = nib.load(tmp_path / "in.nii.gz").get_fdata()
    np.testing.assert_allclose(scan.values, expected, rtol=1e-6, atol=1e-6)
    assert scan.values.dtype == np.float32
    np.testing.assert_array_equal(to_stored(scan, scan.values), scan.stored)
    write_scan(tmp_path / "out.nii.gz", scan, scan.stored, keep_texts=True)
    assert content_of(tmp_path / "out.nii.gz") == content


@pytest.mark.parametrize("slope, inter", [(0.0, 5.0), (np.nan, np.nan)])
def test_no_scaling_in_the_header_means_none(tmp_path: Path, slope: float, inter: float) -> None:
    raw_image(tmp_path / "in.nii", stored_of("u1"), slope=slope, inter=inter)
    scan = read_scan(tmp_path / "in.nii")
    assert (scan.slope, scan.inter) == (1.0, 0.0)


def test_affine_is_that_of_nibabel(tmp_path: Path) -> None:
    raw_image(tmp_path / "in.nii", stored_of("<i2"))
    scan = read_scan(tmp_path / "in.nii")
    assert scan.affine.dtype == np.float64
    np.testing.assert_array_equal(scan.affine, nib.load(tmp_path / "in.nii").affine)


@pytest.mark.parametrize(
    "dtype, value, expected",
    [("u1", 300.0, 255), ("u1", -3.0, 0), ("<i2", 1e9, 32767), ("<i2", 1.6, 2), ("<i8", 1e30, 2**63 - 1024)],
)
def test_to_stored_rounds_and_clips(tmp_path: Path, dtype: str, value: float, expected: int) -> None:
    raw_image(tmp_path / "in.nii", stored_of(dtype))
    scan = read_scan(tmp_path / "in.nii")
    assert int(to_stored(scan, np.full(1, value))[0]) == expected
    assert to_stored(scan, np.full(1, value)).dtype == np.dtype(dtype)


def test_to_stored_refuses_nan(tmp_path: Path) -> None:
    raw_image(tmp_path / "in.nii", stored_of("<i2"))
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        to_stored(read_scan(tmp_path / "in.nii"), np.array([np.nan]))


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    raw_image(tmp_path / "in.nii.gz", stored_of("<i2"))
    scan = read_scan(tmp_path / "in.nii.gz")
    write_scan(tmp_path / "a.nii.gz", scan, scan.stored)
    write_scan(tmp_path / "b.nii.gz", scan, scan.stored)
    packed = (tmp_path / "a.nii.gz").read_bytes()
    assert packed == (tmp_path / "b.nii.gz").read_bytes()
    assert packed[3] & 0x08 == 0 and packed[4:8] == b"\x00" * 4, "no file name and no time in the gzip header"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw_image(tmp_path / "in.nii", stored_of("<i2"))
    scan = read_scan(tmp_path / "in.nii")
    target = tmp_path / "out" / "x.nii.gz"
    target.parent.mkdir()
    target.write_bytes(b"old")

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("bids_refacer.volumes.nifti._write_parts", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_scan(target, scan, scan.stored)
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["x.nii.gz"]


def test_write_scan_refuses_another_dtype_or_shape(tmp_path: Path) -> None:
    raw_image(tmp_path / "in.nii", stored_of("<i2"))
    scan = read_scan(tmp_path / "in.nii")
    for wrong in (scan.stored.astype(np.float32), scan.stored[1:]):
        with pytest.raises(ValueError, match="does not fit the header"):
            write_scan(tmp_path / "out.nii", scan, wrong)


@pytest.mark.parametrize(
    "dtype, expected", [(bool, np.uint8), (np.uint8, np.uint8), ("i2", np.int16), ("f4", np.float32)]
)
def test_write_volume_is_read_by_nibabel(tmp_path: Path, dtype: type | str, expected: type) -> None:
    data = np.random.default_rng(0).random(SHAPE) * 3 > 1 if dtype is bool else stored_of("u1") + 0.4
    write_volume(tmp_path / "m.nii.gz", Volume(data, OBLIQUE), dtype)
    image = nib.load(tmp_path / "m.nii.gz")
    assert image.get_data_dtype() == expected
    np.testing.assert_allclose(image.affine, OBLIQUE, atol=1e-6)
    want = data if np.dtype(dtype).kind == "f" else np.rint(data.astype(float))
    np.testing.assert_allclose(np.asarray(image.dataobj), want, rtol=1e-6)
    assert read_scan(tmp_path / "m.nii.gz").slope == 1.0


def test_write_volume_refuses_four_axes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="three axes, not 4"):
        write_volume(tmp_path / "m.nii", Volume(np.zeros((2, 2, 2, 2)), np.eye(4)), "u1")


def test_stored_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    raw_image(tmp_path / "in.nii", stored_of("<i2"))
    scan = read_scan(tmp_path / "in.nii")
    assert isinstance(scan, Scan)
    with pytest.raises(ValueError, match="read-only"):
        scan.stored[0, 0, 0] = 1
