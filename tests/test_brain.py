"""The brain extractor on the average head: whole, defaced, stripped, turned, at 1 mm, and on what is no head."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_refacer.defacers import DEFACERS
from bids_refacer.volumes.brain import extract_brain, image_kind, require_face
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def head(average_head_path: Path) -> tuple[np.ndarray, np.ndarray]:
    scan = read_scan(average_head_path)
    return scan.values, scan.affine


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    image = nib.load(str(files("bids_refacer") / "data" / "average_brain_mask.nii.gz"))
    return np.asarray(image.dataobj) > 0


@pytest.fixture(scope="module")
def whole(head: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return extract_brain(Volume(*head), num_threads=1)


def test_whole_head(whole: np.ndarray, truth: np.ndarray) -> None:
    assert whole.dtype == bool
    assert dice(whole, truth) > 0.93


def test_defaced_head_has_the_same_brain(head: tuple[np.ndarray, np.ndarray], whole: np.ndarray) -> None:
    values, affine = head
    x, y, z = np.indices(values.shape)
    front = y > np.argwhere(whole)[:, 1].max() - 8
    low = z < np.argwhere(whole)[:, 2].min() + 12
    defaced = np.where(front & low & ~whole, 0, values)
    assert (defaced != values).sum() > 30000
    assert dice(extract_brain(Volume(defaced, affine)), whole) > 0.98


@pytest.mark.parametrize("outside", [0.0, -50.0])
def test_stripped_head_has_the_same_brain(
    head: tuple[np.ndarray, np.ndarray], whole: np.ndarray, outside: float
) -> None:
    values, affine = head
    assert dice(extract_brain(Volume(np.where(whole, values, outside), affine)), whole) > 0.95


def test_any_orientation(head: tuple[np.ndarray, np.ndarray], whole: np.ndarray) -> None:
    values, affine = head
    turned = np.transpose(values[::-1], (2, 0, 1))
    turned_affine = affine[:, [2, 0, 1, 3]] @ np.diag([1, -1, 1, 1])
    turned_affine[:3, 3] += affine[:3, 0] * (values.shape[0] - 1)
    mask = extract_brain(Volume(turned, turned_affine))
    assert dice(mask, np.transpose(whole[::-1], (2, 0, 1))) > 0.999


def test_one_millimetre(head: tuple[np.ndarray, np.ndarray], whole: np.ndarray) -> None:
    values, affine = head
    fine = ndimage.zoom(values, 2, order=1, grid_mode=True, mode="nearest")
    mask = extract_brain(Volume(fine, affine @ np.diag([0.5, 0.5, 0.5, 1])))
    assert dice(mask, np.kron(whole, np.ones((2, 2, 2), dtype=bool))) > 0.97


def test_noise_holds_no_brain() -> None:
    noise = np.random.default_rng(0).random((64, 64, 64)).astype(np.float32)
    with pytest.raises(ImageError, match=r"sub-7_T1w\.nii\.gz: no brain found .*like its surroundings.*exclude it\.$"):
        extract_brain(Volume(noise, np.diag([3.0, 3.0, 3.0, 1.0])), name="sub-7_T1w.nii.gz")


def test_wrong_voxel_size_is_no_brain(head: tuple[np.ndarray, np.ndarray]) -> None:
    values, affine = head
    with pytest.raises(ImageError, match=r"no brain found \(the extractor marked a region of \d+ mL\)"):
        extract_brain(Volume(values, affine @ np.diag([0.5, 0.5, 0.5, 1])))


@pytest.mark.parametrize(
    "failure", [AssertionError("Not enough foreground"), ValueError("argmax of an empty sequence")]
)
def test_the_extractors_own_failures_are_no_brain(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    import deepbet

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(deepbet.BrainExtraction, "run", fail)
    with pytest.raises(ImageError, match="The image: no brain found .*marked nothing"):
        extract_brain(Volume(np.zeros((8, 8, 8), dtype=np.float32), np.eye(4)))


def test_threads_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import deepbet

    before, during = torch.get_num_threads(), []
    ball = np.linalg.norm(np.indices((80, 80, 80)) - 40, axis=0) < 36

    def spy(self: object, image: nib.Nifti1Image) -> tuple[None, nib.Nifti1Image, float]:
        during.append(torch.get_num_threads())
        return None, nib.Nifti1Image(ball.astype(np.uint8), np.eye(4)), 0.0

    monkeypatch.setattr(deepbet.BrainExtraction, "run", spy)
    mask = extract_brain(Volume(ball * 1.0, np.diag([2.0, 2.0, 2.0, 1])), num_threads=before + 1)
    np.testing.assert_array_equal(mask, ball)
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def without_front(values: np.ndarray, first: int) -> np.ndarray:
    cut = values.copy()
    cut[:, first:, :] = 0
    return cut


STILL = Alignment(np.eye(4), np.eye(4))


def test_a_head_has_a_face(head: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> None:
    assert image_kind(Volume(*head), truth, STILL) == "head"
    require_face(Volume(*head), truth, STILL)


def test_a_head_has_a_face_wherever_it_lies(head: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> None:
    """Turned by 0.3 rad, moved, a tenth smaller, voxel axes flipped: the alignment is found from the brain."""
    values, affine = head
    moved = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.05, 0.3) * 0.9, [30, -20, 15]) @ affine
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = values.shape[0] - 1
    assert image_kind(Volume(values[::-1], moved @ flip), truth[::-1]) == "head"
    assert image_kind(Volume(without_front(values, 88)[::-1], moved @ flip), truth[::-1]) == "no face"


def test_a_head_without_a_face_is_refused(head: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> None:
    values, affine = head
    faceless = without_front(values, 100)  # y = 89 mm
    assert image_kind(Volume(faceless, affine), truth, STILL) == "no face"
    with pytest.raises(ImageError, match=r"^sub-7\.nii has no face .* nothing to deface; .*exclude this one\.$"):
        require_face(Volume(faceless, affine), truth, STILL, name="sub-7.nii")


def test_a_field_of_view_that_ends_before_the_nose_has_no_face(
    head: tuple[np.ndarray, np.ndarray], truth: np.ndarray
) -> None:
    values, affine = head
    assert image_kind(Volume(values[:, :100], affine), truth[:, :100], STILL) == "no face"


@pytest.mark.parametrize("outside", [0.0, -50.0])
def test_a_brain_alone_is_refused(head: tuple[np.ndarray, np.ndarray], truth: np.ndarray, outside: float) -> None:
    values, affine = head
    stripped = np.where(truth, values, outside)
    assert image_kind(Volume(stripped, affine), truth) == "brain-only"
    with pytest.raises(ImageError, match=r"^The image is already skull-stripped: .* nothing to deface; .*one\.$"):
        require_face(Volume(stripped, affine), truth)


@pytest.mark.parametrize("tool", ["quickshear", "skullstrip"])
def test_what_a_defacer_leaves_is_refused(
    head: tuple[np.ndarray, np.ndarray], truth: np.ndarray, average_head_path: Path, tool: str, tmp_path: Path
) -> None:
    scan = read_scan(average_head_path)
    stored = DEFACERS[tool].run(scan, truth, STILL, tmp_path).stored
    expected = {"quickshear": "no face", "skullstrip": "brain-only"}[tool]
    assert image_kind(Volume(stored.astype(np.float32), scan.affine), truth, STILL) == expected


@pytest.mark.real_head
def test_real_head(real_head: Path) -> None:
    scan = read_scan(real_head)
    mask = extract_brain(scan.volume, name=real_head)
    assert 1000 < mask.sum() * abs(np.linalg.det(scan.affine[:3, :3])) / 1000 < 2000
    assert image_kind(scan.volume, mask) == "head"
