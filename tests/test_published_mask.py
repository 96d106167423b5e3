"""Published masks of programs do not draw the face that is gone: planted noses, air that is exactly zero."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import raw_image

from bids_refacer.defacers import DefaceResult
from bids_refacer.defacers.changed_region import removed_region, replaced_region
from bids_refacer.defacers.published_mask import with_published_mask
from bids_refacer.defacers.tool import replace_region, zero_region
from bids_refacer.defacers.tools_file import make_tool
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan

STILL = Alignment(np.eye(4), np.eye(4))
SPACING, SIZE = 4.0, 60
AFFINE = np.diag([SPACING, SPACING, SPACING, 1.0])
AFFINE[:3, 3] = -SPACING * (SIZE - 1) / 2


def places() -> tuple[np.ndarray, ...]:
    return tuple(np.moveaxis(nib.affines.apply_affine(AFFINE, np.moveaxis(np.indices((SIZE,) * 3), 0, -1)), -1, 0))


def head_with(nose_mm: float, *, wide_mm: float = 16.0, chin_mm: float = 0.0) -> np.ndarray:
    """A head of one ellipsoid in air that is exactly 0, with a nose and a chin that stick out so far."""
    x, y, z = places()
    head = (x / 74) ** 2 + (y / 88) ** 2 + (z / 92) ** 2 <= 1
    head |= (np.abs(x) < wide_mm) & (y > 40) & (y < 80 + nose_mm) & (z > -45) & (z < -15)
    head |= (np.abs(x) < 20) & (y > 20) & (y < 60 + chin_mm) & (z > -80 - chin_mm) & (z < -50)
    return np.where(head, 400 + 60 * np.sin(x / 9) + 30 * np.cos(z / 7), 0).astype("<i2")


def brain() -> np.ndarray:
    x, y, z = places()
    return (x / 55) ** 2 + (y / 65) ** 2 + ((z - 15) / 55) ** 2 <= 1


def scan_of(stored: np.ndarray, folder: Path, air: str = "zero") -> Scan:
    """An image; its air may be far from zero by its voxels or by the header."""
    scaling = {"slope": 1.0, "inter": -1024.0} if air == "intercept" else {}
    moved = (stored + 500).astype(stored.dtype) if air == "offset" else stored
    raw_image(folder / "sub-01_T1w.nii.gz", moved, affine=AFFINE, **scaling)
    return read_scan(folder / "sub-01_T1w.nii.gz")


def zone() -> np.ndarray:
    _, y, z = places()
    return (y > 38) & (z < -8)


def refaced(scan: Scan) -> DefaceResult:
    """A program that puts a receding face there: no nose, a flat chin, its own intensities."""
    x, y, z = places()
    face = (x / 66) ** 2 + (y / 76) ** 2 + (z / 86) ** 2 <= 1
    output = np.where(zone(), np.where(face, 333 + 0.5 * x, 0), scan.values).astype(float)
    region, _ = replaced_region(scan, output, "newface")
    return replace_region(scan, region, output, brain(), {})


def cut(scan: Scan) -> DefaceResult:
    """A program that removes and leaves no mask of its own."""
    output = np.where(zone(), 0, scan.values).astype(float)
    region, _ = removed_region(scan, output)
    return zero_region(scan, region, brain(), {})


FACES = {"flat": (0.0, 16.0, 0.0), "nose": (28.0, 16.0, 0.0), "wide": (20.0, 34.0, 0.0), "chin": (12.0, 16.0, 16.0)}


@pytest.mark.parametrize("air", ["zero", "offset", "intercept"])
@pytest.mark.parametrize(("program", "replaces"), [(refaced, True), (cut, False)])
def test_originals_that_differ_in_their_face_have_one_mask(program, replaces: bool, air: str, tmp_path: Path) -> None:
    masks, regions = {}, {}
    for name, (nose, wide, chin) in FACES.items():
        scan = scan_of(head_with(nose, wide_mm=wide, chin_mm=chin), tmp_path, air)
        result = with_published_mask(scan, program(scan), replaces=replaces)
        masks[name], regions[name] = result.mask, result.removed
        changed = result.stored != scan.stored
        assert changed.any() and not (changed & ~result.mask).any(), "the mask has every changed voxel"
        np.testing.assert_array_equal(result.stored[~result.mask], scan.stored[~result.mask])
    assert (regions["flat"] != regions["nose"]).any(), "the test can fail: the region itself draws the face"
    for name, mask in masks.items():
        assert np.array_equal(mask, masks["flat"]), name
    kept_head = (head_with(0) > 0) & ~zone()
    assert not (masks["flat"] & kept_head).sum() > 0.02 * kept_head.sum(), "and it does not swallow the head"


def test_noise_in_air_leaves_the_mask_of_the_program(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stored = head_with(28.0)
    stored[stored == 0] = rng.integers(1, 12, int((stored == 0).sum()))
    scan = scan_of(stored, tmp_path)
    result = with_published_mask(scan, cut(scan), replaces=False)
    np.testing.assert_array_equal(result.mask, result.removed)


PROGRAM = """#!{python}
import sys, nibabel as nib, numpy as np
image = nib.load(sys.argv[1])
x, y, z = np.moveaxis(nib.affines.apply_affine(image.affine, np.moveaxis(np.indices(image.shape), 0, -1)), -1, 0)
new = np.where((x / 66) ** 2 + (y / 76) ** 2 + (z / 86) ** 2 <= 1, 333 + 0.5 * x, 0)
values = np.where((y > 38) & (z < -8), new, image.get_fdata())
nib.Nifti1Image(values.astype(np.float32), image.affine).to_filename(sys.argv[2])
"""


def test_a_program_of_the_tools_file_publishes_such_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "newface").write_text(PROGRAM.format(python=sys.executable))
    (tmp_path / "newface").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tool = make_tool("newface", {"command": "newface {input} {output}", "action": "replaces"})
    masks = []
    for nose in (0.0, 28.0):
        folder = tmp_path / f"nose-{nose}"
        folder.mkdir()
        masks.append(tool.run(scan_of(head_with(nose), folder), brain(), STILL, folder).mask)
    np.testing.assert_array_equal(*masks)
