"""The linear prior against the closed-form conditional of a Gaussian, on heads that are truly of low rank."""

from __future__ import annotations

import numpy as np
import pytest

from bids_refacer.volumes.prior import LinearPrior, fit_prior

SHAPE = (6, 5, 4)
SIZE = 120


def make(modes: int = 4, noise: float = 0.01, seed: int = 0, frozen: int = 20) -> LinearPrior:
    """A small prior, amplitudes far from the clipping at -1 and 1; `frozen` voxels never vary."""
    rng = np.random.default_rng(seed)
    support = np.ones(SIZE, bool)
    support[rng.choice(SIZE, frozen, replace=False)] = False
    basis = rng.normal(0, 0.1, (modes, support.sum())).astype(np.float32)
    mean = rng.uniform(-0.3, 0.3, SHAPE).astype(np.float32)
    return LinearPrior(mean, basis, support.reshape(SHAPE), noise)


def draw(prior: LinearPrior, n: int, rng: np.random.Generator, noise: float = 0.0) -> np.ndarray:
    heads = np.repeat(prior.mean[None], n, axis=0).astype(np.float64)
    z = rng.normal(size=(n, len(prior.modes)))
    heads[:, prior.support] += z @ prior.modes + rng.normal(0, noise, (n, prior.support.sum()))
    return heads.astype(np.float32)


def closed_form(prior: LinearPrior, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """E[modes z | known voxels] from the covariance of the voxels: C_us (C_ss + noise I)^-1 (x_s - mean_s)."""
    covariance = (prior.modes.T @ prior.modes).astype(np.float64)
    seen = known[prior.support]
    total = covariance[np.ix_(seen, seen)] + prior.noise * np.eye(seen.sum())
    difference = (values - prior.mean)[prior.support][seen].astype(np.float64)
    result = prior.mean.astype(np.float64)
    result[prior.support] += covariance[:, seen] @ np.linalg.solve(total, difference)
    return result


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("noise", [1e-3, 0.05, 3.0])
def test_the_conditional_mean_is_that_of_the_gaussian(share: float, noise: float) -> None:
    prior, rng = make(noise=noise), np.random.default_rng(1)
    values, known = draw(prior, 1, rng, noise=0.05)[0], rng.random(SHAPE) < share
    got = prior.conditional_mean(values, known)
    np.testing.assert_allclose(got, closed_form(prior, values, known), atol=2e-4)
    assert got.dtype == np.float32 and got.shape == SHAPE


@pytest.mark.parametrize("where", ["nowhere", "outside the support", "one voxel", "a slab"])
def test_any_mask_will_do(where: str) -> None:
    prior, rng = make(), np.random.default_rng(2)
    known = np.zeros(SHAPE, bool)
    if where == "outside the support":
        known = ~prior.support
    elif where == "one voxel":
        known[tuple(np.argwhere(prior.support)[3])] = True
    elif where == "a slab":
        known[:, 2] = True
    values = draw(prior, 1, rng)[0]
    got = prior.conditional_mean(values, known)
    np.testing.assert_allclose(got, closed_form(prior, values, known), atol=2e-4)
    if where in ("nowhere", "outside the support"):
        np.testing.assert_array_equal(got, prior.mean)


def test_unknown_voxels_are_not_read() -> None:
    prior, rng = make(), np.random.default_rng(3)
    values, known = draw(prior, 1, rng)[0], rng.random(SHAPE) < 0.5
    other = np.where(known, values, 77).astype(np.float32)
    np.testing.assert_array_equal(prior.conditional_mean(other, known), prior.conditional_mean(values, known))


def test_the_prior_is_left_as_it_was() -> None:
    prior = make()
    before = prior.mean.copy()
    prior.conditional_mean(np.ones(SHAPE, np.float32), np.ones(SHAPE, bool))
    np.testing.assert_array_equal(prior.mean, before)


def test_the_estimate_stays_in_the_range_of_the_model() -> None:
    got = make().conditional_mean(np.full(SHAPE, 50, np.float32), np.random.default_rng(4).random(SHAPE) < 0.5)
    assert got.min() >= -1 and got.max() <= 1


def fit(missing: float, seed: int = 5, n: int = 60) -> tuple[LinearPrior, np.ndarray]:
    truth, rng = make(), np.random.default_rng(seed)
    heads, seen = draw(truth, n, rng), rng.random((n, *SHAPE)) >= missing
    garbage = np.where(seen, heads, rng.uniform(-1, 1, heads.shape)).astype(np.float32)
    return fit_prior(garbage, seen, modes=4, noise=1e-4), draw(truth, 20, np.random.default_rng(seed + 1))


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_new_heads_are_completed_from_half_of_their_voxels(missing: float) -> None:
    prior, heads = fit(missing)
    known = np.random.default_rng(6).random(SHAPE) < 0.5
    errors = [np.abs(prior.conditional_mean(head, known) - head)[~known & prior.support].mean() for head in heads]
    spread = np.abs(heads - prior.mean)[:, ~known & prior.support].mean()
    assert spread > 0.1
    assert np.mean(errors) < (0.01 if missing == 0 else 0.03)


def test_missing_voxels_are_filled_from_the_others() -> None:
    """Heads of rank four, a fifth of their voxels missing: the rounds find what the mean cannot."""
    truth, rng = make(), np.random.default_rng(11)
    heads, seen = draw(truth, 60, rng), rng.random((60, *SHAPE)) >= 0.2
    known, new = rng.random(SHAPE) < 0.5, draw(truth, 20, rng)
    errors = []
    for rounds in (0, 6, 40):
        prior = fit_prior(heads, seen, modes=4, noise=1e-4, rounds=rounds)
        hidden = ~known & prior.support
        errors.append(np.mean([np.abs(prior.conditional_mean(head, known) - head)[hidden].mean() for head in new]))
    assert errors[2] < 0.002, errors
    assert errors[1] < 0.5 * errors[0], errors


def test_the_fitted_covariance_is_that_of_the_sample() -> None:
    truth = make()
    heads = draw(truth, 60, np.random.default_rng(7))
    prior = fit_prior(heads, np.ones(heads.shape, bool), modes=4, noise=1e-4)
    np.testing.assert_array_equal(prior.support, truth.support)
    np.testing.assert_allclose(prior.mean, heads.mean(0), atol=1e-5)
    sample = np.cov(heads[:, prior.support].T, bias=True)
    np.testing.assert_allclose(prior.modes.T @ prior.modes, sample, atol=1e-4)


def test_fewer_modes_keep_the_largest() -> None:
    heads = draw(make(), 60, np.random.default_rng(8))
    prior = fit_prior(heads, np.ones(heads.shape, bool), modes=2, noise=1e-4)
    centred = heads[:, prior.support] - heads[:, prior.support].mean(0)
    largest = np.linalg.svd(centred, compute_uv=False)[:2] / np.sqrt(60)
    np.testing.assert_allclose(np.linalg.norm(prior.modes, axis=1), largest, rtol=1e-3)
    assert abs(prior.modes[0] @ prior.modes[1]) < 1e-4


def test_what_missing_voxels_hold_does_not_matter() -> None:
    rng = np.random.default_rng(9)
    heads, seen = draw(make(), 30, rng), rng.random((30, *SHAPE)) < 0.8
    first = fit_prior(np.where(seen, heads, 0).astype(np.float32), seen, modes=4, noise=1e-3)
    again = fit_prior(np.where(seen, heads, 0.9).astype(np.float32), seen, modes=4, noise=1e-3)
    np.testing.assert_allclose(again.mean, first.mean, atol=1e-6)
    np.testing.assert_allclose(again.modes.T @ again.modes, first.modes.T @ first.modes, atol=1e-6)


def test_voxels_that_no_head_shows_are_air_and_do_not_vary() -> None:
    heads, seen = draw(make(), 30, np.random.default_rng(10)), np.ones((30, *SHAPE), bool)
    seen[:, 0] = False
    prior = fit_prior(heads, seen, modes=4, noise=1e-3)
    np.testing.assert_array_equal(prior.mean[0], -1)
    assert not prior.support[0].any()
