"""What the network is told: levels of a head, its linear estimate and image, the unit of residuals, working boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import prior_around

from bids_refacer.refacing.conditioning import (
    LEAST_SIDE,
    SCALE_FLOOR,
    condition_volume,
    render,
    residual_scale,
    upsample,
    working_box,
)
from bids_refacer.refacing.estimate import linear_fields
from bids_refacer.refacing.fields import SKIN_UNIT_MM, Fields, from_torch, to_torch
from bids_refacer.refacing.unknown import Level


def test_coarse_voxels_are_known_when_all_and_unknown_when_any_of_their_voxels_are() -> None:
    known = np.ones((4, 4, 4), bool)
    unknown = np.zeros_like(known)
    known[0, 0, 0], unknown[0, 0, 0] = False, True
    known[2, 2, 2] = False  # outside the field of view: neither
    values = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    fine = Level(values, known, unknown, 2)
    coarse = fine.at(4)
    assert fine.at(2) is fine and coarse.spacing == 4
    assert not coarse.known[0, 0, 0] and coarse.unknown[0, 0, 0]
    assert not coarse.known[1, 1, 1] and not coarse.unknown[1, 1, 1]
    assert coarse.known.sum() == 6 and coarse.unknown.sum() == 1
    assert coarse.values[0, 0, 1] == pytest.approx(float(values[:2, :2, 2:].mean()))
    for spacing in (1, 3):
        with pytest.raises(ValueError, match=f"A level of 2 mm cannot be pooled to {spacing} mm"):
            fine.at(spacing)


def test_fields_come_back_from_the_network_as_they_went() -> None:
    rng = np.random.default_rng(0)
    fields = Fields(*rng.normal(0, 1, (2, 3, 4, 5)).astype(np.float32))
    tensor = to_torch(fields)
    assert tensor.shape == (1, 2, 3, 4, 5) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor[0, 0].numpy(), fields.skin)
    back = from_torch(tensor)
    np.testing.assert_array_equal(back.skin, fields.skin)
    np.testing.assert_array_equal(back.tissue, fields.tissue)
    mask = to_torch(fields.skin > 0)
    assert mask.shape == (1, 1, 3, 4, 5) and mask.dtype == torch.float32 and mask.sum() == (fields.skin > 0).sum()


def test_residuals_are_small_in_air_and_whole_in_tissue() -> None:
    skin = torch.linspace(-2, 2, 65).reshape(1, 1, 1, 1, 65)
    scale = residual_scale(skin)[0, 0, 0, 0]
    mm = skin[0, 0, 0, 0] * SKIN_UNIT_MM
    assert (scale[mm <= 2] == 1).all(), "tissue, up to a voxel outside its border"
    assert torch.allclose(scale[mm >= 8], torch.tensor(SCALE_FLOOR)), "air farther than 8 mm"
    between = (mm > 2) & (mm < 8)
    torch.testing.assert_close(scale[between], 1 - (mm[between] - 2) / 6 * (1 - SCALE_FLOOR))


@pytest.mark.parametrize("spacing", [1, 2, 4])
def test_an_image_is_tissue_inside_air_outside_and_their_shares_between(spacing: int) -> None:
    mm = torch.tensor([-16.0, -spacing / 2, -spacing / 4, 0, spacing / 4, spacing / 2, 16.0])
    skin = (mm / SKIN_UNIT_MM).reshape(1, 1, 1, 1, 7).repeat(1, 1, 1, 2, 1)
    tissue = torch.tensor([0.4, -0.2]).reshape(1, 1, 1, 2, 1)
    got = render(skin, tissue, spacing)[0, 0, 0]
    share = torch.tensor([1, 1, 0.75, 0.5, 0.25, 0, 0])
    torch.testing.assert_close(got[0], -1 + 1.4 * share)
    torch.testing.assert_close(got[1], -1 + 0.8 * share)


def test_the_linear_estimate_is_that_of_the_prior_and_reads_known_voxels_alone() -> None:
    rng, known = np.random.default_rng(0), np.ones((8, 8, 8), bool)
    prior = prior_around(np.where(np.indices(known.shape)[1] < 5, 0.2, -1).astype(np.float32))
    values = rng.normal(0, 0.3, known.shape).astype(np.float32)
    unknown = np.zeros_like(known)
    known[:, 4:], unknown[:, 4:, :6] = False, True
    got = linear_fields(prior, Level(values, known, unknown, 4))
    assert got.skin.shape == got.tissue.shape == (8, 8, 8) and got.skin.dtype == got.tissue.dtype == np.float32
    wanted = prior.conditional_fields(values, known, unknown)
    np.testing.assert_array_equal(got.skin, wanted.skin)
    np.testing.assert_array_equal(got.tissue, wanted.tissue)
    hidden = np.where(known, values, 0.9)
    same = linear_fields(prior, Level(hidden, known, unknown, 4))
    np.testing.assert_array_equal(got.skin, same.skin)
    np.testing.assert_array_equal(got.tissue, same.tissue)
    elsewhere = linear_fields(prior, Level(values, known, ~unknown & ~known, 4))
    assert (got.skin != elsewhere.skin).any(), "which voxels are asked for decides how much the known ones count"


def test_working_box_holds_the_unknown_voxels_with_a_margin() -> None:
    unknown = np.zeros((96, 128, 128), bool)
    unknown[40:70, 100:128, 5:9] = True
    box = working_box(unknown, 8)
    sides = [axis.stop - axis.start for axis in box[2:]]
    assert all(side % 8 == 0 and side >= LEAST_SIDE for side in sides)
    assert unknown[box[2:]].sum() == unknown.sum()
    assert box[2].start <= 36 and box[2].stop >= 74
    assert box[3].stop == 128 and box[3].start <= 96


def test_working_box_of_nothing_is_as_small_as_a_network_can_be_trained_on() -> None:
    """Also a box without anything to learn is propagated back: on 2 voxels of depth, its gradient would be garbage."""
    assert torch.zeros(1, 1, 32, 32, 32)[working_box(np.zeros((32, 32, 32), bool), 8)].numel() == LEAST_SIDE**3
    assert torch.zeros(1, 1, 8, 32, 32)[working_box(np.zeros((8, 32, 32), bool), 8)].numel() == 8 * LEAST_SIDE**2


def test_condition_hides_unknown_values() -> None:
    values, known = np.full((2, 2, 2), 3, np.float32), np.ones((2, 2, 2), bool)
    known[..., 0] = False
    estimate = torch.cat([torch.full((1, 1, 2, 2, 2), 5.0), torch.full((1, 1, 2, 2, 2), 7.0)], 1)
    channels = condition_volume(Level(values, known, ~known, 2), estimate)
    assert channels.shape == (1, 4, 2, 2, 2)
    assert (channels[:, 0, ..., 0] == 0).all() and (channels[:, 0, ..., 1] == 3).all()
    assert (channels[:, 1] == torch.from_numpy(known)).all()
    assert (channels[:, 2] == 5).all() and (channels[:, 3] == 7).all()


def test_upsampling_keeps_voxel_edges_where_they_are_and_tips_round() -> None:
    """A parabola is its own cubic spline; linear interpolation would flatten its tip."""
    place = (np.arange(24.0) - 11.5)[:, None, None]
    curve = to_torch(np.broadcast_to(place + place**2 / 8, (24, 4, 4)))
    fine = (torch.arange(48) + 0.5) / 2 - 12.0
    got = upsample(curve)[0, 0, :, 3, 5]
    torch.testing.assert_close(got[16:-16], (fine + fine**2 / 8)[16:-16], atol=2e-3, rtol=0)


def test_upsampling_keeps_heads_and_channels_apart() -> None:
    volume = torch.randn(2, 3, 4, 6, 8)
    got = upsample(volume)
    assert got.shape == (2, 3, 8, 12, 16) and got.dtype == torch.float32
    for n in range(2):
        for c in range(3):
            assert torch.equal(got[n, c], upsample(volume[n : n + 1, c : c + 1])[0, 0])
