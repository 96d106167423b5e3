"""The linear attack: a Gaussian model of whole heads, conditioned on whatever voxels are known.

Probabilistic principal components (Tipping & Bishop 1999, J R Stat Soc B 61:611): x = mean + modes z + noise with
z ~ N(0, I), where x holds the intensities of a head (what is seen of it) and its fields (`refacing.fields`: what is to
be found). Given some intensities, the expectation of the fields is linear in them, for any set of known voxels.
The modes are principal directions over many heads; no head is stored.

Known voxels count the less the farther they lie from the unknown ones. Many voxels of the brain or the vertex say
little about a face, and their own variation would drown what the voxels at the cut say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_refacer.refacing.fields import Fields

FIELD_SPACING = 4
"""The prior and the fields live on the canonical grid of this many mm."""
FIELDS = ("skin", "tissue")
"""What is to be found (`refacing.fields`)."""
BLOCKS = ("intensity", *FIELDS)
REACH_MM = 20.0
"""Distance from the unknown region over which the weight of a known voxel falls to 1/e."""
TISSUE_REACH = 1.5
"""Tissue is not modelled where the mean skin field is higher: no face reaches there."""
LEAST_STD = {"intensity": 0.02, "skin": 0.02, "tissue": 0.03}
"""Voxels that vary less than this between heads are left out of the modes."""


@dataclass(frozen=True)
class Block:
    """Mean and principal modes of one quantity on the canonical 4 mm grid.

    Attributes
    ----------
    mean : (i, j, k) float32
    modes : (m, v) float32, v support voxels, each mode scaled by its standard deviation
    support : (i, j, k) bool, the voxels that vary between heads
    """

    mean: np.ndarray
    modes: np.ndarray
    support: np.ndarray

    def inside(self, mask: np.ndarray) -> Block:
        """The same with its modes in a mask alone, (i, j, k) bool."""
        return Block(self.mean, self.modes[:, mask[self.support]], self.support & mask)

    def at(self, z: np.ndarray) -> np.ndarray:
        """(i, j, k) float32: the quantity at the scores `z`, (m,)."""
        result = self.mean.copy()
        result[self.support] += z.astype(np.float32) @ self.modes
        return result

    def modes_at(self, voxels: np.ndarray) -> np.ndarray:
        """(m, n) float32: the modes at (n, 3) int voxels, 0 outside the support."""
        columns = np.full(self.support.shape, -1)
        columns[self.support] = np.arange(self.modes.shape[1])
        column = columns[tuple(voxels.T)]
        return np.where(column < 0, np.float32(0), self.modes[:, column])


@dataclass(frozen=True)
class Fit:
    """What the known voxels say of the scores.

    Attributes
    ----------
    scores : (m,) float64, expected
    covariance : (m, m) float64, of what they leave open
    misfit : weighted root mean square of what the scores leave of the known voxels, model intensities
    """

    scores: np.ndarray
    covariance: np.ndarray
    misfit: float


@dataclass(frozen=True)
class LinearPrior:
    """Gaussian model of heads.

    Attributes
    ----------
    blocks : one `Block` for each of BLOCKS, with common modes
    noise : float, variance of what the modes do not explain (the ridge of the conditional mean)
    """

    blocks: dict[str, Block]
    noise: float

    def fitted(self, values: np.ndarray, known: np.ndarray, unknown: np.ndarray) -> Fit:
        """The scores given the known voxels: a weighted ridge regression on the modes.

        Parameters
        ----------
        values : (i, j, k) float, model intensities, used where `known`
        known, unknown : (i, j, k) bool; both False outside the field of view
        """
        block = self.blocks["intensity"]
        weight = known_weight(known, unknown)[block.support]
        seen = weight > 0.01
        weight = weight[seen]
        difference = (values - block.mean)[block.support][seen] * weight
        basis = block.modes[:, seen] * weight
        normal = (basis @ basis.T).astype(np.float64) + self.noise * np.eye(len(basis))
        scores = np.linalg.solve(normal, (basis @ difference).astype(np.float64))
        left = difference - scores.astype(np.float32) @ basis
        misfit = float(np.linalg.norm(left)) / max(float(np.linalg.norm(weight)), 1e-12)
        return Fit(scores, self.noise * np.linalg.inv(normal), misfit)

    def fields_at(self, scores: np.ndarray) -> Fields:
        """The fields at (m,) scores, within their limits."""
        return Fields(self.blocks["skin"].at(scores), self.blocks["tissue"].at(scores)).within_limits()

    def conditional_fields(self, values: np.ndarray, known: np.ndarray, unknown: np.ndarray) -> Fields:
        """Expected fields given the known voxels; see `fitted` for the arguments."""
        return self.fields_at(self.fitted(values, known, unknown).scores)


def known_weight(known: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """(i, j, k) float32: weight of every known voxel, 1 at the unknown region, 1/e at `REACH_MM`; 0 where not known."""
    if not unknown.any():
        return known.astype(np.float32)
    distance = ndimage.distance_transform_edt(~unknown, sampling=FIELD_SPACING)
    return np.where(known, np.exp(-distance / REACH_MM), 0).astype(np.float32)


def fit_prior(
    data: dict[str, np.ndarray], seen: dict[str, np.ndarray], modes: int, noise: float, rounds: int = 4
) -> LinearPrior:
    """Estimate a `LinearPrior` from heads with missing voxels (cut fields of view).

    Missing voxels are filled with the mean, then with the model's own reconstruction, a few rounds (expectation-
    maximisation in its plain form). The modes are those of intensity and skin, each scaled to the same total variance.

    Parameters
    ----------
    data : for each of BLOCKS, (n, i, j, k) float32
    seen : for each of BLOCKS, (n, i, j, k) bool, False where a head does not show the voxel
    modes : number of principal modes, fewer than n
    noise : ridge of the conditional mean
    rounds : how often missing voxels are filled anew
    """
    parts = {name: _Part.start(data[name], seen[name], LEAST_STD[name]) for name in BLOCKS}
    for turn in range(rounds + 1):
        gram = sum(parts[name].gram() for name in ("intensity", "skin"))
        directions = np.linalg.eigh(gram)[1][:, ::-1][:, :modes].astype(np.float32)
        if turn < rounds:
            for part in parts.values():
                part.fill(directions)
    blocks = {name: part.block(directions) for name, part in parts.items()}
    blocks["tissue"] = blocks["tissue"].inside(blocks["skin"].mean < TISSUE_REACH)
    return LinearPrior(blocks, noise)


@dataclass
class _Part:
    """One quantity while a prior is fitted: `x` (n, v) is filled in where it is not `seen`."""

    mean: np.ndarray
    support: np.ndarray
    x: np.ndarray
    seen: np.ndarray

    @classmethod
    def start(cls, values: np.ndarray, seen: np.ndarray, least_std: float) -> _Part:
        count = np.maximum(seen.sum(0), 1)
        mean = ((values * seen).sum(0) / count).astype(np.float32)
        nowhere = ~seen.any(0)
        mean[nowhere] = values.mean(0)[nowhere]
        support = np.sqrt((((values - mean) ** 2) * seen).sum(0) / count) > least_std
        known = seen[:, support]
        return cls(mean, support, np.where(known, values[:, support] - mean[support], 0).astype(np.float32), known)

    def gram(self) -> np.ndarray:
        """(n, n) inner products of the heads, of trace 1."""
        centred = self.x - self.x.mean(0)
        product = (centred @ centred.T).astype(np.float64)
        return np.asarray(product / max(float(np.trace(product)), 1e-12))

    def fill(self, directions: np.ndarray) -> None:
        """Replace what is not seen by the projection on (n, m) directions."""
        centre = self.x.mean(0)
        fitted = directions @ (directions.T @ (self.x - centre)) + centre
        self.x = np.where(self.seen, self.x, fitted)

    def block(self, directions: np.ndarray) -> Block:
        centre = self.x.mean(0)
        modes = directions.T @ (self.x - centre) / np.sqrt(len(self.x))
        mean = self.mean.copy()
        mean[self.support] += centre
        return Block(mean, modes.astype(np.float32), self.support)
