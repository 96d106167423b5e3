"""Unknown regions against the tools that they imitate."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from training_heads import FIELD_SHAPE, SHAPE, average_heads

from bids_refacer.training import regions
from bids_refacer.training.heads import Head
from bids_refacer.training.regions import (
    KINDS,
    draw_region,
    shear_region,
    skullstrip_region,
    template_region,
    zone_region,
)
from bids_refacer.volumes.grid import CANONICAL, Alignment, pool, resample
from bids_refacer.volumes.templates import asset, pydeface_keep_mask

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


def pooled(mask: np.ndarray) -> np.ndarray:
    """Share of a 2 mm mask in every voxel of 4 mm."""
    return pool(mask.astype(np.float32), np.ones(mask.shape, bool))[0]


def differ_by_a_voxel_at_most(region: np.ndarray, twin: np.ndarray) -> bool:
    """Whether two masks of 4 mm agree but for the voxels at their border."""
    around = np.ones((3, 3, 3))
    inner = ndimage.binary_erosion(twin, around, border_value=1)
    outer = ndimage.binary_dilation(twin, around)
    return 0.02 < twin.mean() < 0.98 and not (inner & ~region).any() and not (region & ~outer).any()


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_region_touches_the_brain(heads: list[Head], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "KINDS", {kind: 1.0})
    brain = pooled(heads[0].brain) > 0.3
    for seed in range(4):
        region = draw_region(heads[0], np.random.default_rng(seed))
        assert region.shape == FIELD_SHAPE and region.dtype == bool and region.any()
        assert not (region & brain).any()


def test_every_kind_of_region_is_drawn_as_often_as_it_says() -> None:
    assert sum(KINDS.values()) == pytest.approx(1)


@pytest.mark.parametrize("rim", [0.0, 1.0])
def test_the_rim_is_one_voxel(heads: list[Head], rim: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "KINDS", {"zone": 1.0})
    monkeypatch.setattr(regions, "RIM", rim)
    zone = zone_region(heads[0])
    wanted = ndimage.binary_dilation(zone) if rim else zone
    got = draw_region(heads[0], np.random.default_rng(0))
    np.testing.assert_array_equal(got, wanted & ~(pooled(heads[0].brain) > 0.3))


def at(x: float, y: float, z: float) -> tuple[int, int, int]:
    return tuple(np.round((np.array([x, y, z]) - CANONICAL[4].affine[:3, 3]) / 4).astype(int))


def nose_tip(head: Head) -> tuple[int, int, int]:
    """Foremost tissue of the middle slices between the brows and the chin, 4 mm grid."""
    tissue = pool(head.values, head.seen)[0][22:26] > -0.7
    k0 = at(0, 0, -80)[2]
    band = np.argwhere(tissue[:, :, k0 : at(0, 0, 0)[2]])
    i, j, k = band[band[:, 1].argmax()]
    return 22 + i, j, k0 + k


@pytest.mark.parametrize("region_of", [template_region, zone_region, lambda head: shear_region(head.brain, 5)])
def test_what_tools_remove_holds_the_nose_and_not_the_crown_or_the_neck_behind(heads: list[Head], region_of) -> None:
    head = heads[0]
    region, values = region_of(head), pool(head.values, head.seen)[0]
    assert region[nose_tip(head)], "the tip of the nose is removed"
    brain = np.argwhere(pooled(head.brain) > 0.5)
    top, back = brain[brain[:, 2].argmax()], brain[brain[:, 1].argmin()]
    assert not region[:, :, top[2] + 2 :][:, : top[1]].any(), "nothing above the crown"
    assert not region[:, : back[1], back[2]].any(), "nothing behind the head"
    assert 0.02 < (region & (values > -0.8)).sum() / (values > -0.8).sum() < 0.5


@pytest.mark.parametrize("margin", [0, 1])
def test_a_skull_stripped_head_keeps_the_brain_alone(heads: list[Head], margin: int) -> None:
    kept, brain = ~skullstrip_region(heads[0], margin), pooled(heads[0].brain) > 0.3
    np.testing.assert_array_equal(kept, ndimage.binary_dilation(brain) if margin else brain)


@pytest.mark.parametrize("buffer", [3, 6, 10])
def test_the_sheared_region_is_what_quickshear_removes(heads: list[Head], buffer: int) -> None:
    from quickshear import quickshear

    for head in heads:
        anatomy = nib.Nifti1Image(np.ones(SHAPE, np.uint8), CANONICAL[2].affine)
        mask = nib.Nifti1Image(head.brain.astype(np.uint8), CANONICAL[2].affine)
        truth = pooled(np.asarray(quickshear(anatomy, mask, buffer).dataobj) == 0) > 0
        got = shear_region(head.brain, buffer)
        assert got.shape == FIELD_SHAPE
        assert 2 * (got & truth).sum() / (got.sum() + truth.sum()) > 0.97
        assert differ_by_a_voxel_at_most(got, truth), "the plane cuts voxels"


def test_regions_of_templates_are_their_2_mm_twins_pooled(heads: list[Head]) -> None:
    """On a head whose affine is not that of the canonical frame; both ways round are given the same affine."""
    stretched = Alignment(np.eye(4), np.diag([1.05, 0.96, 1.08, 1]))
    head = replace(heads[0], alignment=stretched)
    keep, keep_affine = pydeface_keep_mask()
    twin = resample(keep, keep_affine, CANONICAL[2], stretched.affine, order=1, cval=1.0) < 0.5
    assert differ_by_a_voxel_at_most(template_region(head), pooled(twin) > 0.5)
    zone, zone_affine = asset("face_zone.nii.gz")
    twin = resample(zone.astype(np.float32), zone_affine, CANONICAL[2], stretched.affine, order=1) > 0.5
    assert differ_by_a_voxel_at_most(zone_region(head), pooled(twin) > 0.5)
    assert not differ_by_a_voxel_at_most(zone_region(heads[0]), pooled(twin) > 0.5), "two voxels would be seen"


def test_a_jitter_moves_the_template_region_by_what_it_says(heads: list[Head]) -> None:
    shift = np.eye(4)
    shift[1, 3] = 12.0  # sampled 12 mm further forward: the cut moves 3 voxels back
    plain, moved = template_region(heads[0]), template_region(heads[0], shift)
    inner = np.s_[4:-4, 5:-8, 4:-4]
    np.testing.assert_array_equal(moved[inner], np.roll(plain, -3, axis=1)[inner])


def test_the_template_region_follows_the_heads_affine(heads: list[Head]) -> None:
    stretched = Alignment(np.eye(4), np.diag([1, 1, 1.1, 1]))
    plain, moved = template_region(heads[0]), template_region(replace(heads[0], alignment=stretched))
    assert moved.sum() != plain.sum()
    rigid = heads[0].alignment.rigid.copy()
    rigid[:3, 3] = [5, -9, 30]  # the pose of the scanner is in both maps and must cancel
    posed = Alignment(rigid, stretched.affine @ rigid)
    np.testing.assert_array_equal(template_region(replace(heads[0], alignment=posed)), moved)
