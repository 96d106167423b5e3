"""Tilted and turned heads: the pose by the whole head, the mask that is doubted, the brain found in a turned copy."""

from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from small_datasets import DATA, average_head

from bids_refacer.volumes import brain as brain_module
from bids_refacer.volumes.brain import extract_brain, find_brain, require_face
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.pose.brain_agreement import overlaps_upright, turned_degrees
from bids_refacer.volumes.pose.poses import likely_poses, upright
from bids_refacer.volumes.pose.upright import misoriented

HEAD = average_head().astype(np.float32)
TRUTH = np.asarray(nib.load(DATA / "average_brain_mask.nii.gz").dataobj) > 0
AFFINE = nib.load(DATA / "average_head.nii.gz").affine
MARKED = np.where(TRUTH, 150 + HEAD, np.minimum(HEAD, 120)).astype(np.float32)
"""A head whose brain any extractor finds by its brightness; such an extractor is fooled where a test wants it."""

UPSIDE_DOWN = np.diag([1.0, 1.0, -1.0, 1.0])


def tilt(degrees: float, axis: int) -> np.ndarray:
    angles = [0.0, 0.0, 0.0]
    angles[2 - axis] = np.radians(degrees)
    return nib.affines.from_matvec(nib.eulerangles.euler2mat(*angles), [10, -5, 20])


def extractor(good: Callable[[np.ndarray], bool]) -> Callable[..., np.ndarray]:
    """Stands in for the network: the brain in images that are `good`, brain and scalp and neck in others."""

    def extract(volume: Volume, num_threads: int | None) -> np.ndarray:
        values = volume.values
        brain = values > 135
        if good(values):
            return brain
        return ndimage.binary_dilation(brain, iterations=4) & (values > 10) | (
            (values > 60) & (np.indices(values.shape)[2] < 60)
        )

    return extract


def copied(values: np.ndarray) -> bool:
    return values.shape != MARKED.shape


@pytest.mark.slow
@pytest.mark.parametrize(("degrees", "axis"), [(35, 0), (-45, 0), (40, 1)])
def test_the_pose_of_a_tilted_head(degrees: float, axis: int) -> None:
    turned = tilt(degrees, axis) @ AFFINE
    best, *others = likely_poses(Volume(HEAD, turned), 3)
    left = np.linalg.inv(best.turn[:3, :3] @ tilt(degrees, axis)[:3, :3])
    assert np.degrees(np.arccos((np.trace(left) - 1) / 2)) < 25, "what is left once it is turned back"
    assert [best.agreement, *(other.agreement for other in others)] == sorted(
        [best.agreement, *(other.agreement for other in others)], reverse=True
    )
    copy = upright(Volume(HEAD, turned), best.turn)
    assert copy.values.shape[2] * copy.affine[2, 2] <= 251 and copy.values.max() > 0.9 * HEAD.max()


@pytest.mark.slow
def test_where_top_and_face_point() -> None:
    pose = misoriented(Volume(HEAD, UPSIDE_DOWN @ AFFINE))
    assert pose is not None and pose.degrees > 150
    assert pose.words == "the top of the head points to the bottom and the face to the front"
    assert misoriented(Volume(HEAD, AFFINE)) is None


def test_masks_that_agree_and_masks_that_do_not() -> None:
    assert overlaps_upright(Volume(TRUTH, AFFINE))
    assert overlaps_upright(Volume(TRUTH, tilt(20, 0) @ AFFINE))
    wrong = extractor(lambda _: False)(Volume(MARKED, AFFINE), None)
    assert not overlaps_upright(Volume(wrong, AFFINE))
    assert turned_degrees(Volume(HEAD, AFFINE), wrong) is None
    degrees = turned_degrees(Volume(HEAD, tilt(35, 0) @ AFFINE), TRUTH)
    assert degrees == pytest.approx(35, abs=3)


@pytest.mark.slow
def test_a_cut_brain_is_a_brain() -> None:
    """What a tool left that cut the front of the brain off."""
    cut = TRUTH.copy()
    cut[:, np.argwhere(TRUTH)[:, 1].max() - 25 :] = False
    assert turned_degrees(Volume(np.where(cut, HEAD, 0), AFFINE), cut) is not None


def test_a_mask_that_agrees_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_module, "_deepbet", extractor(lambda _: True))
    monkeypatch.setattr(brain_module, "turned_degrees", None)
    monkeypatch.setattr(brain_module, "turned_brain", None)
    found = find_brain(Volume(MARKED, AFFINE))
    np.testing.assert_array_equal(found.mask, MARKED > 135)
    assert found.degrees is None and found.details == {}


def test_a_tilted_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_module, "_deepbet", extractor(copied))
    found = find_brain(Volume(MARKED, tilt(40, 0) @ AFFINE))
    assert 2 * (found.mask & TRUTH).sum() > 0.95 * (found.mask.sum() + TRUTH.sum())
    assert found.degrees == pytest.approx(40, abs=3)
    assert found.details["TiltDegrees"] == round(found.degrees or 0)
    assert "tilted by 4" in str(found.details["Warnings"]) and "look at the brain mask" in str(
        found.details["Warnings"]
    )


def test_no_pose_that_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_module, "_deepbet", extractor(lambda _: False))
    monkeypatch.setattr(brain_module, "turned_brain", lambda *_: None)
    monkeypatch.setattr(brain_module, "BRAIN_ML", (500, 4000))
    words = r"^sub-7\.nii: the brain that was found, \d{4} mL, disagrees .*: turn the image upright, .* exclude it\.$"
    with pytest.raises(ImageError, match=words):
        extract_brain(Volume(MARKED, tilt(40, 0) @ AFFINE), name="sub-7.nii")


def test_a_header_that_stands_on_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_module, "_deepbet", extractor(copied))
    words = r"^sub-7\.nii: by its header, the top of the head points to the bottom and the face to the front, .*qform"
    with pytest.raises(ImageError, match=words):
        extract_brain(Volume(MARKED, UPSIDE_DOWN @ AFFINE), name="sub-7.nii")


@pytest.mark.slow
def test_no_face_because_the_header_stands_on_its_head() -> None:
    words = r"^sub-7\.nii: by its header, the top of the head points to the bottom and the face to the front, .*qform"
    with pytest.raises(ImageError, match=words):
        require_face(Volume(HEAD, UPSIDE_DOWN @ AFFINE), TRUTH, name="sub-7.nii")


@pytest.mark.slow
@pytest.mark.parametrize(("degrees", "axis"), [(-35, 0), (45, 1)])
def test_the_extractor_itself_on_a_tilted_head(degrees: float, axis: int) -> None:
    """Tilted voxels under a straight header: the extractor alone takes half of the head for brain."""
    copy = upright(Volume(HEAD, AFFINE), tilt(degrees, axis))
    values, frame = np.pad(copy.values, 12), copy.affine @ nib.affines.from_matvec(np.eye(3), [-12, -12, -12])
    found = find_brain(Volume(values, frame), num_threads=1)
    assert found.mask.sum() * frame[0, 0] ** 3 == pytest.approx(TRUTH.sum() * 8, rel=0.1)
    assert found.degrees == pytest.approx(abs(degrees), abs=6)
