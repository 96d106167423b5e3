"""The whole procedure on phenotypes whose truth is known: planted, absent, or owed to a covariate alone."""

from __future__ import annotations

import numpy as np
import pytest

from bids_refacer.phenotypes.assessment import Assessment, assess, difference_p, permute
from bids_refacer.phenotypes.cross_validation import draw_folds
from bids_refacer.phenotypes.models import MODELS, Linear, linear_kernel
from bids_refacer.statistics.correlation import compare_dependent
from bids_refacer.statistics.paired import holm


def run(voxels: np.ndarray, covariates: np.ndarray | None, target: np.ndarray, **changes) -> Assessment:
    count = len(target)
    design = np.ones((count, 1)) if covariates is None else np.column_stack([np.ones(count), covariates])
    values = {"seed": 0, "permutations": 39, "resamples": 300, **changes}
    model = MODELS[values.pop("model", "ridge")]
    permuted = permute(design, target, values["seed"], values.pop("permutations"))
    folds = draw_folds(count, values["seed"], repeats=2)
    return assess(Linear(linear_kernel(voxels), model), design, target, permuted, folds, **values)


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
    wide = found["original"].calibrated
    assert 0 < wide.low < attainable < wide.high and wide.estimate == rho.estimate
    assert found["original"].permutation_p == pytest.approx(1 / 40) and found["original"].r2 > 0.05
    tests, p_values = [], []
    for name in ("quickshear", "pydeface"):
        other = found[name]
        assert other.rho.low < 0 < other.rho.high and other.permutation_p > 0.05
        assert other.calibrated.low < 0 < other.calibrated.high
        assert np.array_equal(other.observed, found["original"].observed), "the same folds, so the same residuals"
        tests.append(compare_dependent(other.observed, found["original"].predicted, other.predicted, 0, 300))
        permuted = difference_p(found["original"], other, tests[-1].difference.estimate)
        p_values.append(max(tests[-1].p_value, permuted))
    assert (holm(np.array(p_values)) <= 0.05).all()
    assert all(test.bootstrap_p < 0.05 and test.difference.low > 0 for test in tests)


def test_nothing_is_found_in_permuted_phenotypes() -> None:
    """Forty permuted phenotypes: false findings within the nominal 5 % (binomial, 99 %), and p values like chance's."""
    p_values, differences = [], []
    for seed in range(40):
        rng = np.random.default_rng(100 + seed)
        muscle = rng.normal(size=40)
        original, age = heads(rng, muscle, 1.5), rng.normal(size=40)
        removed = original.copy()
        removed[:, :20] = 0
        target = rng.permutation(muscle + 0.1 * rng.normal(size=40))
        ours, theirs = (run(voxels, age, target, seed=seed, permutations=39) for voxels in (original, removed))
        p_values.append(ours.permutation_p)
        test = compare_dependent(ours.observed, ours.predicted, theirs.predicted, seed, 10)
        differences.append(max(test.p_value, difference_p(ours, theirs, test.difference.estimate)))
    assert sum(p <= 0.05 for p in p_values) <= 6
    assert sum(p <= 0.05 for p in differences) <= 6
    assert 0.35 < np.mean(p_values) < 0.65, "p values of nothing are uniform"


def test_the_calibrated_interval_holds_what_it_should() -> None:
    """Sixty phenotypes without signal: it holds 0 in about 95 %, the bootstrap interval, as predictions are not
    independent, in fewer; sixty planted ones: it holds their mean rho in about 95 %, and is above 0 where that is."""
    rng = np.random.default_rng(31)
    muscle = rng.normal(size=80)
    voxels = heads(rng, muscle, 1.5)
    for planted in (False, True):
        found = [
            run(voxels, None, planted * 0.8 * muscle + rng.normal(size=80), seed=seed, permutations=199)
            for seed in range(60)
        ]
        truth = np.mean([one.rho.estimate for one in found]) if planted else 0.0
        calibrated, bootstrap = (
            np.mean([interval.low <= truth <= interval.high for interval in intervals])
            for intervals in ([one.calibrated for one in found], [one.rho for one in found])
        )
        assert calibrated >= 0.9, (planted, calibrated)
        if planted:
            assert np.mean([one.calibrated.low > 0 for one in found]) > 0.8
        else:
            assert bootstrap < calibrated


def test_a_covariate_does_not_come_back_as_a_phenotype() -> None:
    """A target that is age, measured with little noise, from voxels full of age."""
    rhos, p_values = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        age = rng.normal(60, 10, 80)
        voxels = heads(rng, (age - 60) / 10, 1.5)
        target = age + rng.normal(size=80)
        assert run(voxels, None, target, permutations=1).rho.estimate > 0.8
        found = run(voxels, age, target, permutations=19)
        rhos.append(found.rho.estimate)
        p_values.append(found.permutation_p)
    assert abs(np.mean(rhos)) < 0.15 and np.mean(p_values) > 0.25


def test_the_same_seed_gives_the_same_figures() -> None:
    rng = np.random.default_rng(4)
    voxels, target = rng.normal(size=(20, 30)), rng.normal(size=20)
    first, again, other = (run(voxels, None, target, seed=seed) for seed in (1, 1, 2))
    assert first.rho == again.rho and first.permutation_p == again.permutation_p
    assert first.rho != other.rho
