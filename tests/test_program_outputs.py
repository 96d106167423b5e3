"""Outputs of programs on other grids, and regions read off them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import Phantom
from nifti_files import raw_image
from tool_programs_on_path import install

from bids_refacer.defacers import DefacerError
from bids_refacer.defacers.changed_region import removed_region
from bids_refacer.defacers.output_grid import OtherGridError, onto_grid, read_output
from bids_refacer.defacers.tools_file import make_tool
from bids_refacer.volumes.grid import Alignment, Grid, Volume
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

AFFINE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.2, -0.1) @ np.diag([-1.0, 1.5, 2.0]), [9.0, -7, 3])
STILL = Alignment(np.eye(4), np.eye(4))


@pytest.fixture
def scan(phantom_head: Phantom, tmp_path: Path) -> Scan:
    stored = np.rint(phantom_head.values).astype("<i2")
    raw_image(tmp_path / "sub-01_T1w.nii.gz", stored, affine=phantom_head.affine)
    return read_scan(tmp_path / "sub-01_T1w.nii.gz")


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_turned_images_come_back(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=(5, 6, 7))
    image = nib.Nifti1Image(values, AFFINE)
    orientation = np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)])
    turned = image.as_reoriented(orientation)
    back, changed = onto_grid(Volume(turned.get_fdata(), turned.affine), Grid(values.shape, AFFINE), np.nan)
    np.testing.assert_array_equal(back, values)
    assert changed == (axes != (0, 1, 2) or flips != (1, 1, 1))


def test_cropped_and_padded_images_come_back() -> None:
    values = np.random.default_rng(0).normal(size=(8, 6, 7))
    cropped = nib.Nifti1Image(values, AFFINE).slicer[2:7, :, 1:]
    padded = np.pad(np.asarray(cropped.dataobj), ((0, 0), (3, 0), (0, 0)))
    affine = cropped.affine @ nib.affines.from_matvec(np.eye(3), [0, -3, 0])
    back, changed = onto_grid(Volume(padded, affine), Grid(values.shape, AFFINE), np.nan)
    assert changed and np.isnan(back[:2]).all() and np.isnan(back[7:]).all() and np.isnan(back[:, :, 0]).all()
    np.testing.assert_array_equal(back[2:7, :, 1:], values[2:7, :, 1:])


def test_rounding_of_a_header_is_forgiven_and_half_a_voxel_is_not() -> None:
    values, grid = np.zeros((40, 41, 42)), Grid((40, 41, 42), AFFINE)
    assert onto_grid(Volume(values, AFFINE + 1e-4), grid, 0)[1] is False
    with pytest.raises(OtherGridError, match=r"Voxels lie up to 0.50 voxels from those"):
        onto_grid(Volume(values, AFFINE @ nib.affines.from_matvec(np.eye(3), [0.5, 0, 0])), grid, 0)
    with pytest.raises(OtherGridError, match="Voxels of 2 x 3 x 4 mm do not coincide with voxels of 1 x 1.5 x 2 mm"):
        onto_grid(Volume(values, AFFINE @ np.diag([2.0, 2, 2, 1])), grid, 0)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("silent", "ended without an error but did not write its image; check its installation"),
        ("grid", r"wrote an image on another grid \(\(32, 32, 32\), the input has \(64, 64, 64\)\). Voxels of 7"),
        ("broken", "what frontcut wrote cannot be read"),
        ("killed", r"was stopped by signal 9 \(SIGKILL\) .* run out of memory: use a smaller --nprocs"),
        ("disk", "found no space left on the disk; free some, or give another --work-dir"),
    ],
)
def test_faults_are_sentences(
    fault: str, words: str, scan: Scan, phantom_head: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install({"frontcut": "frontcut"}, tmp_path / "bin", monkeypatch)
    tool = make_tool("frontcut", {"command": f"frontcut {{input}} {{output}} --fault {fault}", "action": "removes"})
    with pytest.raises(DefacerError, match=rf"sub-01_T1w.nii.gz: frontcut .*{words}" if fault != "broken" else words):
        tool.run(scan, phantom_head.brain, STILL, tmp_path)


def test_another_name_than_expected_is_reported(
    scan: Scan, phantom_head: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install({"frontcut": "frontcut"}, tmp_path / "bin", monkeypatch)
    tool = make_tool("x", {"command": "sh -c 'cp {input} other.nii.gz' {output}", "action": "removes"})
    with pytest.raises(DefacerError, match=r"sub-01_T1w.nii.gz: x wrote other.nii.gz but not defaced.nii.gz; check"):
        tool.run(scan, phantom_head.brain, STILL, tmp_path)


def test_a_mask_counts_either_way_round_and_only_if_it_agrees(scan: Scan) -> None:
    region = np.zeros(scan.stored.shape, dtype=bool)
    region[:, 40:, :30] = True
    output = np.where(region, 0, scan.values).astype(float)
    wide = region.copy()
    for mask in (region, ~region):
        found, quirks = removed_region(scan, output, mask.astype(float))
        np.testing.assert_array_equal(found, region)
        assert quirks == []
    wide[:, 20:] = True
    found, quirks = removed_region(scan, output, wide.astype(float))
    assert quirks == ["its mask does not agree with its image; not used"]
    assert (found == region)[scan.values > 50].all()


def test_an_output_of_zeros_is_all_removed(scan: Scan) -> None:
    found, _ = removed_region(scan, np.zeros(scan.stored.shape))
    assert found.all()


def test_mgh_and_nothing_at_all(scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(DefacerError, match="ended without an error but did not write its image"):
        read_output(scan, tmp_path / "none.nii.gz", "x")
    series = np.zeros((*scan.stored.shape, 2), dtype=np.float32)
    nib.Nifti1Image(series, scan.affine).to_filename(tmp_path / "series.nii")
    with pytest.raises(DefacerError, match=r"x wrote an image of shape \(64, 64, 64, 2\); leave the tool out"):
        read_output(scan, tmp_path / "series.nii", "x")
