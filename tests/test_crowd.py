"""How often people would be found in a crowd: planted chances give the known curve, and intervals cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bids_refacer.statistics.crowd import SIZES, crowd

PEOPLE = 36


def planted(chance: float, strangers: int, people: int = 4000) -> np.ndarray:
    return np.random.default_rng(1).binomial(strangers, chance, people).astype(float)


def test_one_chance_for_all_gives_the_known_curve() -> None:
    sizes = np.array([2, 10, 100, 1000])
    found = crowd(planted(0.01, 99), 99, np.arange(4000), sizes, seed=0)
    known = np.array([[0.99 ** (n - 1), stats.binom.cdf(4, n - 1, 0.01)] for n in sizes])
    assert found.is_measured.tolist() == [True, True, True, False]
    assert np.allclose(found.rates[:3], known[:3], atol=0.02) and np.allclose(found.rates[3], known[3], atol=0.06)
    assert ((found.low <= known + 0.02) & (known - 0.02 <= found.high)).all()


def test_measured_rates_are_those_of_galleries_taken_out() -> None:
    nearer = np.array([0.0, 1.0, 3.0])
    found = crowd(nearer, 4, np.arange(3), np.array([2, 5]), seed=0)
    assert found.rates[1] == pytest.approx([1 / 3, 1.0]), "the whole gallery: who has no stranger nearer is first"
    assert found.rates[0] == pytest.approx([(1 + 3 / 4 + 1 / 4) / 3, 1.0])


def test_everyone_found_says_nothing_of_how_large_a_crowd_would_hide_them() -> None:
    found = crowd(np.zeros(12), 11, np.arange(12), np.array(SIZES), seed=0)
    assert (found.high == 1).all() and found.rates[0, 0] == pytest.approx(1.0)
    assert found.low[0, 0] > 0.6 and found.low[-1, 0] < 0.1


def test_who_shows_no_face_is_found_in_no_crowd() -> None:
    nearer = np.array([np.nan] * 6 + [0.0] * 6)
    found = crowd(nearer, 11, np.arange(12), np.array([12, 10_000]), seed=0)
    assert found.rates[0, 0] == pytest.approx(0.5) and found.high[1, 0] < 0.85
    assert (crowd(np.full(5, np.nan), 11, np.arange(5), np.array([12]), seed=0).rates == 0).all()


def test_a_participant_counts_once() -> None:
    once = crowd(np.array([0.0, 5.0]), 11, np.array(["a", "b"]), np.array([12]), seed=0)
    often = crowd(np.array([0.0, 0.0, 0.0, 5.0]), 11, np.array(["a", "a", "a", "b"]), np.array([12]), seed=0)
    assert once.rates == pytest.approx(often.rates)


def test_rates_fall_with_the_crowd_and_many_people_are_no_trouble() -> None:
    nearer = np.random.default_rng(0).beta(0.3, 3, 5000) * 19_999
    found = crowd(np.rint(nearer), 19_999, np.arange(5000), np.array(SIZES), seed=0)
    assert (np.diff(found.rates[:, 0]) <= 1e-9).all() and (found.low <= found.rates).all()
    assert (found.rates <= found.high).all() and (found.rates[:, 1] >= found.rates[:, 0]).all()


def faces(rng: np.random.Generator, people: int, dimensions: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """True faces, and what is looked up: vectors whose distances are compared."""
    truth = rng.normal(size=(people, dimensions))
    return truth, truth + noise * rng.normal(size=truth.shape)


def missed(dimensions: int, noise: float, cohorts: int) -> np.ndarray:
    """How often the interval missed the rate in the population, at each size and rank."""
    truth, probes = faces(np.random.default_rng(99), 20_000, dimensions, noise)
    distance = ((truth - probes) ** 2).sum(axis=1)
    p = np.clip(stats.ncx2.cdf(distance, dimensions, (probes**2).sum(axis=1)), 1e-300, 1 - 1e-16)
    known = np.array([[np.exp((n - 1) * np.log1p(-p)).mean(), stats.binom.cdf(4, n - 1, p).mean()] for n in SIZES])
    found = np.zeros(known.shape)
    for seed in range(cohorts):
        truth, probes = faces(np.random.default_rng(seed), PEOPLE, dimensions, noise)
        distance = ((probes[:, None] - truth) ** 2).sum(axis=2)
        nearer = (distance < np.diag(distance)[:, None]).sum(axis=1).astype(float)
        rates = crowd(nearer, PEOPLE - 1, np.arange(PEOPLE), np.array(SIZES), seed)
        found += ~((rates.low <= known + 1e-9) & (known - 1e-9 <= rates.high))
    return found


def test_the_interval_covers_the_truth_in_most_cohorts() -> None:
    assert missed(20, 1.0, 12).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize(("dimensions", "noise"), [(10, 1.5), (20, 1.0), (16, 1.1), (30, 0.8), (60, 0.6), (10, 50.0)])
def test_the_interval_covers_the_truth_in_90_of_100_cohorts(dimensions: int, noise: float) -> None:
    assert missed(dimensions, noise, 100).max() <= 10


@pytest.mark.slow
def test_half_a_dataset_predicts_what_the_whole_gives() -> None:
    """36 heads say what 72 give: the rate in the whole gallery lies in the interval from its first half."""
    outside = 0
    for seed in range(50):
        truth, probes = faces(np.random.default_rng(seed), 72, 20, 1.2)
        distance = ((probes[:, None] - truth) ** 2).sum(axis=2)
        own = np.diag(distance)[:, None]
        half = (distance[:36, :36] < own[:36]).sum(axis=1).astype(float)
        predicted = crowd(half, 35, np.arange(36), np.array([72]), seed)
        whole = ((distance < own).sum(axis=1) == 0).mean()
        outside += not predicted.low[0, 0] <= whole <= predicted.high[0, 0]
    assert outside <= 5
