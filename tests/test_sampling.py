"""One draw of the cascade on grids of a few voxels: where it paints, what stages are given, what decides a sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sampling_heads import CPU, Constant, blind, cut_head, model, prior, sample, skin, two_stages
from tiny_models import tiny_stage

from bids_refacer.refacing.conditioning import SCALE_FLOOR, image_of, render, upsample, working_box
from bids_refacer.refacing.estimate import kriged_fields
from bids_refacer.refacing.fields import Fields, to_torch
from bids_refacer.refacing.sampling import CONDITION_NOISE, Cascade, SampleSeed
from bids_refacer.volumes.grid import pool


@pytest.mark.parametrize(("lone", "alone", "same_as"), [(0.25, True, 0.25), (0.25, False, 1.0), (None, True, 1.0)])
def test_a_single_sample_has_a_temperature_of_its_own(lone: float | None, alone: bool, same_as: float) -> None:
    config, denoiser = tiny_stage(4, 0.0, 1)
    config = blind(config, temperature=1.0, lone_temperature=lone)
    wanted = sample(model((blind(config, temperature=same_as, lone_temperature=None), denoiser)), cut_head()).volume
    got = sample(model((config, denoiser)), cut_head(), settings=replace(CPU, alone=alone)).volume
    np.testing.assert_array_equal(got, wanted)


def test_known_voxels_come_back_bit_for_bit_and_unknown_ones_are_painted() -> None:
    head = cut_head()
    for of in (two_stages(), model(), model(tiny_stage(2, 0.1, 2))):
        got = sample(of, head).volume
        assert got.dtype == np.float32 and got.shape == head.values.shape
        np.testing.assert_array_equal(got[head.known], head.values[head.known])
        assert got.min() >= -1 and got.max() <= 1
        assert (got[head.unknown] != head.values[head.unknown]).mean() > 0.3
    coarse_air = head.known & (pool(head.values, ~head.unknown)[1].repeat(2, 0).repeat(2, 1).repeat(2, 2) == 0)
    assert coarse_air.any(), "some known voxels lie in an unknown voxel of the coarse grid"


@pytest.mark.parametrize("stages", ["coarse and fine", "coarse", "none"])
def test_a_sample_does_not_depend_on_what_the_removed_region_holds(stages: str) -> None:
    of = {"coarse and fine": two_stages(), "coarse": model(tiny_stage(4, 0.0, 1)), "none": model()}[stages]
    zero, one = cut_head(-1.0), cut_head(0.83)
    assert (zero.values != one.values).any()
    np.testing.assert_array_equal(sample(of, one).volume, sample(of, zero).volume)


def test_without_stages_the_image_is_that_of_the_linear_fields_on_the_finest_grid() -> None:
    head, of = cut_head(), model()
    assert (of.finest, of.coarsest) == (2, 4)
    fields = upsample(to_torch(kriged_fields(prior(), head.level.at(4), skin())[0]))
    image = render(fields[:, :1], fields[:, 1:], 2)[0, 0].numpy()
    np.testing.assert_array_equal(sample(of, head).volume, np.where(head.known, head.values, image.clip(-1, 1)))
    np.testing.assert_array_equal(sample(of, head, seed=1).volume, sample(of, head, seed=2).volume)


def test_a_first_stage_alone_gives_an_image_of_its_fields() -> None:
    """On the 2 mm grid, as the linear attack: what the second stage adds can be told."""
    head, (config, _) = cut_head(), tiny_stage(4, 0.0, 1)
    of = model((config, Constant(-0.3, 0.2)))
    assert (of.finest, of.coarsest) == (2, 4)
    inside = head.level.at(4).unknown.astype(np.float32)
    moved = image_of(head.fields + Fields(np.float32(-0.3) * inside, np.float32(0.2) * inside), 2)
    got = sample(of, head).volume
    np.testing.assert_allclose(got[head.unknown], moved.clip(-1, 1)[head.unknown], atol=1e-5)
    still = sample(model((config, Constant(0.0, 0.0))), head).volume
    assert (got[head.unknown] > still[head.unknown] + 0.05).mean() > 0.2, "skin farther out, tissue brighter"


def test_a_later_stage_adds_its_residual_in_the_unit_of_the_place() -> None:
    head, (config, _) = cut_head(), tiny_stage(2, 0.1, 2)
    zero, some = (sample(model((config, Constant(value))), head).volume for value in (0.0, 0.05))
    added = (some - zero)[head.unknown & (some < 1)]
    assert added.max() == pytest.approx(0.05, abs=1e-5), "in tissue"
    assert added.min() == pytest.approx(0.05 * SCALE_FLOOR, abs=1e-5), "in air far from it"


def test_a_later_stage_sees_the_fields_upsampled_and_a_little_noisy_where_they_were_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bids_refacer.refacing.sampling.working_box", lambda *_: (slice(None),) * 5)
    head, fine = cut_head(), Constant(0.0)
    sample(model((tiny_stage(4, 0.0, 1)[0], Constant(-0.3, 0.2)), (tiny_stage(2, 0.1, 2)[0], fine)), head)
    condition, unknown, augmentation = fine.asked[0]
    assert augmentation == pytest.approx(CONDITION_NOISE)
    assert condition.shape[1] == 4 and torch.equal(unknown[0, 0] > 0, torch.from_numpy(head.unknown))
    np.testing.assert_array_equal(condition[0, 0].numpy(), np.where(head.known, head.values, 0))
    np.testing.assert_array_equal(condition[0, 1].numpy(), head.known)
    level = head.level.at(4)
    residual = torch.tensor([-0.3, 0.2]).reshape(1, 2, 1, 1, 1) * to_torch(level.unknown)
    clean = upsample(to_torch(kriged_fields(prior(), level, skin())[0]) + residual)
    noise = condition[0, 3] - clean[0, 0]
    assert 0.4 * CONDITION_NOISE < noise[head.unknown].std() < CONDITION_NOISE
    far = ~(torch.nn.functional.max_pool3d(to_torch(head.unknown), 17, 1, 8)[0, 0] > 0)
    assert far.any() and noise[far].abs().max() < 1e-3, "the linear estimate is not disturbed where voxels are known"


def test_a_first_stage_is_given_the_kriged_fields_and_no_noise() -> None:
    head, coarse = cut_head(), Constant(0.0, 0.0)
    sample(model((tiny_stage(4, 0.0, 1)[0], coarse), tiny_stage(2, 0.1, 2)), head)
    condition, unknown, augmentation = coarse.asked[0]
    level = head.level.at(4)
    assert augmentation == 0
    assert torch.equal(unknown, to_torch(level.unknown)) and torch.equal(condition[:, 1:2], to_torch(level.known))
    assert torch.equal(condition[:, 2:], to_torch(kriged_fields(prior(), level, skin())[0]))


def test_the_mean_of_samples_is_that_of_their_fields() -> None:
    head, of = cut_head(), model(tiny_stage(4, 0.0, 1))
    drawn = [sample(of, head, seed) for seed in (1, 2)]
    found = Cascade(of, CPU).mean(head, drawn, SampleSeed(1))
    mean = found.volume
    one, two = (each.fields for each in drawn)
    expected = image_of(Fields((one.skin + two.skin) / 2, (one.tissue + two.tissue) / 2), 2).clip(-1, 1)
    np.testing.assert_allclose(mean, np.where(head.known, head.values, expected), atol=1e-6)
    np.testing.assert_allclose(found.fields.skin, (one.skin + two.skin) / 2, atol=1e-6)
    assert np.abs(mean - (drawn[0].volume + drawn[1].volume) / 2).max() > 0.01
    first, again = (Cascade(two_stages(), CPU).mean(head, drawn, SampleSeed(1)).volume for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != mean).any(), "later stages draw over it"


def test_the_fields_that_a_later_stage_sees_are_mirrored_too() -> None:
    """`Constant` stages draw no noise of their own: what is left is that of the conditioning."""
    first, (config, _) = (tiny_stage(4, 0.0, 1)[0], Constant(0.0, 0.0)), tiny_stage(2, 0.1, 2)
    asked = []
    for mirrored in (False, True):
        last = Constant(0.0)
        sample(model(first, (config, last)), cut_head(), mirrored=mirrored)
        asked.append(last.asked[0][0][:, 3:])
    noise = asked[0] - asked[1]
    assert noise.abs().max() > 0.01
    clean = upsample(to_torch(cut_head().fields))[:, :1][working_box(cut_head().unknown, config.network.multiple)]
    torch.testing.assert_close(sum(asked) / 2, clean, atol=1e-5, rtol=0)


def test_the_learned_mean_counts_by_the_share_that_the_head_leaves_open() -> None:
    head, (config, _) = cut_head(), tiny_stage(4, 0.0, 1)
    of = model((blind(config, temperature=0.0), Constant(-0.3, 0.2)))
    unknown = head.level.at(4).unknown
    for share in (0.0, 0.25, 1.0):
        shares = np.full(unknown.shape, share, np.float32)
        drawn = sample(of, replace(head, left_open=Fields(shares, 2 * shares))).fields - head.fields
        np.testing.assert_allclose(drawn.skin, -0.3 * share * unknown, atol=1e-6)
        np.testing.assert_allclose(drawn.tissue, 0.4 * share * unknown, atol=1e-6)


def test_a_seed_decides_a_sample_and_steps_are_counted_through_the_stages() -> None:
    head, of, calls = cut_head(), two_stages(), []
    first = Cascade(of, CPU).sample(head, SampleSeed(5), lambda *call: calls.append(call)).volume
    torch.randn(3)
    np.testing.assert_array_equal(sample(of, head).volume, first)
    assert (sample(of, head, seed=6).volume != first).any()
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    calls.clear()
    Cascade(of, replace(CPU, steps=3)).sample(head, SampleSeed(5), lambda *call: calls.append(call))
    assert calls == [(n, 6) for n in range(1, 7)]
