"""One draw of the cascade on grids of a few voxels: where it paints, what it is told, what decides it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import fields_of, prior_around, tiny_stage
from torch import Tensor, nn

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import sampling_denoiser
from bids_refacer.refacing.canonical import Canonical
from bids_refacer.refacing.conditioning import (
    SCALE_FLOOR,
    anchored_fields,
    as_tensor,
    condition_volume,
    image_of,
    linear_fields,
    pyramid,
    render,
    upsample,
    working_box,
)
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.sampling import (
    CONDITION_NOISE,
    Draw,
    SamplingSettings,
    _smoothed,
    mean_sample,
    sample_cascade,
)
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.grid import pool

CPU = SamplingSettings(sampler="dpmpp2m", steps=None, device=torch.device("cpu"))


def block_head() -> np.ndarray:
    """Tissue of varied intensity behind, air before it: (32, 32, 32) model intensities of 2 mm."""
    values = np.random.default_rng(0).uniform(-0.2, 0.4, (32, 32, 32)).astype(np.float32)
    values[:, 20:] = -1
    return values


def prior() -> LinearPrior:
    """Around a smoother head than the one that is sampled: the estimate is wrong."""
    return prior_around(pool(np.where(block_head() > -1, 0.1, -1), np.ones((32, 32, 32), bool))[0])


def skin() -> np.ndarray:
    return fields_of(pool(block_head(), np.ones((32, 32, 32), bool))[0])[0]


def cut_head(hidden: float = -1.0) -> Canonical:
    """The head with its front removed (the border runs through voxels of 4 mm), and a strip outside the view."""
    values = block_head()
    unknown, seen = np.zeros(values.shape, bool), np.ones(values.shape, bool)
    unknown[4:28, 13:29, 3:30] = True
    seen[:, :, 30:] = False
    image = np.where(unknown & seen, hidden, values).astype(np.float32)
    return estimated(image, seen & ~unknown, seen & unknown)


def estimated(image: np.ndarray, known: np.ndarray, unknown: np.ndarray, spacing: int = 2) -> Canonical:
    level = pyramid(image, known, unknown, spacing, 4)[4]
    return Canonical(image, known, unknown, *anchored_fields(prior(), level, skin()))


def model(*stages: tuple[StageConfig, nn.Module]) -> AttackModel:
    return AttackModel("tiny", prior(), list(stages), {})


def both() -> AttackModel:
    return model(tiny_stage(4, 0.0, 1), tiny_stage(2, 0.1, 2))


def sample(of: AttackModel, head: Canonical, seed: int = 5, settings: SamplingSettings = CPU) -> np.ndarray:
    return sample_cascade(of, head, seed, settings, lambda *_: None).volume


class Constant(nn.Module):
    """A denoiser that always says the same, and keeps what it is told."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values).reshape(1, -1, 1, 1, 1)
        self.told: list[tuple[Tensor, Tensor, float]] = []

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor, unknown: Tensor, augmentation: Tensor) -> Tensor:
        self.told.append((condition, unknown, augmentation.item()))
        return self.values.expand_as(x)


def draw(stage: tuple[StageConfig, nn.Module], seed: int = 3) -> Draw:
    return Draw(*stage, torch.Generator().manual_seed(seed), CPU, lambda step: None)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_residual_is_drawn_where_voxels_are_unknown_and_nowhere_else(channels: int) -> None:
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[4]
    fields = linear_fields(prior(), level)
    got = draw(tiny_stage(4, 0.0 if channels == 2 else 0.1, 1)).residual(level, fields, channels)
    assert got.shape == (1, channels, 16, 16, 16)
    unknown = level.unknown[0, 0] > 0
    assert not got[0][:, ~unknown].any()
    assert got[0][:, unknown].all()
    assert (got[0, 0] != got[0, -1]).any() == (channels == 2), "each channel has a residual of its own"


def test_the_working_box_does_not_change_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same voxels get the same noise, whatever else is unknown: the start is drawn on the whole grid."""
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[4]
    fields, (config, _) = linear_fields(prior(), level), tiny_stage(4, 0.0, 1)

    class Echo(nn.Module):
        def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
            return x

    whole = draw((config, Echo())).residual(level, fields, 2)
    small = (slice(None), slice(None), slice(2, 10), slice(4, 12), slice(0, 8))
    monkeypatch.setattr("bids_refacer.refacing.sampling.working_box", lambda *_: small)
    part = draw((config, Echo())).residual(level, fields, 2)
    assert whole[small].any() and torch.equal(part[small], whole[small])


def blind(config: StageConfig, **changes: float | None) -> StageConfig:
    return replace(config, noise=replace(config.noise, blind=0.5), **changes)


@pytest.mark.parametrize("temperature", [0.0, 0.25, 1.0])
def test_a_sample_lies_between_the_learned_mean_and_a_fair_draw(temperature: float) -> None:
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[4]
    fields, (config, denoiser) = linear_fields(prior(), level), tiny_stage(4, 0.0, 1)
    condition = condition_volume(level.values, level.known, fields)
    box = working_box(level.unknown, config.network.multiple)
    zero, sigma = torch.zeros_like(fields[box]), torch.tensor([config.noise.sigma_max])
    with torch.inference_mode():
        mean = torch.zeros_like(fields)
        mean[box] = sampling_denoiser(denoiser, condition[box], level.unknown[box], torch.zeros(1))(zero, sigma)
    fair = draw((blind(config, temperature=1.0), denoiser)).residual(level, fields, 2)
    got = draw((blind(config, temperature=temperature), denoiser)).residual(level, fields, 2)
    assert (fair - mean).abs().max() > 0.01
    torch.testing.assert_close(got, mean + temperature * (fair - mean), atol=1e-6, rtol=0)


def test_what_a_draw_adds_to_the_mean_is_smooth_and_of_the_right_size() -> None:
    """A deviation that is the same everywhere stays what it is, also at the border; speckle goes."""
    inside = torch.zeros(1, 1, 12, 12, 12)
    inside[..., 3:9, 3:9, 3:9] = 1
    flat = torch.full((1, 2, 12, 12, 12), 0.5)
    torch.testing.assert_close(_smoothed(flat, inside), flat * inside)
    speckle = torch.randn(1, 2, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    got = _smoothed(speckle, inside)
    assert not got[:, :, inside[0, 0] == 0].any()
    assert got[:, :, inside[0, 0] > 0].std() < 0.4 * speckle.std()
    hidden = torch.where(inside > 0, speckle, torch.tensor(99.0))
    torch.testing.assert_close(_smoothed(hidden, inside), got, msg="what is outside leaks in")


def test_at_temperature_0_the_network_is_asked_once_and_all_steps_are_counted() -> None:
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[4]
    fields, network, steps = linear_fields(prior(), level), Constant(0.1, 0.2), []
    config = blind(tiny_stage(4, 0.0, 1)[0], temperature=0.0)
    Draw(config, network, torch.Generator(), CPU, steps.append).residual(level, fields, 2)
    assert len(network.told) == 1 and steps == [config.steps - 1]


def test_a_stage_that_did_not_learn_the_mean_gets_less_noise() -> None:
    """Asked without noise at a level that it only knows with noise, a network says nothing sensible."""
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[4]
    fields, (config, _) = linear_fields(prior(), level), tiny_stage(4, 0.0, 1)

    class Echo(nn.Module):
        def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
            return x

    whole, part = (draw((replace(config, temperature=t), Echo())).residual(level, fields, 2) for t in (1.0, 0.25))
    torch.testing.assert_close(part, 0.25 * whole)


@pytest.mark.parametrize(("lone", "alone", "same_as"), [(0.25, True, 0.25), (0.25, False, 1.0), (None, True, 1.0)])
def test_a_single_sample_has_a_temperature_of_its_own(lone: float | None, alone: bool, same_as: float) -> None:
    config, denoiser = tiny_stage(4, 0.0, 1)
    config = blind(config, temperature=1.0, lone_temperature=lone)
    wanted = sample(model((blind(config, temperature=same_as, lone_temperature=None), denoiser)), cut_head())
    got = sample(model((config, denoiser)), cut_head(), settings=replace(CPU, alone=alone))
    np.testing.assert_array_equal(got, wanted)


def test_known_voxels_come_back_bit_for_bit_and_unknown_ones_are_painted() -> None:
    head = cut_head()
    for of in (both(), model(), model(tiny_stage(2, 0.1, 2))):
        got = sample(of, head)
        assert got.dtype == np.float32 and got.shape == head.values.shape
        np.testing.assert_array_equal(got[head.known], head.values[head.known])
        assert got.min() >= -1 and got.max() <= 1
        assert (got[head.unknown] != head.values[head.unknown]).mean() > 0.3
    coarse_air = head.known & (pool(head.values, ~head.unknown)[1].repeat(2, 0).repeat(2, 1).repeat(2, 2) == 0)
    assert coarse_air.any(), "some known voxels lie in an unknown voxel of the coarse grid"


@pytest.mark.parametrize("stages", ["coarse and fine", "coarse", "none"])
def test_a_sample_does_not_depend_on_what_the_removed_region_holds(stages: str) -> None:
    of = {"coarse and fine": both(), "coarse": model(tiny_stage(4, 0.0, 1)), "none": model()}[stages]
    zero, one = cut_head(-1.0), cut_head(0.83)
    assert (zero.values != one.values).any()
    np.testing.assert_array_equal(sample(of, one), sample(of, zero))


def test_without_stages_the_image_is_that_of_the_linear_fields_on_the_finest_grid() -> None:
    head, of = cut_head(), model()
    assert (of.finest, of.coarsest) == (2, 4)
    fields = upsample(anchored_fields(prior(), pyramid(head.values, head.known, head.unknown, 2, 4)[4], skin())[0])
    image = render(fields[:, :1], fields[:, 1:], 2)[0, 0].numpy()
    np.testing.assert_array_equal(sample(of, head), np.where(head.known, head.values, image.clip(-1, 1)))
    np.testing.assert_array_equal(sample(of, head, seed=1), sample(of, head, seed=2))


def test_a_first_stage_alone_gives_an_image_of_its_fields() -> None:
    """On the 2 mm grid, as the linear attack: what the second stage adds can be told."""
    head, (config, _) = cut_head(), tiny_stage(4, 0.0, 1)
    of = model((config, Constant(-0.3, 0.2)))
    assert (of.finest, of.coarsest) == (2, 4)
    inside = pyramid(head.values, head.known, head.unknown, 2, 4)[4].unknown
    moved = image_of(head.fields + inside * torch.tensor([-0.3, 0.2]).reshape(1, 2, 1, 1, 1), 4, 2)
    got = sample(of, head)
    np.testing.assert_allclose(got[head.unknown], moved[0, 0].clamp(-1, 1).numpy()[head.unknown], atol=1e-5)
    still = sample(model((config, Constant(0.0, 0.0))), head)
    assert (got[head.unknown] > still[head.unknown] + 0.05).mean() > 0.2, "skin farther out, tissue brighter"


def test_a_later_stage_adds_its_residual_in_the_unit_of_the_place() -> None:
    head, (config, _) = cut_head(), tiny_stage(2, 0.1, 2)
    zero, some = (sample(model((config, Constant(value))), head) for value in (0.0, 0.05))
    added = (some - zero)[head.unknown & (some < 1)]
    assert added.max() == pytest.approx(0.05, abs=1e-5), "in tissue"
    assert added.min() == pytest.approx(0.05 * SCALE_FLOOR, abs=1e-5), "in air far from it"


def test_a_later_stage_sees_the_fields_upsampled_and_a_little_noisy_where_they_were_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bids_refacer.refacing.sampling.working_box", lambda *_: (slice(None),) * 5)
    head, fine = cut_head(), Constant(0.0)
    sample(model((tiny_stage(4, 0.0, 1)[0], Constant(-0.3, 0.2)), (tiny_stage(2, 0.1, 2)[0], fine)), head)
    condition, unknown, augmentation = fine.told[0]
    assert augmentation == pytest.approx(CONDITION_NOISE)
    assert condition.shape[1] == 4 and torch.equal(unknown[0, 0] > 0, torch.from_numpy(head.unknown))
    levels = pyramid(head.values, head.known, head.unknown, 2, 4)
    np.testing.assert_array_equal(condition[0, 0].numpy(), np.where(head.known, head.values, 0))
    np.testing.assert_array_equal(condition[0, 1].numpy(), head.known)
    residual = torch.tensor([-0.3, 0.2]).reshape(1, 2, 1, 1, 1) * levels[4].unknown
    clean = upsample(anchored_fields(prior(), levels[4], skin())[0] + residual)
    noise = condition[0, 3] - clean[0, 0]
    assert 0.4 * CONDITION_NOISE < noise[head.unknown].std() < CONDITION_NOISE
    far = ~(torch.nn.functional.max_pool3d(as_tensor(head.unknown), 17, 1, 8)[0, 0] > 0)
    assert far.any() and noise[far].abs().max() < 1e-3, "the linear estimate is not disturbed where voxels are known"


def test_a_first_stage_is_told_the_anchored_fields_and_no_noise() -> None:
    head, coarse = cut_head(), Constant(0.0, 0.0)
    sample(model((tiny_stage(4, 0.0, 1)[0], coarse), tiny_stage(2, 0.1, 2)), head)
    condition, unknown, augmentation = coarse.told[0]
    level = pyramid(head.values, head.known, head.unknown, 2, 4)[4]
    assert augmentation == 0
    assert torch.equal(unknown, level.unknown) and torch.equal(condition[:, 1:2], level.known)
    assert torch.equal(condition[:, 2:], anchored_fields(prior(), level, skin())[0])


@pytest.mark.parametrize("temperature", [0.25, 1.0])
def test_the_mean_of_a_sample_and_its_mirror_is_the_learned_one(temperature: float) -> None:
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[4]
    fields, (config, denoiser) = linear_fields(prior(), level), tiny_stage(4, 0.0, 1)
    drawn = [
        replace(draw((blind(config, temperature=warm), denoiser)), side=side).residual(level, fields, 2)
        for warm, side in ((0.0, 1.0), (temperature, 1.0), (temperature, -1.0))
    ]
    assert (drawn[1] - drawn[2]).abs().max() > 0.02 * temperature
    torch.testing.assert_close((drawn[1] + drawn[2]) / 2, drawn[0], atol=1e-6, rtol=0)


def test_beside_seen_skin_the_learned_mean_counts_less() -> None:
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[4]
    fields, (config, denoiser) = linear_fields(prior(), level), tiny_stage(4, 0.0, 1)

    def residual(temperature: float, share: float) -> Tensor:
        drawn = draw((blind(config, temperature=temperature), denoiser))
        return drawn.residual(level, fields, 2, torch.full_like(fields, share))

    mean, sample = residual(0.0, 1.0), residual(1.0, 1.0)
    torch.testing.assert_close(residual(0.0, 0.25), 0.25 * mean)
    torch.testing.assert_close(residual(1.0, 0.25), 0.25 * mean + (sample - mean), atol=1e-6, rtol=1e-4)


def test_the_mean_of_samples_is_that_of_their_fields() -> None:
    head, of = cut_head(), model(tiny_stage(4, 0.0, 1))
    drawn = [sample_cascade(of, head, seed, CPU, lambda *_: None) for seed in (1, 2)]
    mean = mean_sample(of, head, drawn, 1, CPU)
    fields = (drawn[0].fields + drawn[1].fields) / 2
    expected = image_of(fields, 4, 2)[0, 0].clamp(-1, 1).numpy()
    np.testing.assert_allclose(mean, np.where(head.known, head.values, expected), atol=1e-6)
    assert np.abs(mean - (drawn[0].volume + drawn[1].volume) / 2).max() > 0.01
    np.testing.assert_array_equal(mean_sample(both(), head, drawn, 1, CPU), mean_sample(both(), head, drawn, 1, CPU))
    assert (mean_sample(both(), head, drawn, 1, CPU) != mean).any(), "later stages draw over it"


def test_a_later_stage_takes_the_opposite_noise_for_a_mirrored_sample() -> None:
    class Echo(nn.Module):
        def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
            return x

    config = tiny_stage(2, 0.1, 2)[0]
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 2)[2]
    estimate = torch.zeros(1, 2, *level.known.shape[2:])
    one, other = (replace(draw((config, Echo())), side=side).residual(level, estimate, 1) for side in (1.0, -1.0))
    assert one.abs().max() > 0.1 and torch.equal(one, -other)


def test_the_fields_that_a_later_stage_sees_are_mirrored_too() -> None:
    """`Constant` stages draw no noise of their own: what is left is that of the conditioning."""
    first, (config, _) = (tiny_stage(4, 0.0, 1)[0], Constant(0.0, 0.0)), tiny_stage(2, 0.1, 2)
    told = []
    for mirrored in (False, True):
        last = Constant(0.0)
        sample_cascade(model(first, (config, last)), cut_head(), 5, CPU, lambda *_: None, mirrored=mirrored)
        told.append(last.told[0][0][:, 3:])
    noise = told[0] - told[1]
    assert noise.abs().max() > 0.01
    level = pyramid(cut_head().values, cut_head().known, cut_head().unknown, 2, 4)[2]
    clean = upsample(cut_head().fields)[:, :1][working_box(level.unknown, config.network.multiple)]
    torch.testing.assert_close(sum(told) / 2, clean, atol=1e-5, rtol=0)


def test_a_seed_decides_a_sample_and_steps_are_counted_through_the_stages() -> None:
    head, of, calls = cut_head(), both(), []
    first = sample_cascade(of, head, 5, CPU, lambda *call: calls.append(call)).volume
    torch.randn(3)
    np.testing.assert_array_equal(sample(of, head), first)
    assert (sample(of, head, seed=6) != first).any()
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    calls.clear()
    sample_cascade(of, head, 5, replace(CPU, steps=3), lambda *call: calls.append(call))
    assert calls == [(n, 6) for n in range(1, 7)]
