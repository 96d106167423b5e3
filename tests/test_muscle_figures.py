"""The whole procedure on phenotypes whose truth is known: planted, absent, or owed to a covariate alone."""

from __future__ import annotations

import numpy as np
import pytest

from bids_refacer.muscle.assessment import Assessment, assess
from bids_refacer.muscle.models import MODELS, linear_kernel
from bids_refacer.muscle.validation import draw_folds
from bids_refacer.statistics.correlation import compare_dependent
from bids_refacer.statistics.paired import holm


def run(voxels: np.ndarray, covariates: np.ndarray | None, target: np.ndarray, **changes) -> Assessment:
    count = len(target)
    design = np.ones((count, 1)) if covariates is None else np.column_stack([np.ones(count), covariates])
    values = {"seed": 0, "permutations": 39, "resamples": 300, **changes}
    model = MODELS[values.pop("model", "ridge")]
    return assess(linear_kernel(voxels), design, target, draw_folds(count, values["seed"], repeats=2), model, **values)


def heads(rng: np.random.Generator, muscle: np.ndarray, size: float) -> np.ndarray:
    """(n, 60) voxels of smooth individual differences, and muscle in a third of them."""
    common = rng.normal(size=(len(muscle), 5)) @ rng.normal(size=(5, 60))
    pattern = np.where(np.arange(60) < 20, size, 0.0)
    return common + muscle[:, None] * pattern + rng.normal(size=(len(muscle), 60))


@pytest.mark.parametrize("model", MODELS)
def test_a_planted_correlation_is_found_where_the_face_is(model: str) -> None:
    """Radiodensity correlates 0.5 with facial muscle; with the face gone nothing is left, and Holm says so."""
    rng = np.random.default_rng(11)
    muscle = rng.normal(size=120)
    age = rng.normal(60, 10, 120)
    target = 40 + 8 * (0.5 * muscle + np.sqrt(0.75) * rng.normal(size=120)) - 0.4 * age
    original = heads(rng, muscle, 1.5)
    removed = original.copy()
    removed[:, :20] = 0
    images = {"original": original, "quickshear": removed, "pydeface": removed[:, 10:] + 0.1 * removed[:, :-10]}
    found = {name: run(voxels, age, target, model=model) for name, voxels in images.items()}
    rho = found["original"].rho
    attainable = 0.48  # Spearman's for a Pearson correlation of 0.5: 6 / pi asin(0.5 / 2)
    assert 0 < rho.low < attainable < rho.high
    assert found["original"].permutation_p == pytest.approx(1 / 40) and found["original"].r2 > 0.05
    tests = []
    for name in ("quickshear", "pydeface"):
        other = found[name]
        assert other.rho.low < 0 < other.rho.high and other.permutation_p > 0.05
        assert np.array_equal(other.observed, found["original"].observed), "the same folds, so the same residuals"
        tests.append(compare_dependent(other.observed, found["original"].predicted, other.predicted, 0, 300))
    assert (holm(np.array([test.p_value for test in tests])) < 0.05).all()
    assert all(test.bootstrap_p < 0.05 and test.difference.low > 0 for test in tests)


def test_nothing_is_found_in_permuted_phenotypes() -> None:
    """Twenty permuted phenotypes: false findings within the nominal rate (binomial, 99 %), and no bias."""
    p_values, rhos, covered, differences = [], [], [], []
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        muscle = rng.normal(size=40)
        original, age = heads(rng, muscle, 1.5), rng.normal(size=40)
        removed = original.copy()
        removed[:, :20] = 0
        target = rng.permutation(muscle + 0.1 * rng.normal(size=40))
        ours, theirs = (run(voxels, age, target, seed=seed, permutations=19) for voxels in (original, removed))
        p_values.append(ours.permutation_p)
        rhos.append(ours.rho.estimate)
        covered.append(ours.rho.low <= 0 <= ours.rho.high)
        differences.append(compare_dependent(ours.observed, ours.predicted, theirs.predicted, seed, 100).p_value)
    assert sum(p <= 0.05 for p in p_values) <= 4
    assert sum(p <= 0.05 for p in differences) <= 4
    assert sum(covered) >= 14
    assert abs(np.mean(rhos)) < 0.15
    assert 0.25 < np.mean(p_values) < 0.75, "p values of nothing are uniform"


def test_a_covariate_does_not_come_back_as_a_phenotype() -> None:
    """A target that is age, measured with little noise, from voxels full of age."""
    rng = np.random.default_rng(2)
    age = rng.normal(60, 10, 120)
    voxels = heads(rng, (age - 60) / 10, 1.5)
    target = age + rng.normal(size=120)
    assert run(voxels, None, target).rho.estimate > 0.8
    found = run(voxels, age, target)
    assert found.rho.low < 0 < found.rho.high and abs(found.rho.estimate) < 0.25
    assert found.permutation_p > 0.05


def test_the_same_seed_gives_the_same_figures() -> None:
    rng = np.random.default_rng(4)
    voxels, target = rng.normal(size=(20, 30)), rng.normal(size=20)
    first, again, other = (run(voxels, None, target, seed=seed) for seed in (1, 1, 2))
    assert first.rho == again.rho and first.permutation_p == again.permutation_p
    assert first.rho != other.rho
