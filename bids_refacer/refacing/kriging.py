"""An estimate of fields, moved to agree with what is seen of the head beside the unknown region.

The error of the linear estimate is seen at known skin and says something of the error in the unknown region: of that
nearby, as errors are smooth along the skin, and of that farther away, as faces vary in certain ways (a jaw that is
wider than expected where it is known is so in front of that, too). Simple kriging (Gaussian process regression,
Rasmussen & Williams 2006, equation 2.23) carries it over. The covariance of the errors is the prior's own, of what the
known voxels leave open of its scores, and a smooth remainder that the modes do not hold. What is wrong with an anchor
itself has heavy tails: some lie on an ear, in hair, or on noise.

A covariance from few heads is wrong far away, where small correlations are chance. It is therefore tapered with the
distance, as ensemble Kalman filters do (localisation: Houtekamer & Mitchell 2001, Mon Weather Rev 129:123). On 12
held-out heads cut in the canonical frame the distance of the surfaces falls from 1.52 mm (linear estimate) to 1.25
(template region) and from 1.70 to 1.49 (a plane). With anchors whose noise is normal it is 1.28 and 1.50; with the
smooth remainder alone besides 1.34 and 1.59, without the taper 1.93 and 1.90 (the prior not yet rounded to 8 bits).
What that is worth on images that tools really defaced is in docs/model-card.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist

from bids_refacer.refacing.prior import SPACING, Block

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
"""Anchors farther than this from the unknown region say nothing of it."""
MOST_ANCHORS = 1000
CARRY_MM = 12.0
"""The estimate is moved as far as this into the known region, so that it does not jump at the border."""
_AT_ONCE = 2048  # voxels


@dataclass(frozen=True)
class ErrorCovariance:
    """How the errors of fields at two voxels vary together.

    blocks : of each of c fields
    scores : (m, m) covariance of their common scores, given what is known (`refacing.prior.Fit`)
    """

    blocks: list[Block]
    scores: np.ndarray

    def between(self, one: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
        """(n, p) float32 for each field, for voxels (n, 3) and (p, 3), int."""
        distance = (cdist(one, other) * SPACING).astype(np.float32)
        taper = np.exp(distance**2 * np.float32(-0.5 / TAPER_MM**2))
        remainder = np.float32(REMAINDER_STD**2) * np.exp(distance * np.float32(-1 / LENGTH_MM))
        scores = self.scores.astype(np.float32)
        return [(block.modes_at(one).T @ (scores @ block.modes_at(other))) * taper + remainder for block in self.blocks]

    def at(self, voxels: np.ndarray) -> list[np.ndarray]:
        """(n,) float32 for each field: the variance at voxels, (n, 3) int."""
        scores, modes = self.scores.astype(np.float32), [block.modes_at(voxels) for block in self.blocks]
        return [np.einsum("mn,mn->n", part, scores @ part) + np.float32(REMAINDER_STD**2) for part in modes]


def krige(
    errors: np.ndarray,
    anchors: np.ndarray,
    unknown: np.ndarray,
    moving: np.ndarray,
    covariance: ErrorCovariance,
    *,
    shares: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected errors in and around the unknown region, given those at the anchors, and how sure they are.

    Parameters
    ----------
    errors : (c, i, j, k) float, errors of c fields on the prior's grid, used at the anchors
    anchors : (i, j, k) bool, voxels where the errors are seen
    unknown : (i, j, k) bool
    moving : (i, j, k) bool, voxels whose errors are asked for
    shares : whether `left_open` is asked for, which takes most of the time; 1 everywhere if not

    Returns
    -------
    expected : (c, i, j, k) float32, 0 farther than `CARRY_MM` from the unknown region, where nothing is asked for, and
        everywhere without anchors
    left_open : (c, i, j, k) float32, share of the variance that the anchors leave (equation 2.24), 0 to 1; 1 where
        `expected` is not computed
    """
    result, left_open = np.zeros(errors.shape, np.float32), np.ones(errors.shape, np.float32)
    distance = ndimage.distance_transform_edt(~unknown, sampling=SPACING)
    seen = np.argwhere(anchors & (distance < VIEW_MM))
    if not len(seen) or not unknown.any():
        return result, left_open
    # evenly thinned in the order of the grid: the same anchors for the same image, whatever else is computed
    seen = seen[np.linspace(0, len(seen) - 1, min(len(seen), MOST_ANCHORS)).round().astype(int)]
    solved = [
        _anchor_weights(among, error[tuple(seen.T)].astype(np.float64))
        for among, error in zip(covariance.between(seen, seen), errors, strict=True)
    ]
    wanted = np.argwhere(moving & (distance <= CARRY_MM))
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        parts = zip(solved, covariance.between(some, seen), covariance.at(some), result, left_open, strict=True)
        for (weights, root), with_seen, variance, expected, share in parts:
            expected[tuple(some.T)] = with_seen @ weights
            if not shares:
                continue
            taken = (solve_triangular(root, with_seen.T, lower=True, check_finite=False) ** 2).sum(0)
            share[tuple(some.T)] = np.clip(1 - taken / variance, 0, 1)
    return result, left_open


def _anchor_weights(among: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each anchor adds, (n,) float32, for (n, n) covariance among them and their (n,) errors; and the lower
    triangular root of their covariance with its noise, (n, n) float32.

    With the noise of Student's t, by iterated reweighting: an anchor that the others deny counts less (Lange et al.
    1989, J Am Stat Assoc 84:881).
    """
    variance = np.full(len(errors), ANCHOR_STD**2)
    for _ in range(_ROUNDS):
        noisy = among + np.diag(variance)
        weights = np.linalg.solve(noisy, errors)
        variance = (ANCHOR_FREEDOM * ANCHOR_STD**2 + (variance * weights) ** 2) / (ANCHOR_FREEDOM + 1)
    return weights.astype(np.float32), cholesky(noisy, lower=True).astype(np.float32)
