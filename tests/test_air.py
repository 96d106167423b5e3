"""Images whose air is not zero: z-scored, with an offset, with an intercept; found, filled and measured from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import raw_image
from small_datasets import average_head

from bids_refacer.audit.nodes import truth
from bids_refacer.defacers.tool import zero_region
from bids_refacer.surfaces.skin import SkinError, find_skin
from bids_refacer.volumes.content.air import find_air
from bids_refacer.volumes.content.faults import require_sound
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.masks import constant_fill
from bids_refacer.volumes.nifti import read_scan, write_scan
from bids_refacer.volumes.scan import Scan, to_stored

SHIFTED = ["offset", "intercept", "zscore", "inverted slope"]


def noisy_head() -> np.ndarray:
    """The average head every 4 mm with Rician noise, as int16."""
    head = average_head()[::2, ::2, ::2].astype(float) * 4
    rng = np.random.default_rng(0)
    return np.rint(np.hypot(head + rng.normal(0, 8, head.shape), rng.normal(0, 8, head.shape))).astype(np.int16)


def saved(path: Path, kind: str) -> Scan:
    head, affine = noisy_head(), np.diag([4.0, 4.0, 4.0, 1.0])
    image = nib.Nifti1Image(head, affine)
    if kind == "offset":
        image = nib.Nifti1Image(head + np.int16(500), affine)
    elif kind == "intercept":
        image.header.set_slope_inter(1, -1024)
    elif kind == "zscore":
        image = nib.Nifti1Image(((head - head.mean()) / head.std()).astype(np.float32), affine)
    elif kind == "inverted slope":
        image = nib.Nifti1Image(-head, affine)
        image.header.set_slope_inter(-1, 300)
    image.to_filename(path)
    if kind in ("intercept", "inverted slope"):  # nibabel would scale the voxels
        content, stored = bytearray(path.read_bytes()), np.asarray(image.get_fdata()).astype("<i2")
        content[352:] = stored.tobytes(order="F")
        path.write_bytes(content)
    return read_scan(path)


def unit(kind: str) -> float:
    return 1 / float(noisy_head().std()) if kind == "zscore" else 1.0


@pytest.mark.parametrize("kind", SHIFTED)
def test_intensities_are_measured_from_the_air(kind: str, tmp_path: Path) -> None:
    scan, plain = saved(tmp_path / "a.nii", kind), saved(tmp_path / "b.nii", "plain")
    assert plain.air.level == 0 and plain.fill == 0 and plain.fill_value == 0
    np.testing.assert_array_equal(plain.values, plain.stored.astype(np.float32))
    assert scan.air.level != 0
    np.testing.assert_allclose(scan.values / unit(kind), plain.values, atol=2)
    np.testing.assert_allclose(nib.load(scan.path).get_fdata() - scan.air.level, scan.values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_stored(scan, scan.values).astype(float), scan.stored, atol=1e-5)


@pytest.mark.parametrize("kind", SHIFTED)
def test_what_is_removed_becomes_air_and_stays_so(kind: str, tmp_path: Path) -> None:
    scan = saved(tmp_path / "a.nii", kind)
    region = np.zeros(scan.stored.shape, dtype=bool)
    region[:, 40:, :30] = True
    result = zero_region(scan, region, np.zeros_like(region), {})
    np.testing.assert_array_equal(result.stored[~region], scan.stored[~region])
    write_scan(tmp_path / "defaced.nii", scan, result.stored)
    defaced = read_scan(tmp_path / "defaced.nii")
    assert defaced.air == scan.air, "an image and its defaced copy have the same air"
    assert (defaced.values[region] == 0).all()
    fill, found = constant_fill(defaced.stored, 64.0)
    assert fill == float(scan.fill) and (found & region).sum() > 0.99 * region.sum()
    assert result.details["FillValue"] == pytest.approx(scan.air.level, rel=1e-6)


def test_the_skin_is_where_it_is_in_the_plain_image(tmp_path: Path) -> None:
    plain = saved(tmp_path / "plain.nii", "plain")
    expected = find_skin(plain.volume).mesh
    for kind in ("offset", "zscore"):
        scan = saved(tmp_path / f"{kind}.nii", kind)
        assert find_skin(scan.volume).mesh.volume == pytest.approx(expected.volume, rel=0.005)


def test_air_near_zero_is_zero() -> None:
    head = noisy_head().astype(np.float32)
    rng = np.random.default_rng(1)
    for image in (head, head + 30, head - 15, head + rng.normal(0, 10, head.shape)):
        assert find_air(image, 1.0, 0.0).level == 0
    ringing = head.copy()
    ringing[:, :2] -= 60  # undershoot in few voxels
    assert find_air(ringing, 1.0, 0.0).level == 0


def test_single_dark_voxels_are_not_air() -> None:
    head = noisy_head() + np.int16(500)
    head.flat[::5000] = -32768
    assert 500 <= find_air(head, 1.0, 0.0).level <= 502


def test_without_a_peak_of_dark_voxels_air_is_zero() -> None:
    air = find_air(np.random.default_rng(0).uniform(-3, 3, (30, 30, 30)), 1.0, 0.0)
    assert (air.level, air.has_peak, air.is_shifted) == (0.0, False, True)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1e36, "intensities up to .*e\\+.*, too large .*rescale it"),
        (1e-21, "intensities that differ by .*, too little to .*rescale"),
    ],
)
def test_huge_and_tiny_intensities_are_refused(factor: float, words: str, tmp_path: Path) -> None:
    path = tmp_path / "sub-1_T1w.nii"
    nib.Nifti1Image(noisy_head() * factor, np.eye(4)).to_filename(path)
    with pytest.raises(ImageError, match=rf"sub-1_T1w\.nii holds {words}"):
        read_scan(path)


def test_a_copy_with_other_voxels_finds_its_own_air(tmp_path: Path) -> None:
    scan = saved(tmp_path / "a.nii", "offset")
    assert scan.air.level > 490
    assert replace(scan, stored=scan.stored - np.int16(500)).air.level == 0


@pytest.mark.parametrize(("slope", "sign", "named"), [(np.nan, -1, "1"), (-1.0, 1, "-1")])
def test_a_head_that_is_darker_than_air_is_refused_by_name(slope: float, sign: int, named: str, tmp_path: Path) -> None:
    """Its contrast, or the scaling in its header, is inverted; a header that inverts an inverted copy is right."""
    path, head = tmp_path / "a.nii", noisy_head()
    raw_image(path, sign * head, slope=slope, inter=0.0, extension=False, affine=np.diag([4.0, 4.0, 4.0, 1.0]))
    with pytest.raises(ImageError) as caught:
        require_sound(read_scan(path))
    assert str(caught.value) == (
        f"{path}: the air around the head is brighter than the head, so that no skin can be found: invert its "
        f"intensities, or correct the scaling in its header (scl_slope is {named})."
    )
    filled = sign * head  # a neck in three corners, as small fields of view have it
    filled[:12, :12, :12] = filled[-12:, :12, :12] = filled[:12, -12:, :12] = sign * 400
    raw_image(path, filled, slope=slope, inter=0.0, extension=False, affine=np.diag([4.0, 4.0, 4.0, 1.0]))
    with pytest.raises(ImageError, match="is brighter than the head"):
        require_sound(read_scan(path))
    raw_image(path, -head, slope=-1.0, inter=0.0, extension=False, affine=np.diag([4.0, 4.0, 4.0, 1.0]))
    require_sound(read_scan(path))


def test_a_head_without_skin_is_refused_by_name(tmp_path: Path) -> None:
    """Also where nothing else is wrong with it."""
    names = ("original.nii.gz", "brain_mask.nii.gz", "alignment.json")
    paths = {name.split(".")[0]: str(tmp_path / name) for name in names}
    values = np.full((8, 8, 8), 0.01, dtype=np.float32)
    values[4, 4, 4] = 1
    nib.Nifti1Image(values, np.eye(4)).to_filename(paths["original"])
    nib.Nifti1Image((values > 0.5).astype(np.uint8), np.eye(4)).to_filename(paths["brain_mask"])
    Alignment(np.eye(4), np.eye(4)).to_json(Path(paths["alignment"]))
    with pytest.raises(ImageError) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "original_skin", lambda image: raise_skin_error())
        truth.Truth(**paths, version="x").run(cwd=str(tmp_path))
    assert str(caught.value).startswith(f"{paths['original']}: No skin. Check that the image shows a whole head")


def raise_skin_error() -> None:
    raise SkinError("No skin.")
