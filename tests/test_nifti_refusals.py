"""Images that are refused, and the sentence with which each is refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import OBLIQUE, SHAPE, raw_image, stored_of

from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan


def refusal(path: Path) -> str:
    """The sentence with which an image is refused: it names the file and ends with a full stop."""
    with pytest.raises(ImageError) as caught:
        read_scan(path)
    message = str(caught.value)
    assert str(path) in message and message.endswith(".")
    return message


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist: check the path" in refusal(tmp_path / "none.nii.gz")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path)


def test_broken_annex_link(tmp_path: Path) -> None:
    link = tmp_path / "x.nii.gz"
    link.symlink_to("../.git/annex/objects/a/b/MD5E-s1--2.nii.gz")
    message = refusal(link)
    assert "broken link" in message and f"`datalad get {link}`" in message and f"`git annex get {link}`" in message


def test_unlocked_annex_pointer(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(b"/annex/objects/MD5E-s10--abc.nii.gz\n")
    assert "`datalad get" in refusal(tmp_path / "x.nii.gz")


def test_lfs_pointer(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "`git lfs pull`" in refusal(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
def test_truncated(tmp_path: Path, suffix: str, fraction: float) -> None:
    path = tmp_path / f"x{suffix}"
    raw_image(path, stored_of("<f8"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    message = refusal(path)
    # A header cut short has lost the mark that makes it NIfTI, when it is not compressed.
    assert "is truncated or damaged: copy or download it again" in message or (
        suffix == ".nii" and fraction == 0.3 and "not a single-file NIfTI" in message
    )


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    raw_image(path, stored_of("<f8"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "is truncated or damaged" in refusal(path)


def test_not_nifti(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(b"DICM" * 500))
    assert "is not a single-file NIfTI image: convert it" in refusal(tmp_path / "x.nii.gz")


def test_header_of_a_pair_is_refused(tmp_path: Path) -> None:
    nib.Nifti1Pair(stored_of("<i2"), OBLIQUE).to_filename(tmp_path / "x.img")
    assert "is not a single-file NIfTI image" in refusal(tmp_path / "x.hdr")


@pytest.mark.parametrize("shape", [(70, 3), (70, 3, 1), (1, 70, 3)])
def test_two_dimensional(tmp_path: Path, shape: tuple[int, ...]) -> None:
    raw_image(tmp_path / "x.nii", np.arange(210, dtype="<i2"), shape=shape)
    assert "is a 2-D image" in refusal(tmp_path / "x.nii")


def test_series(tmp_path: Path) -> None:
    raw_image(tmp_path / "x.nii", np.arange(210, dtype="<i2"), shape=(7, 5, 3, 2))
    message = refusal(tmp_path / "x.nii")
    assert "is a 4-D series (7, 5, 3, 2): give one 3-D volume" in message


@pytest.mark.parametrize("value", [0, 17])
def test_constant(tmp_path: Path, value: int) -> None:
    raw_image(tmp_path / "x.nii.gz", np.full(SHAPE, value, dtype="<i2"))
    assert f"same value in every voxel ({value}): it holds no head" in refusal(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path: Path, value: float) -> None:
    stored = stored_of("<f4")
    stored[1:3, 2, 2] = value
    raw_image(tmp_path / "x.nii.gz", stored)
    message = refusal(tmp_path / "x.nii.gz")
    assert "holds 2 voxels that are NaN or infinite: replace them" in message


@pytest.mark.parametrize("dtype, name", [("<c8", "complex64"), ([("R", "u1"), ("G", "u1"), ("B", "u1")], "RGB")])
def test_complex_and_rgb(tmp_path: Path, dtype: object, name: str) -> None:
    raw_image(tmp_path / "x.nii", np.zeros(SHAPE, dtype=dtype))
    assert f"has data type {name}: only real-valued images can be defaced" in refusal(tmp_path / "x.nii")


def test_unknown_dtype(tmp_path: Path) -> None:
    content = bytearray(raw_image(tmp_path / "x.nii", stored_of("<i2")))
    content[70:72] = (999).to_bytes(2, "little")
    (tmp_path / "x.nii").write_bytes(bytes(content))
    assert "NIfTI header" in refusal(tmp_path / "x.nii") or "unknown data type" in refusal(tmp_path / "x.nii")


def test_infinite_scaling(tmp_path: Path) -> None:
    raw_image(tmp_path / "x.nii", stored_of("<i2"), slope=2.0, inter=np.inf)
    assert "impossible intensity scaling" in refusal(tmp_path / "x.nii")


@pytest.mark.parametrize(
    "column, value", [((0, 0, 0), "a voxel without width"), ((1.1, 0.2, 0.3), "two axes alike"), ((np.nan,) * 3, "NaN")]
)
def test_singular_affine(tmp_path: Path, column: tuple[float, ...], value: str) -> None:
    content = raw_image(tmp_path / "x.nii", stored_of("<i2"))
    header = nib.Nifti1Header(content[:348])
    header["srow_x"][:3] = (column[0], 1.1, 0.1)
    header["srow_y"][:3] = (column[1], 0.2, -0.2)
    header["srow_z"][:3] = (column[2], 0.3, 2.0)
    (tmp_path / "x.nii").write_bytes(header.binaryblock + content[348:])
    assert "cannot be inverted: repair its sform and qform" in refusal(tmp_path / "x.nii")


def test_damaged_quaternion(tmp_path: Path) -> None:
    content = raw_image(tmp_path / "x.nii", stored_of("<i2"))
    header = nib.Nifti1Header(content[:348])
    header["sform_code"], header["quatern_b"], header["quatern_c"] = 0, 5.0, 5.0
    (tmp_path / "x.nii").write_bytes(header.binaryblock + content[348:])
    assert "cannot be inverted" in refusal(tmp_path / "x.nii")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable(tmp_path: Path) -> None:
    raw_image(tmp_path / "x.nii", stored_of("<i2"))
    (tmp_path / "x.nii").chmod(0)
    assert "cannot be read (Permission denied): check its permissions" in refusal(tmp_path / "x.nii")
