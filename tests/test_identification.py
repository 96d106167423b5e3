"""Ranks, ROC, EER and their intervals against slow, obvious twins, and against what is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bids_refacer.statistics.identification import (
    FALSE_ACCEPT,
    SLOTS,
    Identification,
    Probes,
    ScoreCounter,
    identify,
    roc_curve,
)


def slow_auc(genuine: np.ndarray, impostors: np.ndarray) -> float:
    wins = sum((g < i) + 0.5 * (g == i) for g in genuine for i in impostors)
    return float(wins) / (len(genuine) * len(impostors))


def slow_eer(genuine: np.ndarray, impostors: np.ndarray) -> float:
    """Walk through all thresholds; between two of them both rates move along a line."""
    points = [(0.0, 1.0)]
    for threshold in np.unique(np.concatenate([genuine, impostors])):
        points.append((float(np.mean(impostors <= threshold)), 1 - float(np.mean(genuine <= threshold))))
    for (false0, miss0), (false1, miss1) in zip(points, points[1:], strict=False):
        if false1 >= miss1:
            part = (miss0 - false0) / ((miss0 - false0) - (miss1 - false1))
            return false0 + part * (false1 - false0)
    raise AssertionError("the rates never meet")


def test_a_barred_member_counts_as_neither() -> None:
    rng = np.random.default_rng(3)
    distances, own = rng.uniform(1, 5, (9, 9)).astype(np.float32), np.arange(9)
    barred = np.roll(own, 2)
    genuine = distances[own, own]
    whole, part = ScoreCounter(genuine), ScoreCounter(genuine)
    whole.add(0, distances, own)
    part.add(0, distances, own, barred)
    fewer = whole.impostors.copy()
    fewer[own, whole.slots(distances)[own, barred]] -= 1
    np.testing.assert_array_equal(part.impostors, fewer)


def run(distances: np.ndarray, own: np.ndarray, participants: np.ndarray | None = None, **options) -> Identification:
    distances = distances.astype(np.float32)
    genuine = distances[np.arange(len(own)), own]
    counter = ScoreCounter(genuine)
    for start in range(0, len(own), 3):
        counter.add(start, distances[start : start + 3], own[start : start + 3])
    others = np.array([np.delete(row, one) for row, one in zip(distances, own, strict=True)])
    ranks = 1 + (others < genuine[:, None]).sum(1) + (others == genuine[:, None]).sum(1) / 2
    people = own if participants is None else participants
    return identify(Probes(ranks, genuine, counter, people, distances.shape[1]), **{"seed": 0, **options})


@pytest.mark.parametrize("rounded", [False, True])
def test_agrees_with_the_slow_twin(rounded: bool) -> None:
    rng = np.random.default_rng(0)
    own = np.arange(12)
    distances = rng.uniform(1, 5, (12, 20))
    distances[own, own] -= 1
    if rounded:  # many ties
        distances = np.round(distances)
    found = run(distances, own)
    distances = distances.astype(np.float32)
    genuine = distances[own, own]
    impostors = np.concatenate([np.delete(row, i) for i, row in enumerate(distances)])
    assert found.auc.estimate == pytest.approx(slow_auc(genuine, impostors), abs=1e-9)
    assert found.eer.estimate == pytest.approx(slow_eer(genuine, impostors), abs=1e-9)
    for rank in (1, 5, 20):
        closer = [(row < g).sum() + ((row == g).sum() - 1) / 2 for row, g in zip(distances, genuine, strict=True)]
        assert found.cmc[rank - 1] == pytest.approx(np.mean(np.array(closer) + 1 <= rank), abs=1e-9)
    assert (found.n_participants, found.n_probes, found.n_gallery) == (12, 12, 20)


def planted(seed: int, count: int, mean: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal distances of as many probes as members, genuine ones smaller by `shift`; and who is whose own."""
    own = np.arange(count)
    distances = np.random.default_rng(seed).normal(mean, 1, (count, count))
    distances[own, own] -= shift
    return distances, own


def test_auc_is_mann_whitney() -> None:
    distances, own = planted(1, 40, 5.0, 1.0)
    found = run(distances, own)
    distances = distances.astype(np.float32)
    genuine, impostors = distances[own, own], distances[~np.eye(40, dtype=bool)]
    u = stats.mannwhitneyu(impostors, genuine).statistic
    assert found.auc.estimate == pytest.approx(u / (40 * 39 * 40), abs=1e-9)


def test_many_probes_are_binned_finely_enough() -> None:
    rng = np.random.default_rng(2)
    count = 3 * SLOTS
    own = rng.integers(0, 30, count)
    distances = rng.normal(3, 1, (count, 30))
    distances[np.arange(count), own] -= 1
    found = run(distances, own, np.arange(count), resamples=50)
    assert len(ScoreCounter(distances[:, 0]).thresholds) == SLOTS
    impostors = np.concatenate([np.delete(row, one) for row, one in zip(distances, own, strict=True)])
    u = stats.mannwhitneyu(impostors, distances[np.arange(count), own]).statistic
    assert found.auc.estimate == pytest.approx(u / (len(impostors) * count), abs=1e-4)
    assert found.eer.estimate == pytest.approx(stats.norm.cdf(-0.5), abs=0.03)


def test_planted_separation_has_the_known_curve() -> None:
    """Genuine N(0, 1), impostors N(d, 1): AUC is Phi(d / sqrt 2), EER Phi(-d / 2)."""
    distances, own = planted(3, 400, 2.0, 2.0)
    found = run(distances, own)
    assert found.auc.low < stats.norm.cdf(2 / np.sqrt(2)) < found.auc.high
    assert found.eer.low < stats.norm.cdf(-1.0) < found.eer.high
    # rank 1 of 400: the own member is the smallest of 399 others
    grid = np.linspace(-8, 8, 4001)
    rank1 = np.sum(stats.norm.pdf(grid) * stats.norm.sf(grid - 2.0) ** 399) * (grid[1] - grid[0])
    assert found.cmc_low[0] <= rank1 <= found.cmc_high[0]


def test_chance_is_chance() -> None:
    rng = np.random.default_rng(4)
    own = np.arange(300)
    found = run(rng.uniform(size=(300, 300)), own)
    assert found.auc.low < 0.5 < found.auc.high
    assert found.eer.low < 0.5 < found.eer.high
    assert found.cmc_low[4] <= 5 / 300 <= found.cmc_high[4]


def test_perfect_and_hopeless() -> None:
    own = np.arange(5)
    perfect = run(1.0 - np.eye(5), own)
    assert (perfect.cmc[0], perfect.auc.estimate, perfect.eer.estimate) == (1.0, 1.0, 0.0)
    assert (perfect.auc.low, perfect.auc.high) == (1.0, 1.0)
    hopeless = run(np.eye(5), own)
    assert (hopeless.cmc[0], hopeless.cmc[4], hopeless.auc.estimate, hopeless.eer.estimate) == (0.0, 1.0, 0.0, 1.0)


def test_a_participant_has_one_vote() -> None:
    """One participant with a probe that fits is worth as much as another with three that do not."""
    distances = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    own = np.array([0, 1, 1, 1])
    found = run(distances, own)
    assert found.n_participants == 2 and found.n_probes == 4
    assert found.cmc[0] == pytest.approx(0.5)
    assert found.auc.estimate == pytest.approx(0.5)


def test_all_at_one_distance_share_their_ranks() -> None:
    found = run(np.ones((4, 7)), np.arange(4))
    assert found.cmc[2] == 0.0 and found.cmc[3] == 1.0
    assert found.auc.estimate == pytest.approx(0.5)


def test_a_gallery_of_one_tells_nothing() -> None:
    found = run(np.zeros((1, 1)), np.array([0]))
    assert found.cmc[0] == 1.0 and np.isnan(found.auc.estimate) and np.isnan(found.eer.estimate)


def test_the_seed_alone_decides() -> None:
    rng = np.random.default_rng(5)
    distances = rng.uniform(size=(30, 30))
    first, again, other = (run(distances, np.arange(30), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.cmc_low, again.cmc_low)
    assert first.auc == again.auc and first.auc != other.auc and first.auc.estimate == other.auc.estimate


def test_counts_between_and_on_thresholds() -> None:
    """Thresholds 1 and 3: slots are below, on 1, between, on 3, above. The own member is no impostor."""
    distances = np.array([[1.0, 0.5, 2.0, 9.0], [3.0, 3.0, 1.0, 2.5]], dtype=np.float32)
    counter = ScoreCounter(np.array([1.0, 3.0]))
    counter.add(0, distances, np.array([0, 1]))
    np.testing.assert_array_equal(counter.slots(distances), [[1, 0, 2, 4], [3, 3, 1, 2]])
    np.testing.assert_array_equal(counter.impostors, [[1, 0, 1, 0, 1], [0, 1, 1, 1, 0]])
    part = counter.of(np.array([False, True]))
    np.testing.assert_array_equal(part.impostors, [[0, 1, 1, 1, 0]])
    np.testing.assert_array_equal(part.thresholds, [1.0, 3.0])


def test_the_roc_curve_is_given_at_even_shares() -> None:
    assert FALSE_ACCEPT.tolist() == [0, 0.001, 0.002, 0.005, 0.01, 0.02, *(number / 20 for number in range(1, 21))]
    # genuine 1 and 3, impostors 2 and 4: accepted are 1/2 up to an impostor share of 1/2 - and there all
    curve = roc_curve(np.array([1.0, 0, 1, 0]), np.array([0, 1.0, 0, 1]))
    np.testing.assert_allclose(curve[FALSE_ACCEPT < 0.5], 0.5)
    np.testing.assert_allclose(curve[FALSE_ACCEPT >= 0.5], 1.0)
    assert np.isnan(roc_curve(np.zeros(3), np.ones(3))).all() and np.isnan(roc_curve(np.ones(3), np.zeros(3))).all()


def test_ranks_are_given_down_to_the_fiftieth() -> None:
    own = np.arange(60)
    distances = np.random.default_rng(7).uniform(size=(60, 60))
    found = run(distances, own)
    assert len(found.cmc) == 50 and len(run(distances[:20, :20], own[:20]).cmc) == 20
    again = run(distances, own, resamples=1000)
    assert (found.auc, found.eer) == (again.auc, again.eer), "as many resamples as are the default"
    np.testing.assert_array_equal(found.cmc_high, again.cmc_high)
    assert found.auc != run(distances, own, resamples=999).auc
