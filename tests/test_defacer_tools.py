"""What is particular to single tools: templates, planes, the average face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from defaced_head import STILL, DefacedHead
from nifti_files import raw_image
from scipy import ndimage
from synthetic_heads import synthetic_head

from bids_refacer.defacers import DEFACERS, DefacerError
from bids_refacer.defacers.tools.niimath import write_reface_template
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.scan import Scan, to_stored
from bids_refacer.volumes.seam import seam_correction


def test_niimath_is_obeyed_where_it_can_be_seen(case: DefacedHead) -> None:
    details = case.result("niimath").details
    assert details["MaskAgreement"] > 0.999
    assert "-deface" in details["Command"]
    output = np.asarray(nib.load(case.folder / "niimath" / "defaced.nii").dataobj)
    visible = case.scan.values != 0
    np.testing.assert_array_equal(case.result("niimath").removed[visible], output[visible] == 0)


def test_the_shell_is_a_face_with_air_around_it(tmp_path: Path) -> None:
    """Minus one says "zero" to niimath; as an unsigned byte it would be the brightest tissue of all."""
    write_reface_template(tmp_path)
    shell, template, weight = (
        nib.load(tmp_path / f"{name}.nii").get_fdata() for name in ("shell", "template", "weight")
    )
    assert shell.min() == -1 and shell.max() <= template.max() and (weight[shell != 0] == 0).all()
    assert (shell[shell > 0] == template[shell > 0]).all() and (shell < 0).sum() > 1000


@pytest.mark.parametrize("tool", ["niimath-reface"])
def test_the_air_in_front_of_the_new_face_is_dark(case: DefacedHead, tool: str) -> None:
    values = case.result(tool).stored * 0.5 - 25.0
    assert values[case.at(0, 122, -50)] < 10 and values.max() <= case.scan.values.max() * 1.6


def test_pydeface_names_its_engine(case: DefacedHead) -> None:
    registration = case.result("pydeface").details["Registration"]
    assert registration.startswith("niimath") and "in the place of FSL FLIRT, which is not installed" in registration


def test_pydeface_reaches_the_chin(case: DefacedHead) -> None:
    """As shipped, the face mask ends above it."""
    head = case.scan.values > 20
    chin = [voxel for voxel in (case.at(0, y, -120) for y in np.arange(0, 120, 2.0)) if head[voxel]][-1]
    assert case.result("pydeface").removed[chin]


@pytest.mark.parametrize("number", [1, 7])
def test_pydeface_and_niimath_find_the_eyes_of_whole_heads(number: int, tmp_path: Path) -> None:
    """On both of these synthetic heads niimath finds a wrong fit when the head, not the template, is its base."""
    head = synthetic_head(number)
    raw_image(tmp_path / "sub-01_T1w.nii", head.image, affine=head.affine)
    scan, removed = read_scan(tmp_path / "sub-01_T1w.nii"), {}
    for tool in ("pydeface", "niimath"):
        (tmp_path / tool).mkdir()
        removed[tool] = DEFACERS[tool].run(scan, head.brain, STILL, tmp_path / tool).removed
        assert not removed[tool][head.brain].any(), tool
    grid = CANONICAL[4]
    to_voxel = np.linalg.inv(head.drawn.session.to_canonical @ head.affine)
    for side in (0, 1):
        half = head.model.eyes * ((np.indices(grid.shape)[0] < grid.shape[0] // 2) == bool(side))
        eye = np.array(ndimage.center_of_mass(half))
        moved = [ndimage.map_coordinates(u, eye[:, None], order=1)[0] for u in head.drawn.anatomy.displacement]
        voxel = tuple(np.rint(nib.affines.apply_affine(to_voxel, eye * 4 + grid.affine[:3, 3] + moved)).astype(int))
        assert {tool: mask[voxel] for tool, mask in removed.items()} == {"pydeface": True, "niimath": True}, side


def test_quickshear_does_not_depend_on_the_orientation(case: DefacedHead) -> None:
    stored, brain = (np.transpose(a, (2, 0, 1))[::-1] for a in (case.scan.stored, case.brain))
    last = case.scan.stored.shape[2] - 1
    affine = case.scan.affine @ np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, last], [0, 0, 0, 1.0]])
    turned = Scan(path=case.scan.path, stored=stored, slope=0.5, inter=-25.0, affine=affine, header=case.scan.header)
    result = DEFACERS["quickshear"].run(turned, brain, STILL, case.folder)
    np.testing.assert_array_equal(result.removed, np.transpose(case.result("quickshear").removed, (2, 0, 1))[::-1])


def test_quickshear_is_the_package_itself(case: DefacedHead) -> None:
    from quickshear import quickshear

    brain = nib.Nifti1Image(case.brain.astype(np.uint8), case.scan.affine)
    image = nib.Nifti1Image(case.scan.values, case.scan.affine)
    expected = quickshear(image, brain, 10).get_fdata(dtype=np.float32)
    result = case.result("quickshear")
    np.testing.assert_array_equal(result.stored * np.float32(0.5) - 25, expected)


def test_skullstrip_keeps_the_brain_mask(case: DefacedHead) -> None:
    np.testing.assert_array_equal(case.result("skullstrip").removed, ~case.brain)


def test_quickshear_without_a_plane_is_a_sentence(case: DefacedHead) -> None:
    empty = np.zeros_like(case.brain)
    with pytest.raises(DefacerError, match="sub-01_T1w.nii.gz: quickshear found no plane .*check the mask"):
        DEFACERS["quickshear"].run(case.scan, empty, STILL, case.folder)


def test_the_average_face_owes_nothing_to_the_face_it_replaces(case: DefacedHead) -> None:
    """Other voxels in the zone, the same output bit for bit."""
    first = case.result("average")
    stored = case.scan.stored.copy()
    stored[first.removed] = np.random.default_rng(0).integers(50, 600, int(first.removed.sum()))
    other = DEFACERS["average"].run(replace(case.scan, stored=stored), case.brain, STILL, case.folder)
    np.testing.assert_array_equal(other.removed, first.removed)
    np.testing.assert_array_equal(other.stored, first.stored)


def test_the_average_of_a_louder_average_head_is_itself(case: DefacedHead, average_head_path: Path) -> None:
    """Twice as bright, the average head gets its own face back, twice as bright."""
    loud = replace(case.scan, slope=1.0, inter=-50.0)
    result = DEFACERS["average"].run(loud, case.brain, STILL, case.folder)
    expected = loud.values[result.removed]
    painted = result.stored[result.removed] - 50.0
    tissue = expected > 40
    assert np.abs(painted - expected)[tissue].mean() < 0.03 * expected[tissue].mean()


def test_no_seam_is_left(case: DefacedHead) -> None:
    """A head a third brighter around its face than the brain tells: values at the border follow the head."""
    values = np.where(case.brain, case.scan.values, case.scan.values * 1.33)
    bright = replace(case.scan, stored=to_stored(case.scan, values))
    zone = DEFACERS["average"].run(bright, case.brain, STILL, case.folder)
    inner = zone.removed & ~ndimage.binary_erosion(zone.removed) & (values > 60)
    painted = zone.stored * 0.5 - 25.0
    assert np.median(painted[inner] / values[inner]) == pytest.approx(1.0, abs=0.06)


def test_seam_correction_of_a_constant_offset_fades_with_depth() -> None:
    zone = np.zeros((60, 9, 9), dtype=bool)
    zone[30:] = True
    correction = seam_correction(np.where(zone, 1e6, 5.0), zone, np.ones(3))
    np.testing.assert_array_equal(correction[:30], 0)
    depths = np.arange(1, 8)
    np.testing.assert_allclose(correction[30:37, 4, 4], 5 * np.exp(-((depths / 8.0) ** 2)), rtol=1e-3)


def test_a_face_outside_the_image_cannot_be_replaced(case: DefacedHead) -> None:
    away = Alignment(np.eye(4), nib.affines.from_matvec(np.eye(3), [0, -400, 0]))
    with pytest.raises(DefacerError, match=r"sub-01_T1w.nii.gz: the face lies outside the field of view, .*out\.$"):
        DEFACERS["average"].run(case.scan, case.brain, away, case.folder)


def test_the_average_face_is_stored_in_the_byte_order_of_the_image(case: DefacedHead) -> None:
    big_endian = replace(case.scan, stored=case.scan.stored.astype(">i2"))
    result = DEFACERS["average"].run(big_endian, case.brain, STILL, case.folder)
    assert result.stored.dtype == np.dtype(">i2")
    np.testing.assert_array_equal(result.stored, case.result("average").stored)
