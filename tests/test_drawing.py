"""Heads drawn by a warped template, on balls whose surfaces are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bids_refacer.refacing.defaced_head import DefacedHead
from bids_refacer.refacing.drawing.displacement import LEAST_VOLUME, at_world, finer, unfolded, volume_change
from bids_refacer.refacing.drawing.head import HeadDrawing
from bids_refacer.refacing.drawing.paint import OUTSIDE_MM, painted, tissue_gain
from bids_refacer.refacing.drawing.template import Template, face_template, stored
from bids_refacer.refacing.drawing.warp import Target, fitted, met, target_of
from bids_refacer.refacing.fields import SKIN_UNIT_MM, Fields, skin_field
from bids_refacer.refacing.unknown import Level
from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid

STILL = Alignment(np.eye(4), np.eye(4))
CENTRE = np.array([0.0, 20.0, -30.0])
FIELD_SHAPE = CANONICAL[4].shape
NOWHERE = np.zeros((3, *FIELD_SHAPE), np.float32)


def world(spacing: int) -> np.ndarray:
    """(i, j, k, 3) mm of the voxels of a canonical grid."""
    grid = CANONICAL[spacing]
    return np.moveaxis(np.indices(grid.shape, dtype=np.float32), 0, -1) * spacing + grid.affine[:3, 3].astype(
        np.float32
    )


def distance(spacing: int, radius: float) -> np.ndarray:
    return np.linalg.norm(world(spacing) - CENTRE, axis=-1) - radius


def ball(spacing: int, radius: float, tissue: float = 0.4) -> np.ndarray:
    """A ball of tissue, 0 to 1, with partial volume at its skin."""
    return (tissue * np.clip(0.5 - distance(spacing, radius) / spacing, 0, 1)).astype(np.float32)


@cache
def template() -> Template:
    return Template(ball(1, 60.0), distance(4, 60.0).astype(np.float32))


def fields_of(radius: float, tissue: float = 0.4) -> Fields:
    return Fields(skin_field(distance(4, radius)), np.full(FIELD_SHAPE, 2 * tissue - 1, np.float32))


@cache
def cut(radius: float, tissue: float = 0.4) -> DefacedHead:
    """A ball whose front is removed, with fields that know it."""
    values = 2 * ball(2, radius, tissue) - 1
    unknown = world(2)[..., 1] > 40
    return DefacedHead(Level(np.where(unknown, -1, values), ~unknown, unknown, 2), fields_of(radius, tissue))


def skin_error(displacement: np.ndarray, radius: float, where: np.ndarray) -> np.ndarray:
    """mm: how far the warped template's skin lies from that of a ball, at voxels of 4 mm."""
    places = (world(4) + np.moveaxis(displacement, 0, -1))[where].T
    found = at_world(template().fields.skin[None], 4, places)[0] * SKIN_UNIT_MM
    return np.asarray(np.abs(found - distance(4, radius)[where]))


def test_the_warped_skin_is_that_of_the_fields_and_does_not_fold() -> None:
    head = cut(66.0)
    target = target_of(head, head.fields)
    near = target.near & head.level.at(4).unknown & (np.abs(distance(4, 66.0)) < 4)
    assert skin_error(NOWHERE, 66.0, near).mean() > 5.5
    displacement = fitted(template(), target)
    assert skin_error(displacement, 66.0, near).mean() < 0.6
    assert volume_change(displacement).min() > LEAST_VOLUME
    assert np.abs(displacement[:, distance(4, 66.0) > 60]).max() < 0.01, "far from the head nothing moves"


def test_the_skin_meets_the_known_one_at_the_cut_alone() -> None:
    head = cut(63.0)
    target = target_of(head, head.fields)
    displacement = met(NOWHERE, template(), target, head)
    unknown, skin = head.level.at(4).unknown, np.abs(distance(4, 63.0)) < 3
    depth = world(4)[..., 1] - 40
    assert skin_error(displacement, 63.0, skin & unknown & (depth < 4)).mean() < 1.0
    assert skin_error(displacement, 63.0, skin & unknown & (depth > 32)).mean() > 2.5
    sharp = met(NOWHERE, template(), target, head, 4.0)
    assert skin_error(sharp, 63.0, skin & unknown & (depth > 8)).mean() > 2.4, "and sooner, where that is asked for"
    assert volume_change(displacement).min() > LEAST_VOLUME


def test_without_known_skin_nothing_is_bent() -> None:
    head = cut(63.0)
    everything = replace(head, level=Level(head.values, ~head.unknown & False, np.ones_like(head.unknown), 2))
    target = Target(ball(2, 63.0), head.fields.skin, np.ones(FIELD_SHAPE, bool))
    np.testing.assert_array_equal(met(NOWHERE, template(), target, everything), NOWHERE)


@pytest.mark.parametrize("spacing", [1, 2])
def test_a_voxel_is_the_mean_of_what_lies_in_it(spacing: int) -> None:
    grid = CANONICAL[spacing]
    where = np.abs(distance(spacing, 60.0)) < 6
    fields = Fields(template().fields.skin, template().fields.tissue)
    found = painted(template(), NOWHERE, fields, where, grid, STILL)
    values = template().images[spacing] * 2.5
    np.testing.assert_allclose(found[where], values[where], atol=0.01)
    assert not found[~where].any() and found.dtype == np.float32


def test_a_turned_image_shows_the_turned_template() -> None:
    """The image's voxels run left, posterior, inferior; the head is moved by the alignment."""
    rigid = np.eye(4)
    rigid[:3, 3] = (4.0, -3.0, 2.0)
    native = Grid((40, 40, 40), np.array([[-4.0, 0, 0, 80], [0, 0, -4.0, 100], [0, -4.0, 0, 60], [0, 0, 0, 1]]))
    found = painted(
        template(), NOWHERE, template().fields, np.ones(native.shape, bool), native, Alignment(rigid, rigid)
    )
    places = np.indices(native.shape).reshape(3, -1)
    there = native.affine[:3, :3] @ places + native.affine[:3, 3:] + rigid[:3, 3:] - CENTRE[:, None]
    deep, out = np.linalg.norm(there, axis=0) < 55, np.linalg.norm(there, axis=0) > 65
    np.testing.assert_allclose(found.ravel()[deep], 1.0, atol=0.02)
    assert found.ravel()[out].max() == 0


def test_tissue_is_as_bright_as_the_fields_say() -> None:
    gain = tissue_gain(template(), NOWHERE, fields_of(60.0, 0.6))
    np.testing.assert_allclose(gain[distance(4, 60.0) < -10], 1.5, rtol=0.02)
    assert tissue_gain(template(), NOWHERE, fields_of(60.0, 0.0)).min() >= 0.4, "within limits"


def test_nothing_is_drawn_far_outside_the_skin_of_the_fields() -> None:
    where = np.ones(CANONICAL[4].shape, bool)
    found = painted(template(), NOWHERE, fields_of(40.0), where, CANONICAL[4], STILL)
    outside = distance(4, 40.0)
    assert not found[outside > OUTSIDE_MM + 2 + 3.5].any(), "a voxel of 4 mm reaches as far as its corner"
    assert found[(outside > -4) & (outside < 0)].min() > 0.9


def test_a_recovered_head_has_the_skin_of_its_fields_and_the_average_its_own() -> None:
    head = cut(66.0)
    target = head.unknown & (np.abs(distance(2, 66.0)) < 16)
    drawing = HeadDrawing(template(), head, target, CANONICAL[2], STILL)
    drawn, average = drawing.of(head.fields), drawing.average()
    far = target & (world(2)[..., 1] > 74)
    for values, radius in ((drawn, 66.0), (average, 60.0)):
        volume = (values[far] / 2.5).sum() / 0.4 * 8
        expected = (np.clip(0.5 - distance(2, radius) / 2, 0, 1)[far]).sum() * 8
        assert volume == pytest.approx(expected, rel=0.12)


def test_a_folded_displacement_is_smoothed_where_it_folds() -> None:
    folded = np.zeros((3, 24, 24, 24), np.float32)
    folded[0, 12, 10:14, 10:14] = 14.0
    folded[1, 2] = 1.0
    assert volume_change(folded).min() < 0
    found = unfolded(folded)
    assert volume_change(found).min() >= LEAST_VOLUME
    np.testing.assert_array_equal(found[:, :2], folded[:, :2])
    stretch = 0.2 * np.indices((24, 24, 24), dtype=np.float32) * 4
    np.testing.assert_allclose(volume_change(stretch), 1.2**3, rtol=1e-4)
    np.testing.assert_array_equal(unfolded(stretch), stretch)


def test_a_finer_displacement_is_the_same_map() -> None:
    slope = np.indices((6, 8, 10), dtype=np.float32)
    inner = (slice(None), *(slice(1, -1),) * 3)
    expected = (np.indices((12, 16, 20)) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(finer(slope)[inner], expected[inner], atol=1e-5)


def test_the_shipped_template_is_a_symmetric_head() -> None:
    shipped = face_template()
    assert shipped.image.shape == CANONICAL[1].shape and shipped.skin_mm.shape == CANONICAL[4].shape
    np.testing.assert_array_equal(shipped.image, shipped.image[::-1])
    np.testing.assert_array_equal(shipped.skin_mm, shipped.skin_mm[::-1])
    inside = shipped.skin_mm < 0
    assert 3.0e6 < inside.sum() * 64 < 5.5e6
    assert shipped.images[4][shipped.skin_mm < -8].mean() > 0.15 and shipped.images[4][shipped.skin_mm > 6].max() < 0.05


def test_what_is_stored_of_a_template_is_read_again() -> None:
    files = stored(template().image, template().skin_mm)
    image, skin = files.values()
    assert (image.dtype, skin.dtype) == (np.uint8, np.int16)
    np.testing.assert_allclose(image / 250, template().image, atol=0.003)
    near = np.abs(template().skin_mm) < 16
    np.testing.assert_allclose(skin[near] / 100, template().skin_mm[near], atol=0.006)
