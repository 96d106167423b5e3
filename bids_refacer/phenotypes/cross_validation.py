"""Nested, repeated cross-validation by participant; covariates are regressed out within each training fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bids_refacer.phenotypes.models import Learner

OUTER, INNER, REPEATS = 5, 5, 5
_NOTHING = 1e-9  # of a target's spread: what covariates leave beyond is rounding error


@dataclass(frozen=True)
class Folds:
    """Who is tested when.

    Attributes
    ----------
    outer : (repeats, n) int, fold in which each participant is tested
    inner : (repeats, outer folds, n) int, fold of the tuning within each training set; -1 of who always learns there
    """

    outer: np.ndarray
    inner: np.ndarray

    def of(self, members: np.ndarray) -> Folds:
        """The folds of some participants, (k,) int: the same people meet whatever image is looked at."""
        return Folds(self.outer[:, members], self.inner[:, :, members])

    def once(self) -> Folds:
        """The first repeat, where tuning too is by the first of its folds alone: for models that take long to learn."""
        return Folds(self.outer[:1], np.where(self.inner[:1] == 0, 0, -1))


def draw_folds(count: int, seed: int, repeats: int = REPEATS) -> Folds:
    """Folds of equal size (up to one) for each repeat; the same seed and count give the same folds."""
    rng = np.random.default_rng(seed)
    outer = np.stack([rng.permutation(np.arange(count) % OUTER) for _ in range(repeats)])
    inner = np.zeros((repeats, OUTER, count), dtype=np.int64)
    for repeat in range(repeats):
        for fold in range(OUTER):
            train = np.flatnonzero(outer[repeat] != fold)
            inner[repeat, fold, train] = rng.permutation(np.arange(len(train)) % INNER)
    return Folds(outer, inner)


def cross_validate(
    learn: Learner, design: np.ndarray, targets: np.ndarray, folds: Folds
) -> tuple[np.ndarray, np.ndarray]:
    """Predict each participant from others.

    In every training set the covariates' linear model is fitted; its residuals are what is predicted, and a test
    participant's residual is the distance from that same model. The tuning is chosen by the squared error of an inner
    cross-validation of the training set, for each target by itself, where covariates are fitted anew as well.

    Parameters
    ----------
    learn : Learner of the n participants
    design : (n, c) float, the covariates with a column of ones
    targets : (n, p) float
    folds : Folds of the n participants

    Returns
    -------
    observed, predicted : (n, p) float64
        Residual of each participant, and its prediction, as means over repeats; in the units of the targets.
    """
    observed, predicted = np.zeros(targets.shape), np.zeros(targets.shape)
    for train, test, inner in _rounds(folds):
        error = sum(
            _squared_error(learn, design, targets, train[inner != fold], train[inner == fold])
            for fold in np.unique(inner[inner >= 0])
        )
        chosen = np.argmin(error, axis=0)  # the first of equals, which is the plainest
        residual, candidates = _fit(learn, design, targets, train, test)
        observed[test] += residual
        predicted[test] += np.take_along_axis(candidates, chosen[None, None, :], axis=0)[0]
    return observed / len(folds.outer), predicted / len(folds.outer)


def _rounds(folds: Folds) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Training and test participants (int), and the inner fold of each in training."""
    for outer, inner in zip(folds.outer, folds.inner, strict=True):
        for fold in np.unique(outer):
            train = np.flatnonzero(outer != fold)
            yield train, np.flatnonzero(outer == fold), inner[fold][train]


def _squared_error(
    learn: Learner, design: np.ndarray, targets: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """(tunings, p) summed over the test participants."""
    residual, candidates = _fit(learn, design, targets, train, test)
    candidates -= residual
    return np.asarray(np.einsum("tmp,tmp->tp", candidates, candidates))


def _fit(
    learn: Learner, design: np.ndarray, targets: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of the test participants (m, p) and predictions of them at each tuning (tunings, m, p)."""
    inverse = np.linalg.pinv(design[train])  # also right when a category is absent from this training set
    coefficients = inverse @ targets[train]
    candidates = learn(train, test, targets[train] - design[train] @ coefficients)
    return targets[test] - design[test] @ coefficients, candidates


def left_by_covariates(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Residuals of a target (n,) on the covariates of everyone: (n,); exactly 0 when nothing but rounding is left.

    For drawing permutations and for refusing what cannot be predicted; predictions never see it.
    """
    residual = target - design @ (np.linalg.pinv(design) @ target)
    # relative to the target's own size: a constant one has no spread to compare with
    return np.zeros(len(target)) if residual.std() <= _NOTHING * np.abs(target).max() else residual
