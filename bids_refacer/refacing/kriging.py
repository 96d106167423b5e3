"""An estimate of fields, moved to agree with what is seen of the head beside the unknown region.

The error of the linear estimate is seen at known skin and says something of the error in the unknown region: of that
nearby, as errors are smooth along the skin, and of that farther away, as faces vary in certain ways (a jaw that is
wider than expected where it is known is so in front of that, too). Simple kriging (Gaussian process regression,
Rasmussen & Williams 2006, equation 2.23) carries it over. The covariance of the errors is the prior's own, of what the
known voxels leave open of its scores, and a smooth remainder that the modes do not hold. What is wrong with an anchor
itself has heavy tails: some lie on an ear, in hair, or on noise.

A covariance from few heads is wrong far away, where small correlations are chance. It is therefore tapered with the
distance, as ensemble Kalman filters do (localisation: Houtekamer & Mitchell 2001, Mon Weather Rev 129:123). What taper,
remainder and noise of the anchors are each worth is in docs/model-card.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist

from bids_refacer.refacing.fields import Fields
from bids_refacer.refacing.prior import FIELD_SPACING, Block

TAPER_MM = 44.0
"""Standard deviation of the Gaussian in the distance with which covariances of the modes are tapered."""
REMAINDER_STD = 0.06
"""Standard deviation of the smooth remainder: half a millimetre of the skin field."""
LENGTH_MM = 30.0
"""Distance over which the correlation of the smooth remainder falls to 1/e."""
ANCHOR_STD, ANCHOR_FREEDOM = 0.1, 4.0
"""What is wrong with a single anchor: scale (0.8 mm of the skin field) and degrees of freedom of Student's t."""
_ROUNDS = 6
VIEW_MM = 60.0
"""Anchors farther than this from the unknown region say nothing about it."""
MOST_ANCHORS = 1000
CARRY_MM = 12.0
"""The estimate is moved as far as this into the known region, so that it does not jump at the border."""
_AT_ONCE = 2048  # voxels


@dataclass(frozen=True)
class ErrorCovariance:
    """How the errors of a linear estimate at two voxels vary together.

    Attributes
    ----------
    skin, tissue : of the prior, with common scores
    scores : (m, m) float64 covariance of these scores, given what is known (`refacing.prior.Fit`)
    """

    skin: Block
    tissue: Block
    scores: np.ndarray

    def between(self, one: np.ndarray, other: np.ndarray) -> Fields:
        """(n, p) float32 of each field, for voxels (n, 3) and (p, 3), int."""
        distance = (cdist(one, other) * FIELD_SPACING).astype(np.float32)
        taper = np.exp(distance**2 * np.float32(-0.5 / TAPER_MM**2))
        remainder = np.float32(REMAINDER_STD**2) * np.exp(distance * np.float32(-1 / LENGTH_MM))
        scores = self.scores.astype(np.float32)

        def covariance(block: Block) -> np.ndarray:
            return np.asarray((block.modes_at(one).T @ (scores @ block.modes_at(other))) * taper + remainder)

        return Fields(covariance(self.skin), covariance(self.tissue))

    def at(self, voxels: np.ndarray) -> Fields:
        """(n,) float32 of each field: the variance at voxels, (n, 3) int."""
        scores = self.scores.astype(np.float32)

        def variance(block: Block) -> np.ndarray:
            modes = block.modes_at(voxels)
            return np.asarray(np.einsum("mn,mn->n", modes, scores @ modes) + np.float32(REMAINDER_STD**2))

        return Fields(variance(self.skin), variance(self.tissue))


def krige(
    errors: Fields,
    anchors: np.ndarray,
    unknown: np.ndarray,
    moving: np.ndarray,
    covariance: ErrorCovariance,
    *,
    shares: bool = True,
) -> tuple[Fields, Fields]:
    """Expected errors in and around the unknown region, given those at the anchors, and how sure they are.

    Parameters
    ----------
    errors : on the prior's grid, used at the anchors
    anchors : (i, j, k) bool, voxels where the errors are seen
    unknown : (i, j, k) bool
    moving : (i, j, k) bool, voxels whose errors are wanted
    shares : whether to compute `left_open`, which takes most of the time; 1 everywhere if not

    Returns
    -------
    expected : (i, j, k) float32 each, 0 farther than `CARRY_MM` from the unknown region, where nothing is wanted, and
        everywhere without anchors
    left_open : (i, j, k) float32 each, share of the variance that the anchors leave (equation 2.24), 0 to 1; 1 where
        `expected` is not computed
    """
    shape = unknown.shape
    expected = Fields(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    left_open = Fields(np.ones(shape, np.float32), np.ones(shape, np.float32))
    distance = ndimage.distance_transform_edt(~unknown, sampling=FIELD_SPACING)
    seen = np.argwhere(anchors & (distance < VIEW_MM))
    if not len(seen) or not unknown.any():
        return expected, left_open
    seen = _thinned(seen)
    among, place = covariance.between(seen, seen), tuple(seen.T)
    skin = _Solved.of(among.skin, errors.skin[place])
    tissue = _Solved.of(among.tissue, errors.tissue[place])
    wanted = np.argwhere(moving & (distance <= CARRY_MM))
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        place, with_seen = tuple(some.T), covariance.between(some, seen)
        expected.skin[place], expected.tissue[place] = skin.expected(with_seen.skin), tissue.expected(with_seen.tissue)
        if shares:
            variance = covariance.at(some)
            left_open.skin[place] = skin.left_open(with_seen.skin, variance.skin)
            left_open.tissue[place] = tissue.left_open(with_seen.tissue, variance.tissue)
    return expected, left_open


def _thinned(anchors: np.ndarray) -> np.ndarray:
    """At most `MOST_ANCHORS` of (n, 3) voxels, taken evenly in the order of the grid.

    In this order the same image has the same anchors, whatever else is computed.
    """
    kept = np.linspace(0, len(anchors) - 1, min(len(anchors), MOST_ANCHORS)).round().astype(int)
    return np.asarray(anchors[kept])


@dataclass(frozen=True)
class _Solved:
    """The kriging equations of one field, solved at n anchors.

    weights : (n,) float32, what each anchor adds
    root : (n, n) float32, lower triangular root of the anchors' covariance with their noise
    """

    weights: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, among: np.ndarray, errors: np.ndarray) -> _Solved:
        """Solve for the (n, n) covariance among the anchors and their (n,) errors.

        The noise is Student's t, by iterated reweighting: an anchor that the others deny counts less (Lange et al.
        1989, J Am Stat Assoc 84:881).
        """
        errors = errors.astype(np.float64)
        variance = np.full(len(errors), ANCHOR_STD**2)
        for _ in range(_ROUNDS):
            noisy = among + np.diag(variance)
            weights = np.linalg.solve(noisy, errors)
            variance = (ANCHOR_FREEDOM * ANCHOR_STD**2 + (variance * weights) ** 2) / (ANCHOR_FREEDOM + 1)
        return cls(weights.astype(np.float32), cholesky(noisy, lower=True).astype(np.float32))

    def expected(self, with_anchors: np.ndarray) -> np.ndarray:
        """(p,) expected errors, for the (p, n) covariance with the anchors."""
        return np.asarray(with_anchors @ self.weights)

    def left_open(self, with_anchors: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """(p,) share of the (p,) variance that the anchors leave."""
        taken = (solve_triangular(self.root, with_anchors.T, lower=True, check_finite=False) ** 2).sum(0)
        return np.asarray(np.clip(1 - taken / variance, 0, 1))
