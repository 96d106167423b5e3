"""The linear prior against the closed-form conditional of a Gaussian, on heads that are truly of low rank."""

from __future__ import annotations

import numpy as np
import pytest

from bids_refacer.refacing.fields import SKIN_LIMIT, Fields
from bids_refacer.refacing.prior import BLOCKS, Block, LinearPrior, known_weight

SHAPE = (6, 5, 4)
SIZE = 120


def make(modes: int = 4, noise: float = 0.01, seed: int = 0, frozen: int = 20) -> LinearPrior:
    """A small prior, amplitudes far from the clipping; in every block, `frozen` voxels never vary."""
    rng, blocks = np.random.default_rng(seed), {}
    for name in BLOCKS:
        support = np.ones(SIZE, bool)
        support[rng.choice(SIZE, frozen, replace=False)] = False
        basis = rng.normal(0, 0.1, (modes, support.sum())).astype(np.float32)
        blocks[name] = Block(rng.uniform(-0.3, 0.3, SHAPE).astype(np.float32), basis, support.reshape(SHAPE))
    return LinearPrior(blocks, noise)


def draw(prior: LinearPrior, n: int, rng: np.random.Generator, noise: float = 0.0) -> dict[str, np.ndarray]:
    """Heads of the prior: (n, i, j, k) float32 for each block, with the same scores in all of them."""
    z = rng.normal(size=(n, len(prior.blocks["skin"].modes)))
    heads = {}
    for name, block in prior.blocks.items():
        heads[name] = np.repeat(block.mean[None], n, axis=0).astype(np.float32)
        heads[name][:, block.support] += z @ block.modes + rng.normal(0, noise, (n, block.support.sum()))
    return heads


def closed_form(prior: LinearPrior, values: np.ndarray, known: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """E[fields | known intensities] from dense covariances: C_fs (C_ss + noise / weight^2)^-1 (x_s - mean_s).

    The weights are spelled out voxel by voxel; a weight w is the same as a noise that is 1 / w times as strong.
    """
    far = np.argwhere(unknown)
    weight = np.ones(SHAPE)
    for place in np.argwhere(known):
        if len(far):
            weight[tuple(place)] = np.exp(-4 * np.sqrt(((far - place) ** 2).sum(1)).min() / 20)
    block = prior.blocks["intensity"]
    seen = known[block.support]
    modes = block.modes.astype(np.float64)[:, seen]
    total = modes.T @ modes + np.diag(prior.noise / weight[block.support][seen] ** 2)
    scores = modes @ np.linalg.solve(total, (values - block.mean)[block.support][seen].astype(np.float64))
    fields = []
    for name in ("skin", "tissue"):
        field = prior.blocks[name].mean.astype(np.float64)
        field[prior.blocks[name].support] += scores @ prior.blocks[name].modes
        fields.append(field)
    return np.stack(fields)


def both(fields: Fields) -> np.ndarray:
    return np.stack([fields.skin, fields.tissue])


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("noise", [1e-3, 0.05, 3.0])
def test_the_expected_fields_are_those_of_the_gaussian(share: float, noise: float) -> None:
    prior, rng = make(noise=noise), np.random.default_rng(1)
    values, known = draw(prior, 1, rng, noise=0.05)["intensity"][0], rng.random(SHAPE) < share
    unknown = ~known & (rng.random(SHAPE) < 0.3)  # the others lie outside the field of view
    got = both(prior.conditional_fields(values, known, unknown))
    np.testing.assert_allclose(got, closed_form(prior, values, known, unknown), atol=2e-4)
    assert got.dtype == np.float32 and got.shape == (2, *SHAPE)


def test_the_covariance_is_of_what_the_known_voxels_leave_open() -> None:
    """(I + modes weight^2 modes^T / noise)^-1, which is I where nothing is known; all of a mode that is not seen."""
    prior, rng = make(noise=0.05), np.random.default_rng(1)
    values, known = draw(prior, 1, rng)["intensity"][0], rng.random(SHAPE) < 0.3
    got = prior.fitted(values, known, ~known).covariance
    block, weight = prior.blocks["intensity"], known_weight(known, ~known)
    modes = block.modes.astype(np.float64) * weight[block.support]
    np.testing.assert_allclose(np.linalg.inv(got), np.eye(len(modes)) + modes @ modes.T / prior.noise, rtol=1e-4)
    nothing = prior.fitted(values, np.zeros_like(known), known)
    np.testing.assert_allclose(nothing.covariance, np.eye(len(modes)), atol=1e-12)


def test_modes_at_voxels_are_those_of_the_support_and_0_elsewhere() -> None:
    block = make().blocks["skin"]
    voxels = np.argwhere(np.ones(SHAPE, bool))[::3]
    got = block.modes_at(voxels)
    for number in range(len(block.modes)):
        whole = np.zeros(SHAPE, np.float32)
        whole[block.support] = block.modes[number]
        np.testing.assert_array_equal(got[number], whole[tuple(voxels.T)])
    assert got.dtype == np.float32 and (got == 0).any() and not block.support.all()


@pytest.mark.parametrize("where", ["nowhere", "outside the support", "one voxel", "a slab"])
def test_any_mask_will_do(where: str) -> None:
    prior, rng = make(), np.random.default_rng(2)
    known, support = np.zeros(SHAPE, bool), prior.blocks["intensity"].support
    if where == "outside the support":
        known = ~support
    elif where == "one voxel":
        known[tuple(np.argwhere(support)[3])] = True
    elif where == "a slab":
        known[:, 2] = True
    values = draw(prior, 1, rng)["intensity"][0]
    got = both(prior.conditional_fields(values, known, ~known))
    np.testing.assert_allclose(got, closed_form(prior, values, known, ~known), atol=2e-4)
    if where in ("nowhere", "outside the support"):
        np.testing.assert_array_equal(got, [prior.blocks["skin"].mean, prior.blocks["tissue"].mean])


@pytest.mark.parametrize("hidden", [77.0, np.nan])
def test_voxels_that_are_not_known_are_not_read(hidden: float) -> None:
    prior, rng = make(), np.random.default_rng(3)
    values, known = draw(prior, 1, rng)["intensity"][0], rng.random(SHAPE) < 0.5
    unknown = ~known & (rng.random(SHAPE) < 0.5)
    other = np.where(known, values, hidden).astype(np.float32)
    np.testing.assert_array_equal(
        prior.fitted(other, known, unknown).scores, prior.fitted(values, known, unknown).scores
    )
    moved = np.where(known, values + 0.1, values).astype(np.float32)
    assert (prior.fitted(moved, known, unknown).scores != prior.fitted(values, known, unknown).scores).all()


def test_a_known_voxel_counts_1_over_e_at_20_mm() -> None:
    known = np.ones((12, 2, 2), bool)
    unknown = np.zeros_like(known)
    known[0], unknown[0], known[7] = False, True, False
    got = known_weight(known, unknown)
    wanted = np.exp(-4 * np.arange(12) / 20)
    wanted[[0, 7]] = 0
    np.testing.assert_allclose(got, np.broadcast_to(wanted[:, None, None], got.shape), rtol=1e-6)
    assert got[5, 0, 0] == pytest.approx(1 / np.e) and got.dtype == np.float32


def test_without_an_unknown_voxel_all_known_ones_count_the_same() -> None:
    known = np.random.default_rng(0).random(SHAPE) < 0.5
    np.testing.assert_array_equal(known_weight(known, np.zeros(SHAPE, bool)), known)


def test_what_lies_very_far_is_not_read_at_all() -> None:
    """Under a weight of 0.01, 92 mm away: 23 voxels."""
    shape, rng = (30, 2, 2), np.random.default_rng(4)
    support = np.ones(shape, bool)
    one = Block(np.zeros(shape, np.float32), rng.normal(0, 0.1, (3, 120)).astype(np.float32), support)
    prior = LinearPrior(dict.fromkeys(BLOCKS, one), 0.1)
    unknown = np.zeros(shape, bool)
    unknown[0] = True
    values = rng.normal(0, 0.1, shape).astype(np.float32)
    before = prior.fitted(values, ~unknown, unknown).scores
    for place, heard in ((24, False), (22, True)):
        other = values.copy()
        other[place] += 1
        assert (prior.fitted(other, ~unknown, unknown).scores != before).any() == heard


def test_the_prior_is_left_as_it_was() -> None:
    prior = make()
    before = {name: block.mean.copy() for name, block in prior.blocks.items()}
    known = np.ones(SHAPE, bool)
    prior.conditional_fields(np.ones(SHAPE, np.float32), known, ~known)
    for name, mean in before.items():
        np.testing.assert_array_equal(prior.blocks[name].mean, mean)


def test_the_fields_stay_in_their_ranges() -> None:
    known = np.random.default_rng(4).random(SHAPE) < 0.5
    skin, tissue = both(make().conditional_fields(np.full(SHAPE, 50, np.float32), known, ~known))
    assert (skin.min(), skin.max()) == (-SKIN_LIMIT, SKIN_LIMIT)
    assert (tissue.min(), tissue.max()) == (-1, 1)


def test_a_block_is_its_mean_and_its_modes() -> None:
    block, z = make().blocks["skin"], np.array([1.0, -2.0, 0.5, 3.0])
    got = block.at(z)
    np.testing.assert_allclose(got[block.support], block.mean[block.support] + z @ block.modes, atol=1e-6)
    np.testing.assert_array_equal(got[~block.support], block.mean[~block.support])
    mask = np.random.default_rng(1).random(SHAPE) < 0.5
    part = block.inside(mask).at(z)
    np.testing.assert_allclose(part, np.where(mask, got, block.mean), atol=1e-6)
