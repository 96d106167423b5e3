"""Estimating the linear prior from heads with missing voxels, which are truly of low rank."""

from __future__ import annotations

import numpy as np
import pytest
from test_prior import SHAPE, draw, make

from bids_refacer.refacing.prior import BLOCKS, LinearPrior, fit_prior

Volumes = dict[str, np.ndarray]


def all_seen(heads: Volumes) -> Volumes:
    return {name: np.ones(volumes.shape, bool) for name, volumes in heads.items()}


def some_seen(heads: Volumes, missing: float, rng: np.random.Generator) -> Volumes:
    return {name: rng.random(volumes.shape) >= missing for name, volumes in heads.items()}


def errors(prior: LinearPrior, heads: Volumes, known: np.ndarray) -> np.ndarray:
    """Mean error of skin and tissue of every head, from its known intensities."""
    hidden = np.stack([~known & prior.blocks[name].support for name in ("skin", "tissue")])
    rows = zip(heads["intensity"], heads["skin"], heads["tissue"], strict=True)
    found = [(prior.conditional_fields(v, known, ~known), s, t) for v, s, t in rows]
    return np.array([np.abs(np.stack([f.skin - s, f.tissue - t]))[hidden].mean() for f, s, t in found])


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_fields_of_new_heads_are_found_from_half_of_their_intensities(missing: float) -> None:
    truth, rng = make(), np.random.default_rng(5)
    heads, new = draw(truth, 60, rng), draw(truth, 20, rng)
    seen = some_seen(heads, missing, rng)
    garbage = {n: np.where(seen[n], v, rng.uniform(-1, 1, v.shape)).astype(np.float32) for n, v in heads.items()}
    prior = fit_prior(garbage, seen, modes=4, noise=1e-4)
    known = rng.random(SHAPE) < 0.5
    spread = np.abs(new["skin"] - prior.blocks["skin"].mean)[:, prior.blocks["skin"].support].mean()
    assert spread > 0.1
    assert errors(prior, new, known).mean() < (0.01 if missing == 0 else 0.03)


def test_missing_voxels_are_filled_from_the_others() -> None:
    """Heads of rank four, a fifth of their voxels missing: the rounds find what the mean cannot."""
    truth, rng = make(), np.random.default_rng(11)
    heads = draw(truth, 60, rng)
    seen, known, new = some_seen(heads, 0.2, rng), rng.random(SHAPE) < 0.5, draw(truth, 20, rng)
    found = [
        errors(fit_prior(heads, seen, modes=4, noise=1e-4, rounds=rounds), new, known).mean() for rounds in (0, 6, 40)
    ]
    assert found[2] < 0.002, found
    assert found[1] < 0.5 * found[0], found


def test_the_fitted_covariance_is_that_of_the_sample() -> None:
    truth = make()
    heads = draw(truth, 60, np.random.default_rng(7))
    prior = fit_prior(heads, all_seen(heads), modes=4, noise=1e-4)
    rows = {}
    for name in BLOCKS:
        block, volumes = prior.blocks[name], heads[name]
        np.testing.assert_array_equal(block.support, truth.blocks[name].support)
        np.testing.assert_allclose(block.mean, volumes.mean(0), atol=1e-5)
        rows[name] = volumes[:, block.support] - volumes[:, block.support].mean(0)
    for one in BLOCKS:
        for other in BLOCKS:  # within a block and between two: what carries intensities over to fields
            got = prior.blocks[one].modes.T @ prior.blocks[other].modes
            np.testing.assert_allclose(got, rows[one].T @ rows[other] / 60, atol=1e-4)


def test_fewer_modes_are_the_largest_of_intensity_and_skin_at_equal_rights() -> None:
    heads = draw(make(), 60, np.random.default_rng(8))
    heads["skin"] = heads["skin"] * 3  # a unit must not decide what counts
    prior = fit_prior(heads, all_seen(heads), modes=2, noise=1e-4)
    centred = {n: (v - v.mean(0))[:, prior.blocks[n].support].astype(np.float64) for n, v in heads.items()}
    both = np.hstack([centred[n] / np.linalg.norm(centred[n]) for n in ("intensity", "skin")])
    directions = np.linalg.svd(both)[0][:, :2]
    for name in BLOCKS:
        wanted = directions.T @ centred[name] / np.sqrt(60)
        modes = prior.blocks[name].modes
        signs = np.sign((modes * wanted).sum(1, keepdims=True))
        np.testing.assert_allclose(signs * modes, wanted, atol=1e-4)


def test_tissue_has_no_say_in_the_modes() -> None:
    heads = draw(make(), 30, np.random.default_rng(8))
    other = {**heads, "tissue": np.random.default_rng(1).normal(0, 1, heads["tissue"].shape).astype(np.float32)}
    first, again = (fit_prior(h, all_seen(h), modes=4, noise=1e-4) for h in (heads, other))
    for name in ("intensity", "skin"):
        np.testing.assert_array_equal(again.blocks[name].modes, first.blocks[name].modes)


def test_what_missing_voxels_hold_does_not_matter() -> None:
    rng = np.random.default_rng(9)
    heads = draw(make(), 30, rng)
    seen = some_seen(heads, 0.2, rng)
    zero, full = (
        fit_prior({n: np.where(seen[n], v, fill).astype(np.float32) for n, v in heads.items()}, seen, 4, 1e-3)
        for fill in (0, 0.9)
    )
    for name in BLOCKS:
        a, b = zero.blocks[name], full.blocks[name]
        np.testing.assert_allclose(b.mean, a.mean, atol=1e-6)
        np.testing.assert_allclose(b.modes.T @ b.modes, a.modes.T @ a.modes, atol=1e-6)


def test_voxels_that_no_head_shows_keep_what_they_are_filled_with_and_do_not_vary() -> None:
    heads = draw(make(), 30, np.random.default_rng(10))
    seen = all_seen(heads)
    for name in BLOCKS:
        seen[name][:, 0], heads[name][:, 0] = False, -1
    prior = fit_prior(heads, seen, modes=4, noise=1e-3)
    for name in BLOCKS:
        np.testing.assert_array_equal(prior.blocks[name].mean[0], -1)
        assert not prior.blocks[name].support[0].any()


def test_voxels_that_hardly_vary_are_left_out() -> None:
    heads = draw(make(), 30, np.random.default_rng(12))
    for name, least in (("intensity", 0.02), ("skin", 0.02), ("tissue", 0.03)):
        wave = np.tile([1.0, -1.0], 15)[:, None]  # standard deviation 1
        heads[name][:, 0, 0, :2] = wave * [0.9 * least, 1.1 * least]
    prior = fit_prior(heads, all_seen(heads), modes=4, noise=1e-3)
    for name in BLOCKS:
        assert prior.blocks[name].support[0, 0, :2].tolist() == [False, True], name


def test_tissue_is_not_modelled_where_no_face_reaches() -> None:
    heads = draw(make(frozen=0), 30, np.random.default_rng(13))
    heads["skin"][:, 0] += 1.9
    prior = fit_prior(heads, all_seen(heads), modes=4, noise=1e-3)
    far = prior.blocks["skin"].mean >= 1.5
    assert far[0].all() and not far[1:].any()
    np.testing.assert_array_equal(prior.blocks["tissue"].support, ~far)
    assert prior.blocks["skin"].support.all() and prior.blocks["intensity"].support.all()
    assert prior.blocks["tissue"].modes.shape == (4, (~far).sum())
