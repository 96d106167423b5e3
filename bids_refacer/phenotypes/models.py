"""Two linear models in dual form, each as a path: predictions at every tuning, for many targets at once.

Voxels enter through the matrix of their inner products alone, so that the cost depends on participants, not on voxels;
targets are columns, so that a thousand permuted ones cost a few matrix products. scikit-learn has the same models, but
not these paths: its ridge fits all targets at one penalty, and its partial least squares fits several targets with
components in common, so that each permuted target would need a fit for each number of components.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Learner = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""What every model is to the cross-validation: it learns the centred targets (n, p) of the training participants, (n,)
int, and predicts those of the test participants, (m,) int, at each of its tunings: (tunings, m, p), plainest first."""

Path = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(train kernel (n, n), test kernel (m, n), centred targets (n, p)) -> predictions (tunings, m, p), plainest first."""

PENALTIES = tuple(10.0**power for power in (3, 2, 1, 0, -1, -2, -3))
"""Of ridge regression, in units of the mean eigenvalue of the training kernel; the strongest comes first."""

COMPONENTS = 8
"""Partial least squares is tried with 1 to this many components."""

_LEAST = 1e-12  # of the first step's size: below, a direction is rounding error


def ridge_path(train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Kernel ridge regression (Saunders, Gammerman and Vovk 1998, equation 4) at all `PENALTIES`.

    Parameters
    ----------
    train : (n, n) float, centred inner products of training participants
    test : (m, n) float, of test participants with them (`centred`)
    targets : (n, p) float, mean 0

    Returns
    -------
    (len(PENALTIES), m, p) float64, in the units of the targets
    """
    values, vectors = np.linalg.eigh(train)
    values = np.maximum(values, 0.0)
    unit = max(float(values.mean()), np.finfo(float).tiny)  # identical heads: all predictions are 0
    turned, seen = vectors.T @ targets, test @ vectors
    return np.stack([(seen / (values + penalty * unit)) @ turned for penalty in PENALTIES])


def pls_path(train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Partial least squares of one target, at 1 to `COMPONENTS` components, for each column by itself.

    PLS with one target minimises the squared error in the Krylov space of X'X and X'y (Helland 1988,
    doi:10.1080/03610918808812681), which is what conjugate gradients for least squares do step by step (Hestenes and
    Stiefel 1952, section 10); all vectors of voxels are held as combinations of participants.

    Parameters
    ----------
    train, test, targets : see `ridge_path`

    Returns
    -------
    (COMPONENTS, m, p) float64, in the units of the targets
    """
    size = max(float(np.trace(train)) / len(train), np.finfo(float).tiny)
    train, test = train / size, test / size
    left = targets.astype(np.float64)
    weights = np.zeros_like(left)
    direction, moved = left.copy(), train @ left
    gain = np.sum(left * moved, axis=0)
    least = _LEAST * np.maximum(gain, np.finfo(float).tiny)
    found = []
    for _ in range(COMPONENTS):
        going = gain > least  # a column that is fitted stays as it is
        step = np.divide(gain, np.sum(moved**2, axis=0), out=np.zeros_like(gain), where=going)
        weights = weights + step * direction
        left = left - step * moved
        found.append(test @ weights)
        image = train @ left
        new = np.sum(left * image, axis=0)
        turn = np.divide(new, gain, out=np.zeros_like(gain), where=going)
        direction, moved = left + turn * direction, image + turn * moved
        gain = np.where(going, new, 0.0)
    return np.stack(found)


MODELS: dict[str, Path] = {"ridge": ridge_path, "pls": pls_path}


@dataclass(frozen=True)
class Linear:
    """A linear model as a `Learner`.

    Attributes
    ----------
    kernel : (n, n) float, inner products of all participants (`linear_kernel`)
    path : of `MODELS`
    """

    kernel: np.ndarray
    path: Path

    def __call__(self, train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Predictions of the test participants, (tunings, m, p) float64; voxels are centred by training means."""
        own, across = centred(self.kernel[np.ix_(train, train)], self.kernel[np.ix_(test, train)])
        return self.path(own, across, targets)


def linear_kernel(voxels: np.ndarray, block: int = 8192) -> np.ndarray:
    """Inner products of participants, per voxel, in float64: (n, v) array of any real type -> (n, n).

    Voxels are taken in blocks, so that 8-bit voxels are never all turned into floats at once.
    """
    count, size = voxels.shape
    total = np.zeros((count, count))
    for start in range(0, size, block):
        part = voxels[:, start : start + block].astype(np.float64)
        part -= part.mean(axis=0)  # distances alone matter; small numbers keep their digits
        total += part @ part.T
    return np.asarray(total / max(size, 1))


def centred(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner products as if the training participants' mean had been taken off everyone (Schoelkopf 1998, appendix B).

    Parameters
    ----------
    train : (n, n) float
    test : (m, n) float

    Returns
    -------
    (n, n), (m, n) float64
    """
    means = train.mean(axis=0)
    inner = train - means[:, None] - means + means.mean()
    return inner, test - test.mean(axis=1, keepdims=True) - means + means.mean()
