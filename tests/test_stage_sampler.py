"""A residual that one stage draws, on a grid of a few voxels: where, from which noise, and how far from the mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sampling_heads import CPU, Constant, Echo, blind, cut_head, drawn_residual, prior
from tiny_models import tiny_stage
from torch import Tensor

from bids_refacer.diffusion.denoiser import sampling_denoiser
from bids_refacer.refacing.conditioning import condition_volume, working_box
from bids_refacer.refacing.estimate import linear_fields
from bids_refacer.refacing.fields import Fields, to_torch
from bids_refacer.refacing.sampling import NoiseSource, SampleSeed, StageSampler, paired_seeds, smoothed


def test_a_seed_that_occurs_again_is_the_mirrored_sample_of_the_first() -> None:
    assert paired_seeds([3]) == (SampleSeed(3),)
    assert paired_seeds([3, 3, 4, 3, 4, 3]) == (
        *(SampleSeed(3), SampleSeed(3, mirrored=True), SampleSeed(4)),
        *(SampleSeed(3), SampleSeed(4, mirrored=True), SampleSeed(3, mirrored=True)),
    )


def test_a_mirrored_sample_takes_the_same_noise_with_the_opposite_sign() -> None:
    one, other = NoiseSource(SampleSeed(3)), NoiseSource(SampleSeed(3, mirrored=True))
    assert (one.sign, other.sign) == (1.0, -1.0)
    for _ in range(2):
        assert torch.equal(one.normal((4, 5)), other.normal((4, 5)))
    assert not torch.equal(one.normal((4, 5)), NoiseSource(SampleSeed(4)).normal((4, 5)))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_residual_is_drawn_where_voxels_are_unknown_and_nowhere_else(channels: int) -> None:
    level = cut_head().level.at(4)
    fields = to_torch(linear_fields(prior(), level))
    got = drawn_residual(tiny_stage(4, 0.0 if channels == 2 else 0.1, 1), level, fields)
    assert got.shape == (1, channels, 16, 16, 16)
    unknown = torch.from_numpy(level.unknown)
    assert not got[0][:, ~unknown].any()
    assert got[0][:, unknown].all()
    assert (got[0, 0] != got[0, -1]).any() == (channels == 2), "each channel has a residual of its own"


def test_the_working_box_does_not_change_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same voxels get the same noise, whatever else is unknown: the start is drawn on the whole grid."""
    level = cut_head().level.at(4)
    fields, (config, _) = to_torch(linear_fields(prior(), level)), tiny_stage(4, 0.0, 1)
    whole = drawn_residual((config, Echo()), level, fields)
    small = (slice(None), slice(None), slice(2, 10), slice(4, 12), slice(0, 8))
    monkeypatch.setattr("bids_refacer.refacing.sampling.working_box", lambda *_: small)
    part = drawn_residual((config, Echo()), level, fields)
    assert whole[small].any() and torch.equal(part[small], whole[small])


@pytest.mark.parametrize("temperature", [0.0, 0.25, 1.0])
def test_a_sample_lies_between_the_learned_mean_and_a_fair_draw(temperature: float) -> None:
    level = cut_head().level.at(4)
    fields, (config, denoiser) = to_torch(linear_fields(prior(), level)), tiny_stage(4, 0.0, 1)
    condition, unknown = condition_volume(level, fields), to_torch(level.unknown)
    box = working_box(level.unknown, config.network.multiple)
    zero, sigma = torch.zeros_like(fields[box]), torch.tensor([config.noise.sigma_max])
    with torch.inference_mode():
        mean = torch.zeros_like(fields)
        mean[box] = sampling_denoiser(denoiser, condition[box], unknown[box], torch.zeros(1))(zero, sigma)
    fair = drawn_residual((blind(config, temperature=1.0), denoiser), level, fields)
    got = drawn_residual((blind(config, temperature=temperature), denoiser), level, fields)
    assert (fair - mean).abs().max() > 0.01
    torch.testing.assert_close(got, mean + temperature * (fair - mean), atol=1e-6, rtol=0)


def test_what_a_draw_adds_to_the_mean_is_smooth_and_of_the_right_size() -> None:
    """A deviation that is the same everywhere stays what it is, also at the border; speckle goes."""
    inside = torch.zeros(1, 1, 12, 12, 12)
    inside[..., 3:9, 3:9, 3:9] = 1
    flat = torch.full((1, 2, 12, 12, 12), 0.5)
    torch.testing.assert_close(smoothed(flat, inside), flat * inside)
    speckle = torch.randn(1, 2, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    got = smoothed(speckle, inside)
    assert not got[:, :, inside[0, 0] == 0].any()
    assert got[:, :, inside[0, 0] > 0].std() < 0.4 * speckle.std()
    hidden = torch.where(inside > 0, speckle, torch.tensor(99.0))
    torch.testing.assert_close(smoothed(hidden, inside), got, msg="what is outside leaks in")


def test_at_temperature_0_the_network_is_asked_once_and_all_steps_are_counted() -> None:
    level = cut_head().level.at(4)
    fields, network, steps = to_torch(linear_fields(prior(), level)), Constant(0.1, 0.2), []
    config = blind(tiny_stage(4, 0.0, 1)[0], temperature=0.0)
    StageSampler(config, network, CPU).residual(level, fields, NoiseSource(SampleSeed(3)), steps.append)
    assert len(network.asked) == 1 and steps == [config.steps - 1]


def test_a_stage_that_did_not_learn_the_mean_gets_less_noise() -> None:
    """Asked without noise at a level that it only knows with noise, a network says nothing sensible."""
    level = cut_head().level.at(4)
    fields, (config, _) = to_torch(linear_fields(prior(), level)), tiny_stage(4, 0.0, 1)
    whole, part = (drawn_residual((replace(config, temperature=t), Echo()), level, fields) for t in (1.0, 0.25))
    torch.testing.assert_close(part, 0.25 * whole)


@pytest.mark.parametrize("temperature", [0.25, 1.0])
def test_the_mean_of_a_sample_and_its_mirror_is_the_learned_one(temperature: float) -> None:
    level = cut_head().level.at(4)
    fields, (config, denoiser) = to_torch(linear_fields(prior(), level)), tiny_stage(4, 0.0, 1)
    drawn = [
        drawn_residual((blind(config, temperature=warm), denoiser), level, fields, SampleSeed(3, mirrored))
        for warm, mirrored in ((0.0, False), (temperature, False), (temperature, True))
    ]
    assert (drawn[1] - drawn[2]).abs().max() > 0.02 * temperature
    torch.testing.assert_close((drawn[1] + drawn[2]) / 2, drawn[0], atol=1e-6, rtol=0)


def test_beside_seen_skin_the_learned_mean_counts_less() -> None:
    level = cut_head().level.at(4)
    fields, (config, denoiser) = to_torch(linear_fields(prior(), level)), tiny_stage(4, 0.0, 1)

    def residual(temperature: float, share: float) -> Tensor:
        shares = Fields(*np.full((2, 16, 16, 16), share, np.float32))
        return drawn_residual((blind(config, temperature=temperature), denoiser), level, fields, left_open=shares)

    mean, sample = residual(0.0, 1.0), residual(1.0, 1.0)
    torch.testing.assert_close(residual(0.0, 0.25), 0.25 * mean)
    torch.testing.assert_close(residual(1.0, 0.25), 0.25 * mean + (sample - mean), atol=1e-6, rtol=1e-4)


def test_a_later_stage_takes_the_opposite_noise_for_a_mirrored_sample() -> None:
    config = tiny_stage(2, 0.1, 2)[0]
    level = cut_head().level
    estimate = torch.zeros(1, 2, *level.known.shape)
    one, other = (
        drawn_residual((config, Echo()), level, estimate, SampleSeed(3, mirrored)) for mirrored in (False, True)
    )
    assert one.abs().max() > 0.1 and torch.equal(one, -other)
