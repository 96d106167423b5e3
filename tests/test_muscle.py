"""Models in dual form against their textbook twins; cross-validation that leaks nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

from bids_refacer.phenotypes.cross_validation import INNER, OUTER, Folds, cross_validate, draw_folds, left_by_covariates
from bids_refacer.phenotypes.models import COMPONENTS, MODELS, PENALTIES, Linear, linear_kernel, pls_path, ridge_path


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(30, 12) voxels, (30, 3) design, (30, 2) targets that depend on both."""
    rng = np.random.default_rng(3)
    voxels = rng.normal(size=(30, 12)) * np.linspace(1, 3, 12) + 5
    design = np.column_stack([np.ones(30), rng.normal(50, 10, 30), rng.integers(0, 2, 30)])
    targets = voxels @ rng.normal(size=(12, 2)) + design @ rng.normal(size=(3, 2)) + rng.normal(size=(30, 2))
    return voxels, design, targets


def ridge_slowly(train: np.ndarray, test: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Primal ridge regression at all penalties, features centred by training means."""
    mean = train.mean(axis=0)
    x, z = (train - mean) / np.sqrt(train.shape[1]), (test - mean) / np.sqrt(train.shape[1])
    unit = np.sum(x**2) / len(x)
    return np.stack([z @ np.linalg.solve(x.T @ x + p * unit * np.eye(x.shape[1]), x.T @ target) for p in PENALTIES])


def pls_slowly(train: np.ndarray, test: np.ndarray, target: np.ndarray) -> np.ndarray:
    """NIPALS with deflation (Wold, Sjostrom and Eriksson 2001), one target."""
    mean = train.mean(axis=0)
    x, z, y = train - mean, test - mean, target.copy()
    predicted, found = np.zeros(len(test)), []
    for _ in range(COMPONENTS):
        w = x.T @ y
        w /= np.linalg.norm(w)
        t, u = x @ w, z @ w
        load, slope = x.T @ t / (t @ t), t @ y / (t @ t)
        x, z, y = x - np.outer(t, load), z - np.outer(u, load), y - slope * t
        predicted = predicted + slope * u
        found.append(predicted)
    return np.stack(found)


def dual(path, train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> np.ndarray:
    kernel = linear_kernel(np.concatenate([train, test]), block=5)
    everyone = np.arange(len(kernel))
    return Linear(kernel, path)(everyone[: len(train)], everyone[len(train) :], targets)


@pytest.mark.parametrize(("path", "twin"), [(ridge_path, ridge_slowly), (pls_path, pls_slowly)])
def test_dual_is_primal(path, twin, data) -> None:
    voxels, _, targets = data
    train, test, y = voxels[:20], voxels[20:], targets[:20] - targets[:20].mean(axis=0)
    found = dual(path, train, test, y)
    for column in range(2):
        assert np.allclose(found[:, :, column], twin(train, test, y[:, column]), rtol=1e-6)


def sklearn_ridge(train: np.ndarray, test: np.ndarray, target: np.ndarray) -> np.ndarray:
    x = train - train.mean(axis=0)
    unit = np.sum(x**2) / len(x)  # the mean eigenvalue of the centred kernel
    return np.stack([Ridge(alpha=p * unit).fit(train, target).predict(test) for p in PENALTIES])


def sklearn_pls(train: np.ndarray, test: np.ndarray, target: np.ndarray) -> np.ndarray:
    models = (PLSRegression(n_components=count, scale=False) for count in range(1, COMPONENTS + 1))
    return np.stack([model.fit(train, target).predict(test).ravel() for model in models])


@pytest.mark.parametrize(("path", "theirs"), [(ridge_path, sklearn_ridge), (pls_path, sklearn_pls)])
def test_models_agree_with_scikit_learn(path, theirs, data) -> None:
    voxels, _, targets = data
    y = targets[:20] - targets[:20].mean(axis=0)
    found = dual(path, voxels[:20], voxels[20:], y)
    for column in range(2):
        np.testing.assert_allclose(found[:, :, column], theirs(voxels[:20], voxels[20:], y[:, column]), rtol=1e-6)


@pytest.mark.parametrize("path", MODELS.values())
def test_identical_heads_predict_nothing(path) -> None:
    same = np.ones((12, 7))
    assert np.allclose(dual(path, same[:10], same[:2], np.arange(10.0)[:, None] - 4.5), 0)


def test_kernel_of_bytes_is_that_of_numbers() -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (6, 40), dtype=np.uint8)
    x = voxels.astype(float) - voxels.mean(axis=0)
    assert np.allclose(linear_kernel(voxels, block=7), x @ x.T / 40)


def test_everyone_is_tested_once_and_tuned_on_training_alone() -> None:
    folds = draw_folds(23, seed=1, repeats=3)
    assert not np.array_equal(folds.outer[0], folds.outer[1])
    for outer, inner in zip(folds.outer, folds.inner, strict=True):
        assert set(np.bincount(outer, minlength=OUTER)) <= {4, 5}
        for fold in range(OUTER):
            assert set(np.bincount(inner[fold][outer != fold], minlength=INNER)) <= {3, 4}
    again, other = draw_folds(23, seed=1, repeats=3), draw_folds(23, seed=2, repeats=3)
    assert np.array_equal(folds.outer, again.outer) and not np.array_equal(folds.outer, other.outer)


def validate_slowly(voxels, design, target, folds: Folds, twin) -> tuple[np.ndarray, np.ndarray]:
    """One target, loops, primal models, ordinary least squares for covariates."""
    observed, predicted = np.zeros(len(target)), np.zeros(len(target))

    def fit(train, test):
        slope = np.linalg.lstsq(design[train], target[train], rcond=None)[0]
        left = target - design @ slope
        return left[test], twin(voxels[train], voxels[test], left[train])

    for outer, inner in zip(folds.outer, folds.inner, strict=True):
        for k in range(OUTER):
            train, test = np.flatnonzero(outer != k), np.flatnonzero(outer == k)
            error = 0.0
            for j in range(INNER):
                left, found = fit([i for i in train if inner[k][i] != j], [i for i in train if inner[k][i] == j])
                error = error + ((found - left) ** 2).sum(axis=1)
            left, found = fit(train, test)
            observed[test] += left / len(folds.outer)
            predicted[test] += found[int(np.argmin(error))] / len(folds.outer)
    return observed, predicted


@pytest.mark.parametrize(("model", "twin"), [("ridge", ridge_slowly), ("pls", pls_slowly)])
def test_cross_validation_is_its_slow_twin(model: str, twin, data) -> None:
    voxels, design, targets = data
    folds = draw_folds(30, seed=5, repeats=2)
    observed, predicted = cross_validate(Linear(linear_kernel(voxels), MODELS[model]), design, targets, folds)
    for column in range(2):
        slow = validate_slowly(voxels, design, targets[:, column], folds, twin)
        assert np.allclose(observed[:, column], slow[0]) and np.allclose(predicted[:, column], slow[1], rtol=1e-5)


def test_who_is_tested_is_not_learnt_from(data) -> None:
    voxels, design, targets = data
    folds = draw_folds(30, seed=5, repeats=1)
    learn = Linear(linear_kernel(voxels), ridge_path)
    before = cross_validate(learn, design, targets, folds)
    tested = folds.outer[0] == 2
    changed = targets.copy()
    changed[np.flatnonzero(tested)[0]] += 1000  # the target of one participant, in training everywhere else
    after = cross_validate(learn, design, changed, folds)
    assert np.array_equal(after[1][tested], before[1][tested])
    assert np.array_equal(after[0][np.flatnonzero(tested)[1:]], before[0][np.flatnonzero(tested)[1:]]), (
        "covariates are fitted in the training fold alone"
    )
    assert not np.isclose(after[1][~tested], before[1][~tested]).any()


def test_what_covariates_explain_is_nothing(data) -> None:
    _, design, targets = data
    assert not left_by_covariates(design, 3.3 * design[:, 1] - 7 * design[:, 2] + 1e4).any()
    assert not left_by_covariates(design, np.full(30, 0.1)).any()
    left = left_by_covariates(design, targets[:, 0])
    assert left.any() and np.allclose(design.T @ left, 0, atol=1e-7)
