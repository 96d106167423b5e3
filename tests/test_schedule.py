"""Noise levels against Karras et al. 2022 (arXiv 2206.00364), equation 5 and table 1."""

from __future__ import annotations

import math

import pytest
import torch

from bids_refacer.diffusion.schedule import karras_sigmas, lognormal_sigmas


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
@pytest.mark.parametrize("steps", [2, 5, 18])
def test_levels_are_those_of_equation_5(steps: int, rho: float) -> None:
    low, high = 0.002, 80.0
    sigmas = karras_sigmas(steps, low, high, rho)
    assert sigmas.dtype == torch.float64 and sigmas.shape == (steps + 1,)
    for i in range(steps):
        root = high ** (1 / rho) + i / (steps - 1) * (low ** (1 / rho) - high ** (1 / rho))
        assert sigmas[i].item() == pytest.approx(root**rho, rel=1e-12)
    assert sigmas[0].item() == pytest.approx(high, rel=1e-12)
    assert sigmas[-2].item() == pytest.approx(low, rel=1e-9)
    assert sigmas[-1].item() == 0
    assert (sigmas.diff() < 0).all()


def test_rho_1_is_linear_and_a_larger_rho_lowers_the_middle() -> None:
    linear = karras_sigmas(11, 1.0, 11.0, 1.0)[:-1]
    torch.testing.assert_close(linear, torch.arange(11.0, 0.0, -1.0, dtype=torch.float64))
    assert karras_sigmas(11, 1.0, 11.0, 7.0)[5] < karras_sigmas(11, 1.0, 11.0, 3.0)[5] < linear[5]


def test_rho_is_7_unless_said_otherwise() -> None:
    assert torch.equal(karras_sigmas(9, 0.002, 80.0), karras_sigmas(9, 0.002, 80.0, 7.0))


def test_one_step_goes_from_the_highest_level_to_zero() -> None:
    torch.testing.assert_close(karras_sigmas(1, 0.01, 5.0), torch.tensor([5.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 step, not {steps}"):
        karras_sigmas(steps, 0.01, 1.0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_levels_out_of_order_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must satisfy 0 < sigma_min < sigma_max"):
        karras_sigmas(5, low, high)


def test_training_levels_are_lognormal() -> None:
    uniform = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    logs = lognormal_sigmas(uniform, -1.2, 0.7).log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=1e-6)
    assert logs.std().item() == pytest.approx(0.7, abs=2e-3)
    # one standard deviation above the mean is the 84.13th percentile
    high = lognormal_sigmas(torch.tensor([0.8413447460685429], dtype=torch.float64), -1.2, 0.7)
    assert high.item() == pytest.approx(math.exp(-0.5), rel=1e-9)


def test_training_levels_are_finite_at_the_ends() -> None:
    ends = lognormal_sigmas(torch.tensor([0.0, 1.0]), -1.2, 1.2)
    assert torch.isfinite(ends).all() and (ends > 0).all()
