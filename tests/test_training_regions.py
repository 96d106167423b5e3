"""Training heads on disk; unknown regions against the tools that they imitate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from training_heads import SHAPE, average_heads

from bids_refacer.training.heads import Head, load_head, save_head
from bids_refacer.training.regions import KINDS, draw_region, shear_region, template_region, zone_region
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.templates import asset

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


def test_a_head_in_the_frame_is_stored_within_a_grey_level(heads: list[Head]) -> None:
    values = asset("average_head.nii.gz")[0].astype(np.float32)
    scale = np.median(values[heads[0].brain])
    expected = np.clip(values / scale, 0, 2.5) / 1.25 - 1
    assert heads[0].seen.all()
    np.testing.assert_allclose(heads[0].values, expected, atol=1 / 255 + 1e-6)
    np.testing.assert_array_equal(heads[0].brain, asset("average_brain_mask.nii.gz")[0] > 0)


def test_a_cut_field_of_view_is_not_seen_and_holds_air(heads: list[Head]) -> None:
    head = heads[1]
    z = (CANONICAL[2].affine[2, 3] + 2 * np.arange(SHAPE[2]))[None, None]
    assert not head.seen[:, :, :20].any() and head.seen[8:-8, 1:-1, 21:-1].all()
    assert (head.values[~head.seen] == -1).all()
    assert z[0, 0, 20] == pytest.approx(-111.0)


def test_a_head_survives_the_disk(heads: list[Head], tmp_path: Path) -> None:
    save_head(heads[1], tmp_path)
    again = load_head(tmp_path / "narrow.npz")
    assert again.name == "narrow" and [p.name for p in tmp_path.iterdir()] == ["narrow.npz"]
    for name in ("stored", "seen", "brain"):
        np.testing.assert_array_equal(getattr(again, name), getattr(heads[1], name))
    np.testing.assert_array_equal(again.alignment.affine, heads[1].alignment.affine)


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_region_touches_the_brain(heads: list[Head], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bids_refacer.training.regions.KINDS", {kind: 1.0})
    for seed in range(3):
        region = draw_region(heads[0], np.random.default_rng(seed))
        assert region.shape == SHAPE and region.dtype == bool
        assert not (region & heads[0].brain).any()


def test_every_kind_of_region_is_drawn_as_often_as_it_says() -> None:
    assert sum(KINDS.values()) == pytest.approx(1)


def at(x: float, y: float, z: float) -> tuple[int, int, int]:
    return tuple(np.round((np.array([x, y, z]) - CANONICAL[2].affine[:3, 3]) / 2).astype(int))


def nose_tip(head: Head) -> tuple[int, int, int]:
    """Foremost tissue of the middle slices between the brows and the chin."""
    tissue = head.values[44:52, :, :] > -0.7
    k0 = at(0, 0, -80)[2]
    band = tissue[:, :, k0 : at(0, 0, 0)[2]]
    i, j, k = np.argwhere(band)[np.argwhere(band)[:, 1].argmax()]
    return 44 + i, j, k0 + k


@pytest.mark.parametrize("region_of", [template_region, zone_region, lambda head: shear_region(head.brain, 5)])
def test_what_tools_remove_holds_the_nose_and_not_the_crown_or_the_neck_behind(heads: list[Head], region_of) -> None:
    head = heads[0]
    region = region_of(head)
    assert region[nose_tip(head)], "the tip of the nose is removed"
    brain = np.argwhere(head.brain)
    top, back = brain[brain[:, 2].argmax()], brain[brain[:, 1].argmin()]
    assert not region[:, :, top[2] + 2 :][:, : top[1]].any(), "nothing above the crown"
    assert not region[:, : back[1], back[2]].any(), "nothing behind the head"
    assert 0.02 < (region & (head.values > -0.8)).sum() / (head.values > -0.8).sum() < 0.5


def test_a_skull_stripped_head_keeps_the_brain_alone(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bids_refacer.training.regions.KINDS", {"skullstrip": 1.0})
    brain = heads[0].brain
    for seed in range(3):
        kept = ~draw_region(heads[0], np.random.default_rng(seed))
        assert not (brain & ~kept).any()
        assert not (kept & ~ndimage.binary_dilation(brain, iterations=2)).any()


@pytest.mark.parametrize("buffer", [3, 6, 10])
def test_the_sheared_region_is_what_quickshear_removes(heads: list[Head], buffer: int) -> None:
    from quickshear import quickshear

    for head in heads:
        anatomy = nib.Nifti1Image(np.ones(SHAPE, np.uint8), CANONICAL[2].affine)
        mask = nib.Nifti1Image(head.brain.astype(np.uint8), CANONICAL[2].affine)
        truth = np.asarray(quickshear(anatomy, mask, buffer).dataobj) == 0
        got = shear_region(head.brain, buffer)
        dice = 2 * (got & truth).sum() / (got.sum() + truth.sum())
        assert 0.02 < truth.mean() < 0.6
        assert dice > 0.98
        away = ndimage.binary_dilation(truth, iterations=2) & ~ndimage.binary_erosion(
            truth, iterations=2, border_value=1
        )
        assert not ((got != truth) & ~away).any(), "they differ at most in the voxel that the plane cuts"


def test_a_jitter_moves_the_template_region_by_what_it_says(heads: list[Head]) -> None:
    shift = np.eye(4)
    shift[1, 3] = 10.0  # sampled 10 mm further forward: the cut moves 5 voxels back
    plain, moved = template_region(heads[0]), template_region(heads[0], shift)
    inner = np.s_[8:-8, 10:-15, 8:-8]
    np.testing.assert_array_equal(moved[inner], np.roll(plain, -5, axis=1)[inner])


def test_the_template_region_follows_the_heads_affine(heads: list[Head]) -> None:
    stretched = Alignment(np.eye(4), np.diag([1, 1, 1.1, 1]))
    plain, moved = template_region(heads[0]), template_region(replace(heads[0], alignment=stretched))
    assert moved.sum() != plain.sum()
    rigid = heads[0].alignment.rigid.copy()
    rigid[:3, 3] = [5, -9, 30]  # the pose of the scanner is in both maps and must cancel
    posed = Alignment(rigid, stretched.affine @ rigid)
    np.testing.assert_array_equal(template_region(replace(heads[0], alignment=posed)), moved)
