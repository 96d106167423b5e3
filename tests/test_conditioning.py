"""What the network is told: levels of a head, the unit of residuals, working boxes."""

from __future__ import annotations

import numpy as np
import torch

from bids_refacer.refacing.conditioning import (
    LEAST_SIDE,
    SCALE_FLOOR,
    as_tensor,
    condition_volume,
    pyramid,
    residual_scale,
    upsample,
    working_box,
)


def test_coarse_voxels_are_known_when_all_and_unknown_when_any_of_their_voxels_are() -> None:
    known = np.ones((4, 4, 4), bool)
    unknown = np.zeros_like(known)
    known[0, 0, 0], unknown[0, 0, 0] = False, True
    known[2, 2, 2] = False  # outside the field of view: neither
    values = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    levels = pyramid(values, known, unknown, 2, 4)
    assert sorted(levels) == [2, 4]
    coarse = levels[4]
    assert coarse.known[0, 0, 0, 0, 0] == 0 and coarse.unknown[0, 0, 0, 0, 0] == 1
    assert coarse.known[0, 0, 1, 1, 1] == 0 and coarse.unknown[0, 0, 1, 1, 1] == 0
    assert coarse.known.sum() == 6 and coarse.unknown.sum() == 1
    assert torch.isclose(coarse.values[0, 0, 0, 0, 1], torch.tensor(float(values[:2, :2, 2:].mean())))


def test_residuals_are_small_in_air_and_whole_in_tissue() -> None:
    for spacing in (2, 4):
        base = torch.full((1, 1, 16, 16, 64 // spacing), -1.0)
        base[..., : 32 // spacing] = 0.0
        scale = residual_scale(base, spacing)[0, 0, 8, 8]
        assert scale.min() >= SCALE_FLOOR and scale.max() == 1
        assert (scale[: 32 // spacing] == 1).all(), "tissue, up to its border"
        assert (scale[32 // spacing + 8 // spacing :] == SCALE_FLOOR).all(), "air farther than 8 mm"
        assert (scale.diff() <= 0).all()


def test_working_box_holds_the_unknown_voxels_with_a_margin() -> None:
    unknown = torch.zeros(1, 1, 96, 128, 128)
    unknown[..., 40:70, 100:128, 5:9] = 1
    box = working_box(unknown, 8)
    sides = [axis.stop - axis.start for axis in box[2:]]
    assert all(side % 8 == 0 and side >= LEAST_SIDE for side in sides)
    assert unknown[box].sum() == unknown.sum()
    assert box[2].start <= 36 and box[2].stop >= 74
    assert box[3].stop == 128 and box[3].start <= 96


def test_working_box_of_nothing_is_small() -> None:
    assert torch.zeros(1, 1, 32, 32, 32)[working_box(torch.zeros(1, 1, 32, 32, 32), 8)].numel() == 512


def test_condition_hides_unknown_values() -> None:
    values, known, base = (torch.full((1, 1, 2, 2, 2), float(n)) for n in (3, 1, 5))
    known[..., 0] = 0
    channels = condition_volume(values, known, base)
    assert channels.shape == (1, 3, 2, 2, 2)
    assert (channels[:, 0, ..., 0] == 0).all() and (channels[:, 0, ..., 1] == 3).all()
    assert (channels[:, 1] == known[:, 0]).all() and (channels[:, 2] == 5).all()


def test_upsampling_keeps_voxel_edges_where_they_are() -> None:
    ramp = as_tensor(np.broadcast_to(np.arange(8.0)[:, None, None], (8, 8, 8)))
    fine = upsample(ramp)[0, 0, :, 0, 0]
    wanted = (torch.arange(16) + 0.5) / 2 - 0.5
    torch.testing.assert_close(fine[1:-1], wanted[1:-1])
