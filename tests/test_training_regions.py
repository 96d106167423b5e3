"""Unknown regions against the tools that they imitate."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from training_heads import SHAPE, average_heads

from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.regions import (
    KINDS,
    draw_region,
    shear_region,
    skullstrip_region,
    template_region,
    zone_region,
)
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.templates import asset

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


def differ_by_a_voxel_at_most(region: np.ndarray, twin: np.ndarray) -> bool:
    """Whether two masks agree but for the voxels at their border."""
    around = np.ones((3, 3, 3))
    inner = ndimage.binary_erosion(twin, around, border_value=1)
    outer = ndimage.binary_dilation(twin, around)
    return 0.02 < twin.mean() < 0.98 and not (inner & ~region).any() and not (region & ~outer).any()


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_region_touches_the_brain(heads: list[Head], kind: str) -> None:
    for seed in range(4):
        region = draw_region(heads[0], np.random.default_rng(seed), {kind: 1.0})
        assert region.shape == SHAPE and region.dtype == bool and region.any()
        assert not (region & heads[0].brain).any()


def test_only_the_kinds_that_are_given_are_drawn(heads: list[Head]) -> None:
    drawn = draw_region(heads[0], np.random.default_rng(0), {"skullstrip": 1.0})
    assert any(np.array_equal(drawn, skullstrip_region(heads[0], margin)) for margin in (0, 1))


def test_every_kind_of_region_is_drawn_as_often_as_it_says() -> None:
    assert sum(KINDS.values()) == pytest.approx(1)


def at(x: float, y: float, z: float) -> tuple[int, int, int]:
    return tuple(np.round((np.array([x, y, z]) - CANONICAL[2].affine[:3, 3]) / 2).astype(int))


def nose_tip(head: Head) -> tuple[int, int, int]:
    """Foremost tissue of the middle slices between the brows and the chin."""
    tissue = head.values[44:52] > -0.7
    k0 = at(0, 0, -80)[2]
    band = np.argwhere(tissue[:, :, k0 : at(0, 0, 0)[2]])
    i, j, k = band[band[:, 1].argmax()]
    return 44 + i, j, k0 + k


@pytest.mark.parametrize("region_of", [template_region, zone_region, lambda head: shear_region(head.brain, 5)])
def test_what_tools_remove_holds_the_nose_and_not_the_crown_or_the_neck_behind(heads: list[Head], region_of) -> None:
    head = heads[0]
    region, values = region_of(head), head.values
    assert region[nose_tip(head)], "the tip of the nose is removed"
    brain = np.argwhere(head.brain)
    top, back = brain[brain[:, 2].argmax()], brain[brain[:, 1].argmin()]
    assert not region[:, :, top[2] + 4 :][:, : top[1]].any(), "nothing above the crown"
    assert not region[:, : back[1], back[2]].any(), "nothing behind the head"
    assert 0.02 < (region & (values > -0.8)).sum() / (values > -0.8).sum() < 0.5


@pytest.mark.parametrize("margin", [0, 1])
def test_a_skull_stripped_head_keeps_the_brain_alone(heads: list[Head], margin: int) -> None:
    brain = heads[0].brain
    np.testing.assert_array_equal(
        ~skullstrip_region(heads[0], margin), ndimage.binary_dilation(brain) if margin else brain
    )


@pytest.mark.parametrize("buffer", [3, 6, 10])
def test_the_sheared_region_is_what_quickshear_removes(heads: list[Head], buffer: int) -> None:
    from quickshear import quickshear

    for head in heads:
        anatomy = nib.Nifti1Image(np.ones(SHAPE, np.uint8), CANONICAL[2].affine)
        mask = nib.Nifti1Image(head.brain.astype(np.uint8), CANONICAL[2].affine)
        truth = np.asarray(quickshear(anatomy, mask, buffer).dataobj) == 0
        got = shear_region(head.brain, buffer)
        assert got.shape == SHAPE
        assert 2 * (got & truth).sum() / (got.sum() + truth.sum()) > 0.98
        assert differ_by_a_voxel_at_most(got, truth), "the plane cuts voxels"


def test_regions_of_templates_follow_the_heads_affine_as_an_attack_carries_them(heads: list[Head]) -> None:
    stretched = Alignment(np.eye(4), np.diag([1.05, 0.96, 1.08, 1]))
    head = replace(heads[0], alignment=stretched)
    zone = asset("face_zone.nii.gz").values
    twin = stretched.average_to_native(zone.astype(np.float32), 2, CANONICAL[2]) > 0.5
    assert differ_by_a_voxel_at_most(zone_region(head), twin)
    assert not differ_by_a_voxel_at_most(zone_region(heads[0]), twin), "another head's would be seen"


def test_a_jitter_moves_the_template_region_by_what_it_says(heads: list[Head]) -> None:
    shift = np.eye(4)
    shift[1, 3] = 12.0  # sampled 12 mm further forward: the cut moves 6 voxels back
    plain, moved = template_region(heads[0]), template_region(heads[0], shift)
    inner = np.s_[8:-8, 10:-16, 8:-8]
    np.testing.assert_array_equal(moved[inner], np.roll(plain, -6, axis=1)[inner])


def test_the_template_region_follows_the_heads_affine(heads: list[Head]) -> None:
    stretched = Alignment(np.eye(4), np.diag([1, 1, 1.1, 1]))
    plain, moved = template_region(heads[0]), template_region(replace(heads[0], alignment=stretched))
    assert moved.sum() != plain.sum()
    rigid = heads[0].alignment.rigid.copy()
    rigid[:3, 3] = [5, -9, 30]  # the pose of the scanner is in both maps and must cancel
    posed = Alignment(rigid, stretched.affine @ rigid)
    np.testing.assert_array_equal(template_region(replace(heads[0], alignment=posed)), moved)
