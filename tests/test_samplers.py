"""Samplers with exact denoisers, whose probability-flow solutions are known.

For data N(m, s^2) in every voxel the denoiser is D(x; sigma) = m + s^2 / (s^2 + sigma^2) (x - m), and the ordinary
differential equation dx/dsigma = (x - D) / sigma carries x(sigma_max) to m + s (x - m) / sqrt(s^2 + sigma_max^2).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bids_refacer.diffusion.denoiser import Denoise
from bids_refacer.diffusion.samplers import SAMPLERS, ddpm, dpmpp2m, heun
from bids_refacer.diffusion.schedule import karras_sigmas

MEAN, STD = 0.3, 0.5
LOW, HIGH = 0.01, 10.0
SHAPE = (1, 2, 2, 2)
DETERMINISTIC = ["heun", "dpmpp2m"]


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    variance = sigma.reshape(-1, 1, 1, 1, 1) ** 2
    return MEAN + STD**2 / (STD**2 + variance) * (x - MEAN)


def mixture(x: Tensor, sigma: Tensor, centre: float = 1.0, std: float = 0.2) -> Tensor:
    """Exact denoiser of the same two components, at -centre and +centre, in every voxel."""
    variance = sigma.reshape(-1, 1, 1, 1, 1) ** 2
    total = std**2 + variance
    high = torch.sigmoid(2 * centre * x / total)
    return (std**2 * x + variance * centre * (2 * high - 1)) / total


def flow(x: Tensor, start: float, end: float) -> Tensor:
    """The closed-form solution for `gaussian`."""
    return MEAN + (x - MEAN) * math.sqrt((STD**2 + end**2) / (STD**2 + start**2))


def no_noise(step: int) -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def run(name: str, denoise: Denoise, noise: Tensor, sigmas: Tensor, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    draw = (lambda step: torch.randn(noise.shape, generator=generator)) if name == "ddpm" else no_noise
    return SAMPLERS[name](denoise, noise, sigmas, draw, lambda step: None)


def start(n: int = 8, seed: int = 0) -> Tensor:
    return torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(seed))


def error_to_flow(name: str, steps: int) -> float:
    """Largest difference from the closed form at sigma_min, seen through the exact denoiser that ends every sampler."""
    sigmas = karras_sigmas(steps, LOW, HIGH)
    noise = start().double()
    truth = gaussian(flow(noise * HIGH, HIGH, LOW), torch.tensor([LOW]))
    return (run(name, gaussian, noise, sigmas).double() - truth).abs().max().item()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_gaussian_is_mapped_as_the_closed_form_says(name: str) -> None:
    noise = start()
    truth = flow(noise * HIGH, HIGH, 0)
    got = run(name, gaussian, noise, karras_sigmas(160, LOW, HIGH))
    torch.testing.assert_close(got, truth, atol=1e-3, rtol=0)
    assert truth.std() > 0.3  # the test has something to see


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_error_is_of_second_order(name: str) -> None:
    errors = [error_to_flow(name, steps) for steps in (20, 40, 80)]
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert all(1.7 < order < 2.6 for order in orders), (errors, orders)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_few_steps_are_near_enough_to_be_of_use(name: str) -> None:
    assert error_to_flow(name, 20) < 0.04


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_mixture_is_mapped_to_its_quantiles(name: str) -> None:
    """The flow of one-dimensional data keeps quantiles: Phi(start) must be the mixture's distribution function."""
    noise = torch.linspace(-2, 2, 24).reshape(3, *SHAPE)
    got = run(name, mixture, noise, karras_sigmas(200, 0.002, 80.0)).double().flatten()

    def normal(z: Tensor) -> Tensor:
        return torch.special.ndtr(z)

    quantile = (normal((got - 1) / 0.2) + normal((got + 1) / 0.2)) / 2
    torch.testing.assert_close(quantile, normal(noise.flatten().double()), atol=2e-3, rtol=0)
    assert (got > 0.5).any() and (got < -0.5).any()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_error_on_a_mixture_falls_faster_than_first_order(name: str) -> None:
    """Nonlinear denoisers separate samplers that a linear one cannot."""
    noise = start(4)
    truth = run("heun", mixture, noise, karras_sigmas(640, LOW, HIGH))
    coarse, fine = (
        (run(name, mixture, noise, karras_sigmas(steps, LOW, HIGH)) - truth).abs().mean().item() for steps in (40, 80)
    )
    assert coarse / fine > 2.8, (coarse, fine)


def lu_algorithm_2(denoise: Denoise, x: Tensor, sigmas: list[float]) -> Tensor:
    """A literal twin: Lu et al. 2022, algorithm 2, with alpha = 1, lambda = -log sigma, and the buffer Q as a list."""
    lambdas = [-math.log(sigma) for sigma in sigmas]
    buffer = [denoise(x.float(), torch.tensor([sigmas[0]])).double()]
    for i in range(1, len(sigmas)):
        h = lambdas[i] - lambdas[i - 1]
        if i == 1:
            d = buffer[0]
        else:
            r = (lambdas[i - 1] - lambdas[i - 2]) / h
            d = (1 + 1 / (2 * r)) * buffer[i - 1] - 1 / (2 * r) * buffer[i - 2]
        x = sigmas[i] / sigmas[i - 1] * x - (math.exp(-h) - 1) * d
        buffer.append(denoise(x.float(), torch.tensor([sigmas[i]])).double())
    return buffer[-1]


@pytest.mark.parametrize("denoise", [gaussian, mixture])
def test_dpmpp2m_is_algorithm_2_with_uneven_steps_too(denoise: Denoise) -> None:
    """The memory is weighed by the ratio of two steps, which evenly spaced levels would not show."""
    levels = [10.0, 4.0, 3.5, 1.2, 1.0, 0.3, 0.28, 0.05, 0.01]
    noise = start()
    got = run("dpmpp2m", denoise, noise, torch.tensor([*levels, 0.0], dtype=torch.float64))
    expected = lu_algorithm_2(denoise, noise.double() * levels[0], levels)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)


def chain_moments(sigmas: Tensor) -> tuple[float, float]:
    """Exact mean and variance at the end of the ancestral chain for `gaussian`: x' = r x + (1 - r) D(x) + sd z."""
    levels = sigmas.tolist()
    mean, variance = 0.0, levels[0] ** 2
    for now, after in zip(levels, levels[1:], strict=False):
        ratio = after**2 / now**2
        gain = STD**2 / (STD**2 + now**2)
        slope = ratio + (1 - ratio) * gain
        mean = slope * mean + (1 - ratio) * (1 - gain) * MEAN
        variance = slope**2 * variance + after**2 * (1 - ratio)
    return mean, variance


@pytest.mark.parametrize("steps", [1, 2, 4, 10, 100])
def test_ddpm_has_the_moments_of_its_chain(steps: int) -> None:
    sigmas = karras_sigmas(steps, LOW, HIGH)
    got = run("ddpm", gaussian, start(4000, seed=5), sigmas, seed=6).double()
    mean, variance = chain_moments(sigmas)
    standard_error = math.sqrt(variance / got.numel())
    assert got.mean().item() == pytest.approx(mean, abs=5 * standard_error)
    assert got.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / got.numel()))


def test_ddpm_with_many_steps_samples_the_data() -> None:
    got = run("ddpm", gaussian, start(4000, seed=7), karras_sigmas(200, LOW, HIGH), seed=8).double()
    assert got.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert got.std().item() == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize("steps", [2, 3, 5, 50])
def test_a_shortened_chain_keeps_the_marginals_when_the_clean_image_is_known(steps: int) -> None:
    """With D = the true x0, x at level sigma is N(x0, sigma^2) at every step of any chain: the posterior is its own."""
    truth, sigmas, seen = 0.7, karras_sigmas(steps, LOW, HIGH), []

    def oracle(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append((sigma[0].item(), x.double()))
        return torch.full_like(x, truth)

    generator = torch.Generator().manual_seed(3)
    noise = torch.randn((4000, *SHAPE), generator=generator) + truth / HIGH  # N(x0, sigma_max^2) after scaling
    got = ddpm(oracle, noise, sigmas, lambda step: torch.randn(noise.shape, generator=generator), lambda step: None)
    assert len(seen) == steps
    for sigma, x in seen:
        assert ((x - truth) / sigma).mean().item() == pytest.approx(0, abs=0.03)
        assert ((x - truth) / sigma).std().item() == pytest.approx(1, rel=0.02)
    torch.testing.assert_close(got, torch.full_like(got, truth))


def test_ddpm_finds_both_components_of_a_mixture() -> None:
    got = run("ddpm", mixture, start(1000, seed=1), karras_sigmas(100, LOW, HIGH), seed=2).double()
    assert (got > 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert got.abs().mean().item() == pytest.approx(1.0, abs=0.02)
    assert (got.abs() - 1).std().item() == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_callback_is_called_once_a_step(name: str, steps: int) -> None:
    calls: list[int] = []
    noise = start(2)
    SAMPLERS[name](gaussian, noise, karras_sigmas(steps, LOW, HIGH), lambda step: torch.randn_like(noise), calls.append)
    assert calls == list(range(steps))


@pytest.mark.parametrize(("sampler", "calls_expected"), [(heun, 13), (dpmpp2m, 7), (ddpm, 7)])
def test_number_of_network_calls(sampler, calls_expected: int) -> None:
    calls: list[Tensor] = []

    def counting(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(sigma)
        return gaussian(x, sigma)

    noise = start(3)
    sampler(counting, noise, karras_sigmas(7, LOW, HIGH), lambda step: torch.randn_like(noise), lambda step: None)
    assert len(calls) == calls_expected
    assert all(sigma.shape == (3,) and sigma.dtype == torch.float32 and (sigma > 0).all() for sigma in calls)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_one_step_returns_the_denoised_start(name: str) -> None:
    noise = start(2)
    got = run(name, gaussian, noise, karras_sigmas(1, LOW, HIGH))
    torch.testing.assert_close(got, gaussian(noise * HIGH, torch.tensor([HIGH])))
    assert got.dtype == torch.float32


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("denoise", [gaussian, mixture])
def test_a_sample_does_not_depend_on_its_batch(name: str, denoise: Denoise) -> None:
    noise, sigmas = start(5), karras_sigmas(9, LOW, HIGH)
    fresh = torch.randn((9, *noise.shape), generator=torch.Generator().manual_seed(4))
    together = SAMPLERS[name](denoise, noise, sigmas, lambda step: fresh[step], lambda step: None)
    for i in range(5):
        pick = slice(i, i + 1)
        alone = SAMPLERS[name](denoise, noise[pick], sigmas, lambda step, p=pick: fresh[step][p], lambda step: None)
        torch.testing.assert_close(alone, together[pick], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_channels_are_sampled_side_by_side(name: str) -> None:
    """Two channels with denoisers of their own: each is what it would be alone, from the same noise."""
    noise = torch.randn((3, 2, 2, 2, 2), generator=torch.Generator().manual_seed(9))
    fresh = torch.randn((9, *noise.shape), generator=torch.Generator().manual_seed(4))
    sigmas, own = karras_sigmas(9, LOW, HIGH), (gaussian, mixture)

    def both(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.cat([denoise(x[:, c : c + 1], sigma) for c, denoise in enumerate(own)], dim=1)

    together = SAMPLERS[name](both, noise, sigmas, lambda step: fresh[step], lambda step: None)
    for c, denoise in enumerate(own):
        pick = slice(c, c + 1)
        alone = SAMPLERS[name](
            denoise, noise[:, pick], sigmas, lambda step, p=pick: fresh[step][:, p], lambda step: None
        )
        torch.testing.assert_close(alone, together[:, pick], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_the_start_is_left_as_it_was(name: str) -> None:
    noise = start(2)
    before = noise.clone()
    run(name, gaussian, noise, karras_sigmas(4, LOW, HIGH))
    assert torch.equal(noise, before)
