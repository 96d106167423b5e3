"""Kriging against its dense closed form, and the linear estimate anchored on known skin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from tiny_models import fields_of, prior_around

from bids_refacer.refacing import kriging
from bids_refacer.refacing.estimate import SHARE, kriged_fields, linear_fields
from bids_refacer.refacing.fields import Fields
from bids_refacer.refacing.kriging import (
    ANCHOR_STD,
    CARRY_MM,
    LENGTH_MM,
    REMAINDER_STD,
    TAPER_MM,
    VIEW_MM,
    ErrorCovariance,
    krige,
)
from bids_refacer.refacing.prior import FIELD_SPACING, Block, LinearPrior
from bids_refacer.refacing.unknown import Level

SHAPE = (16, 18, 20)
MODES = 3
EVERYWHERE = np.ones(SHAPE, bool)


@pytest.fixture
def unknown() -> np.ndarray:
    unknown = np.zeros(SHAPE, bool)
    unknown[4:12, 10:, 5:15] = True
    return unknown


def covariance(seed: int = 0, modes: float = 0.2, scores: np.ndarray | None = None) -> ErrorCovariance:
    """Random modes of that standard deviation, and scores that are as open as before anything is known."""
    rng = np.random.default_rng(seed)
    support = np.ones(SHAPE, bool)
    support[0] = False
    values = rng.normal(0, modes, (MODES, int(support.sum()))).astype(np.float32)
    block = Block(np.zeros(SHAPE, np.float32), values, support)
    return ErrorCovariance(block, block, np.eye(MODES) if scores is None else scores)


def everywhere(mode: np.ndarray, scores: float = 1.0) -> ErrorCovariance:
    """One mode, (i, j, k)."""
    support = np.ones(SHAPE, bool)
    block = Block(np.zeros(SHAPE, np.float32), mode[support][None], support)
    return ErrorCovariance(block, block, np.array([[scores]]))


def kriged(errors: np.ndarray, *where: np.ndarray | ErrorCovariance, shares: bool = True) -> tuple[np.ndarray, ...]:
    """`krige` of (i, j, k) errors that both fields have: what is expected of them, and what is left open."""
    expected, left_open = krige(Fields(errors, errors), *where, shares=shares)  # type: ignore[arg-type]
    for parts in (expected, left_open):
        np.testing.assert_array_equal(parts.skin, parts.tissue)
    return expected.skin, left_open.skin


def dense(
    block: Block, scores: np.ndarray, errors: np.ndarray, seen: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """k(x, a) (k(a, a) + noise)^-1 e and what is left of k(x, x), voxel by voxel: (n,) for places (n, 3)."""
    modes = np.zeros((MODES, *SHAPE))
    modes[:, block.support] = block.modes

    def k(a: np.ndarray, b: np.ndarray) -> float:
        distance = 4.0 * float(np.sqrt(((a - b) ** 2).sum()))
        common = float(modes[(slice(None), *a)] @ scores @ modes[(slice(None), *b)])
        taper = np.exp(-((distance / TAPER_MM) ** 2) / 2)
        return common * taper + REMAINDER_STD**2 * float(np.exp(-distance / LENGTH_MM))

    among = np.array([[k(a, b) for b in seen] for a in seen]) + ANCHOR_STD**2 * np.eye(len(seen))
    gain = np.array([[k(x, a) for a in seen] for x in places]) @ np.linalg.inv(among)
    left = [1 - gain[n] @ [k(x, a) for a in seen] / k(x, x) for n, x in enumerate(places)]
    return gain @ errors, np.array(left)


def test_an_anchor_that_the_others_deny_counts_little(unknown: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model, anchors = everywhere(np.ones(SHAPE, np.float32)), ~unknown
    clean, wild = np.full(SHAPE, 0.1), np.full(SHAPE, 0.1)
    distance = ndimage.distance_transform_edt(unknown == 0)
    wild[anchors & (distance < 1.5) & (np.arange(SHAPE[0]) % 4 == 0)[:, None, None]] = 5.0
    robust = [kriged(errors, anchors, unknown, EVERYWHERE, model)[0][unknown].mean() for errors in (clean, wild)]
    monkeypatch.setattr(kriging, "ANCHOR_FREEDOM", 1e12)
    normal = kriged(wild, anchors, unknown, EVERYWHERE, model)[0][unknown].mean()
    assert robust[0] == pytest.approx(0.1, abs=0.01)
    assert abs(robust[1] - robust[0]) < 0.1 * abs(normal - robust[0])


def test_it_is_the_conditional_mean_of_a_gaussian_process(unknown: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kriging, "_AT_ONCE", 100)  # pieces, as in a large region
    monkeypatch.setattr(kriging, "ANCHOR_FREEDOM", 1e12)  # Student's t as a normal distribution
    rng, anchors = np.random.default_rng(0), np.zeros(SHAPE, bool)
    errors = Fields(*rng.normal(0, 1, (2, *SHAPE)))
    anchors[tuple(rng.integers(0, 8, (3, 25)))] = True  # a corner that is known
    anchors &= ~unknown
    wide = rng.normal(0, 1, (MODES, MODES))
    blocks, scores = [covariance(seed).skin for seed in (1, 2)], wide @ wide.T
    got, left_open = krige(errors, anchors, unknown, EVERYWHERE, ErrorCovariance(*blocks, scores))
    seen, places = np.argwhere(anchors), np.argwhere(unknown)[::17]
    assert len(seen) > 10 and (seen[:, 0] == 0).any(), "some lie where the modes do not reach"
    for name, block in zip(("skin", "tissue"), blocks, strict=True):
        wanted, left = dense(block, scores, getattr(errors, name)[anchors], seen, places)
        np.testing.assert_allclose(getattr(got, name)[tuple(places.T)], wanted, atol=1e-3)
        np.testing.assert_allclose(getattr(left_open, name)[tuple(places.T)], left, atol=1e-3)
        assert left.min() < 0.3 and left.max() > 0.7
    for part in (got.skin, got.tissue):
        assert part.shape == SHAPE and part.dtype == np.float32 and np.abs(part[unknown]).max() > 0.2


def test_an_error_far_away_is_carried_along_the_modes_and_no_farther_than_their_taper(unknown: np.ndarray) -> None:
    """A mode that says that all voxels err alike is believed nearby, and at 3 standard deviations hardly."""
    anchors, alike = np.zeros(SHAPE, bool), np.ones(SHAPE, np.float32)
    anchors[4:12, 6:9, 5] = True
    got = kriged(np.ones(SHAPE), anchors, unknown, EVERYWHERE, everywhere(alike))[0]
    without = kriged(np.ones(SHAPE), anchors, unknown, EVERYWHERE, everywhere(0 * alike))[0]
    near, far = (7, 11, 6), (7, 17, 14)
    assert got[near] > 0.9 and 0.1 < got[far] < 0.6
    assert without[near] < 0.7 and without[far] < 0.4 * got[far]


def test_what_is_known_of_the_scores_is_not_moved_again(unknown: np.ndarray) -> None:
    """Scores that leave nothing open have no error to carry: the smooth remainder alone is."""
    anchors, mode = np.zeros(SHAPE, bool), np.ones(SHAPE, np.float32)
    anchors[4:12, 6:9, 5] = True
    errors = np.ones(SHAPE)
    known = kriged(errors, anchors, unknown, EVERYWHERE, everywhere(mode, scores=0.0))[0]
    np.testing.assert_array_equal(known, kriged(errors, anchors, unknown, EVERYWHERE, everywhere(0 * mode))[0])
    assert (kriged(errors, anchors, unknown, EVERYWHERE, everywhere(mode))[0][unknown] > known[unknown]).all()


def test_errors_are_carried_to_the_border_and_no_farther(unknown: np.ndarray) -> None:
    anchors = np.zeros(SHAPE, bool)
    anchors[7, 8, 9] = True
    got = kriged(np.ones(SHAPE), anchors, unknown, EVERYWHERE, everywhere(np.ones(SHAPE, np.float32)))[0]
    distance = ndimage.distance_transform_edt(~unknown, sampling=FIELD_SPACING)
    assert (got[distance <= CARRY_MM] > 0).all() and not got[distance > CARRY_MM].any()
    assert (distance > CARRY_MM).any()


def test_what_is_left_open_is_not_computed_unasked(unknown: np.ndarray) -> None:
    errors = np.random.default_rng(0).normal(0, 0.3, SHAPE)
    asked = kriged(errors, ~unknown, unknown, EVERYWHERE, covariance())
    unasked = kriged(errors, ~unknown, unknown, EVERYWHERE, covariance(), shares=False)
    np.testing.assert_array_equal(unasked[0], asked[0])
    assert asked[1].min() < 0.9 and (unasked[1] == 1).all()


def test_an_error_is_the_same_whatever_else_is_asked_for(unknown: np.ndarray) -> None:
    errors, anchors = np.random.default_rng(0).normal(0, 1, SHAPE), np.zeros(SHAPE, bool)
    anchors[4:12, 6:9, 5] = True
    moving = np.random.default_rng(1).random(SHAPE) < 0.3
    whole, part = (kriged(errors, anchors, unknown, some, covariance())[0] for some in (EVERYWHERE, moving))
    np.testing.assert_allclose(part[moving], whole[moving], rtol=1e-4, atol=1e-6)
    assert not part[~moving].any() and whole[unknown & ~moving].all()


def test_nothing_is_moved_without_anchors_or_without_an_unknown_region(
    unknown: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, none, errors = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), np.ones(SHAPE)
    some[7, 8, 9] = True
    assert kriged(errors, some, unknown, EVERYWHERE, covariance())[0].any()
    assert (kriged(errors, none, unknown, EVERYWHERE, covariance())[1] == 1).all(), "nothing is any surer"
    assert not kriged(errors, none, unknown, EVERYWHERE, covariance())[0].any()
    assert not kriged(errors, some, none, EVERYWHERE, covariance())[0].any()
    monkeypatch.setattr(kriging, "VIEW_MM", 8.0)
    assert VIEW_MM > 8 and not kriged(errors, some, unknown, EVERYWHERE, covariance())[0].any(), (
        "too far away to say anything"
    )


def test_many_anchors_are_thinned_evenly(unknown: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant error is seen everywhere: half of the anchors say nearly the same as all."""
    errors, anchors = np.ones(SHAPE), ~unknown
    model = everywhere(np.ones(SHAPE, np.float32))
    whole = kriged(errors, anchors, unknown, EVERYWHERE, model)[0]
    monkeypatch.setattr(kriging, "MOST_ANCHORS", 400)
    few = kriged(errors, anchors, unknown, EVERYWHERE, model)[0]
    assert (whole != few).any()
    np.testing.assert_allclose(few[unknown], whole[unknown], atol=0.1)


def block() -> np.ndarray:
    """Tissue behind and below, air before and above: (24, 24, 24) model intensities of 4 mm."""
    values = np.full((24, 24, 24), -1.0, np.float32)
    values[2:22, 2:14, 2:20] = 0.2
    return values


def partly_air() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The block with skin 1 mm below the first voxels of air, which are a quarter tissue; its skin field; a hole."""
    values = block()
    skin = fields_of(values)[0] - 1 / 8
    values[np.abs(skin - 1 / 8) < 1e-6] = -1 + 0.25 * 1.2
    unknown = np.zeros(values.shape, bool)
    unknown[8:16, 8:20, 4:16] = True
    return values, skin, unknown


def is_moved(prior: LinearPrior, level: Level, skin: np.ndarray) -> bool:
    """Whether kriging changes the linear estimate."""
    linear, kriged = linear_fields(prior, level), kriged_fields(prior, level, skin)[0]
    return bool((linear.skin != kriged.skin).any() or (linear.tissue != kriged.tissue).any())


@pytest.mark.parametrize(("share", "moved"), [(0.25, True), (0.25 + 0.9 * SHARE, True), (0.0, False), (0.5, False)])
def test_a_surface_that_the_intensities_deny_is_no_anchor(share: float, moved: bool) -> None:
    """1 mm outside the skin a voxel of 4 mm is a quarter tissue, whatever a smoothed surface says."""
    values, skin, unknown = partly_air()
    values[np.abs(skin - 1 / 8) < 1e-6] = -1 + share * 1.2
    prior = prior_around(np.roll(block(), -1, axis=1), spread=1e-4)
    level = Level(values, ~unknown, unknown, 4)
    assert is_moved(prior, level, skin) == moved


@pytest.mark.parametrize(("kept", "moved"), [(0.15, False), (0.3, True)])
def test_few_anchors_among_many_that_intensities_deny_are_chance(kept: float, moved: bool) -> None:
    """Where noise is taken for skin, a few voxels look right, and the estimate must not follow them."""
    values, skin, unknown = partly_air()
    surface = np.argwhere((np.abs(skin - 1 / 8) < 1e-6) & ~unknown)
    denied = np.random.default_rng(0).permutation(surface)[round(kept * len(surface)) :]
    values[tuple(denied.T)] = 0.2  # whole tissue, where a quarter is expected
    prior = prior_around(np.roll(block(), -1, axis=1), spread=1e-4)
    level = Level(values, ~unknown, unknown, 4)
    assert is_moved(prior, level, skin) == moved


def test_the_estimate_moves_to_where_the_skin_is_seen() -> None:
    """The prior's head ends 4 mm deeper than the real one: beside the cut this shows, and is carried into it."""
    values, skin, unknown = partly_air()
    prior = prior_around(np.roll(block(), -1, axis=1), spread=1e-4)
    level = Level(values, ~unknown, unknown, 4)
    linear, moved = linear_fields(prior, level), kriged_fields(prior, level, skin)[0]
    face = unknown & (np.abs(skin) < 0.6)
    before, after = (np.abs((fields.skin - skin)[face]).mean() * 8 for fields in (linear, moved))
    assert before > 3.5 and after < 0.5 * before
    hidden = np.where(unknown, 0.9, values).astype(np.float32)
    other, _ = kriged_fields(prior, Level(hidden, ~unknown, unknown, 4), np.where(unknown, np.float32(1), skin))
    np.testing.assert_array_equal(other.skin, moved.skin, err_msg="what is hidden does not count")
    np.testing.assert_array_equal(other.tissue, moved.tissue)


def test_what_cannot_be_skin_is_no_anchor() -> None:
    """A surface 8 mm from where skin is expected is an opened air space or the cut itself."""
    values = block()
    skin, _ = fields_of(values)
    prior = prior_around(values, spread=1e-4)
    unknown = np.zeros(values.shape, bool)
    unknown[8:16, 8:20, 4:16] = True
    beside = np.zeros(values.shape, bool)
    beside[6:8, 11:13, 8:12] = True  # a wall under the skin, next to the unknown region
    values[beside] = -0.6  # half of the tissue that is assumed where none is near
    level = Level(values, ~unknown, unknown, 4)
    linear = linear_fields(prior, level).skin
    for depth, moved in ((0.6, True), (0.9, False)):
        assert not (beside & (np.abs(skin) < 0.2)).any()
        shallow = prior_around(values, spread=1e-4)
        shallow.blocks["skin"].mean[beside] = -depth
        seen = np.where(beside, 0.0, 2.0).astype(np.float32)  # no other surface is seen
        got = kriged_fields(shallow, level, seen)[0].skin
        assert bool(np.abs(got - linear_fields(shallow, level).skin)[unknown].max() > 0.1) == moved
    assert np.abs(linear).max() > 0
