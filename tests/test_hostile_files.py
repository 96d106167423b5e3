"""Files made to do harm: none takes more memory than it should, and each is refused with a sentence."""

from __future__ import annotations

import gzip
import resource
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from output_folders import identifiable

from bids_refacer.audit.plugin_file import read_plugin_file
from bids_refacer.cli.checks import check_input, check_output_place
from bids_refacer.dataset.descriptions.derivatives import read_description
from bids_refacer.dataset.filters import read_filter_file
from bids_refacer.defacers.tools_file import read_definitions
from bids_refacer.group.phenotype_tables import _units
from bids_refacer.settings import RunSettings
from bids_refacer.settings_file import read_settings_file
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.versioned import read_versioned, write_versioned

DEEP = 100_000


def header_of(shape: tuple[int, int, int], offset: float = 352) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), code=1)
    header["magic"], header["vox_offset"] = b"n+1", offset
    return header.binaryblock + bytes(4)


def refusal(path: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError) as caught:
        read_scan(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 250, f"{grown:.0f} MiB more than before"
    assert str(path) in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


@pytest.mark.parametrize("offset", [np.nan, np.inf, -np.inf, -1e6, 1e9, 3e38])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_that_begin_nowhere(offset: float, name: str, tmp_path: Path) -> None:
    content = header_of((4, 4, 4), offset) + bytes(1000)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert "has a damaged NIfTI header (its voxels would begin at byte" in refusal(tmp_path / name)


def test_more_voxels_than_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header_of((30000, 30000, 30000)) + bytes(1000)))
    said = "has 5.03e+04 GiB of voxels by its header, and at most 8 are read: resample it to larger voxels, or exclude"
    assert said in refusal(path)


def test_a_header_that_asks_for_much_and_a_file_that_has_little(tmp_path: Path) -> None:
    """6 GiB by the header: no memory is taken before the voxels are there."""
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header_of((1500, 1500, 1500)) + bytes(1000)))
    assert "is truncated or damaged" in refusal(path)


def test_a_zip_bomb(tmp_path: Path) -> None:
    """A small image, and 1 GiB of nothing behind it."""
    path, part = tmp_path / "a.nii.gz", gzip.compress(bytes(2**26))
    path.write_bytes(gzip.compress(header_of((4, 4, 4)) + bytes(range(128))) + part * 16)
    assert "holds far more than its header says: convert it again" in refusal(path)
    path.write_bytes(gzip.compress(bytes(2**20)) + part * 16)
    assert "is not a single-file NIfTI image" in refusal(path)


def test_a_checksum_that_is_wrong_behind_the_voxels(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    content = bytearray(gzip.compress(header_of((4, 4, 4)) + bytes(range(128))))
    content[-8] ^= 1
    path.write_bytes(content)
    assert "is truncated or damaged" in refusal(path)


def test_arrays_that_unpack_to_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_versioned(path, 1, voxels=np.zeros(2**28, dtype=np.uint8))
    with pytest.raises(ImageError, match=r"holds no readable maps \(it unpacks to more than 268435456 bytes\)"):
        read_versioned(path, 1, "maps", {"voxels": ((None,), "u")})


READERS: list[tuple[str, Callable[[Path], object], str]] = [
    ("filter.json", lambda path: read_filter_file(path, ("T1w",)), "The filter file .* is not JSON"),
    ("plugin.json", read_plugin_file, "The plugin file .* is not JSON"),
    ("plugin.toml", read_plugin_file, "The plugin file .* is not TOML"),
    ("settings.toml", lambda path: read_settings_file(path, RunSettings), "is not a TOML file"),
    ("tools.toml", read_definitions, "is not a TOML file"),
    ("dataset_description.json", lambda path: read_description(path.parent), "is not JSON"),
]


@pytest.mark.parametrize(("name", "read", "said"), READERS, ids=[name for name, _, _ in READERS])
def test_files_that_are_nested_too_deeply(name: str, read: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    path, nested = tmp_path / name, "[" * DEEP + "]" * DEEP
    path.write_text(f"a = {nested}\n" if name.endswith("toml") else f'{{"T1w": {nested}}}')
    with pytest.raises(ValueError, match=said) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "correct it" in message and len(message) < 500


@pytest.mark.parametrize("text", ["[" * DEEP + "]" * DEEP, "{", "[]", "\x00"])
def test_a_dataset_description_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    bids, out = tmp_path / "bids", tmp_path / "out"
    for folder in (bids, out):
        folder.mkdir()
        (folder / "dataset_description.json").write_text(text)
    settings = RunSettings(bids_dir=bids, output_dir=out, work_dir=identifiable(out) / "work")
    assert "correct it" in (said := str(check_input(settings))) or "rewrite it" in said
    assert str(bids / "dataset_description.json") in said
    assert "a dataset that bids_refacer did not make" in str(check_output_place(settings))


def test_units_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[" * DEEP + "]" * DEEP)
    assert _units(tmp_path / "p.tsv", "fat") == ""
