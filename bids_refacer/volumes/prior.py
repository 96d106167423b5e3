"""The linear attack: a Gaussian model of whole heads, conditioned on whatever voxels are known.

Probabilistic principal components (Tipping & Bishop 1999, J R Stat Soc B 61:611): x = mean + modes z + noise with
z ~ N(0, I). Given some voxels of x, the expectation of the others is linear in them, for any set of known voxels.
The modes are principal directions over many heads; no head is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LinearPrior:
    """Mean and principal modes of heads on a canonical grid, in model intensities.

    Attributes
    ----------
    mean : (i, j, k) float32
    modes : (m, v) float32, v support voxels, each mode scaled by its standard deviation
    support : (i, j, k) bool, the voxels that vary between heads
    noise : float, variance of what the modes do not explain (the ridge of the conditional mean)
    """

    mean: np.ndarray
    modes: np.ndarray
    support: np.ndarray
    noise: float

    def conditional_mean(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Expected head given its known voxels.

        Parameters
        ----------
        values : (i, j, k) float, used where `known`
        known : (i, j, k) bool

        Returns
        -------
        (i, j, k) float32, the expectation everywhere (also at known voxels, where it is smooth)
        """
        seen = known[self.support]
        difference = (values - self.mean)[self.support][seen]
        basis = self.modes[:, seen]
        normal = basis @ basis.T + self.noise * np.eye(len(basis), dtype=np.float32)
        z = np.linalg.solve(normal, basis @ difference)
        result = self.mean.copy()
        result[self.support] += (z @ self.modes).astype(np.float32)
        return np.clip(result, -1, 1)


def fit_prior(
    heads: np.ndarray, seen: np.ndarray, modes: int, noise: float, min_std: float = 0.02, rounds: int = 6
) -> LinearPrior:
    """Estimate a `LinearPrior` from heads with missing voxels (cut fields of view).

    Missing voxels are filled with the mean, then with the model's own reconstruction, a few rounds (expectation-
    maximisation in its plain form).

    Parameters
    ----------
    heads : (n, i, j, k) float32, model intensities
    seen : (n, i, j, k) bool, False where a head's field of view does not reach
    modes : number of principal modes, fewer than n
    noise : ridge of the conditional mean
    min_std : voxels that vary less than this are left out of the modes
    rounds : how often missing voxels are filled anew
    """
    count = seen.sum(0)
    mean = np.where(count > 0, (heads * seen).sum(0) / np.maximum(count, 1), -1).astype(np.float32)
    std = np.sqrt((((heads - mean) ** 2) * seen).sum(0) / np.maximum(count, 1))
    support = std > min_std
    x, known = heads[:, support] - mean[support], seen[:, support]
    x = np.where(known, x, 0)
    for _ in range(rounds):
        centre = x.mean(0)
        u, s, vt = _thin_svd(x - centre)
        fitted = (u[:, :modes] * s[:modes]) @ vt[:modes] + centre
        x = np.where(known, x, fitted)
    full = mean.copy()
    full[support] += x.mean(0)
    _, s, vt = _thin_svd(x - x.mean(0))
    scaled = vt[:modes] * (s[:modes, None] / np.sqrt(len(x)))
    return LinearPrior(full, scaled.astype(np.float32), support, noise)


def _thin_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular vectors of a wide (n, v) matrix through its (n, n) Gram matrix."""
    values, u = np.linalg.eigh(x @ x.T)
    values, u = values[::-1], u[:, ::-1]
    s = np.sqrt(np.maximum(values, 1e-8))
    return u, s, (u / s).T @ x
