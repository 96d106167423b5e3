"""The network on tiny heads: it finds what is there, finds nothing in chance, and learns from no one who is tested."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bids_refacer.phenotypes.assessment import assess, permute
from bids_refacer.phenotypes.cross_validation import Folds, cross_validate, draw_folds
from bids_refacer.phenotypes.network import EPOCHS, Network, PhenotypeNetwork
from bids_refacer.statistics.correlation import spearman

COUNT = 60
EVERYONE = np.arange(COUNT)
HALVES = Folds(np.arange(COUNT)[None] % 2, np.where(np.arange(COUNT) % 10 < 2, 0, -1)[None, None].repeat(2, axis=1))
"""One learns from the other; a fifth of each is for tuning. Five folds would show the same and take longer."""


def heads(muscle: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, 9, 8, 7) uint8: noise, and muscle in a corner."""
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 20, (len(muscle), 9, 8, 7))
    values[:, :4, :4, :4] += 20 * muscle[:, None, None, None]
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def muscle() -> np.ndarray:
    return np.random.default_rng(1).normal(size=COUNT)


def run(volumes: np.ndarray, target: np.ndarray, covariate: np.ndarray | None = None, permutations: int = 1):
    columns = [np.ones(COUNT)] + ([] if covariate is None else [covariate])
    design = np.column_stack(columns)
    permuted = permute(design, target, 0, permutations)
    return assess(Network(volumes), design, target, permuted, HALVES, seed=0, resamples=100)


def test_planted_signal_is_found_in_units_and_lost_with_the_place_it_lies_in(muscle: np.ndarray) -> None:
    target = 50 + 7 * (0.9 * muscle + np.sqrt(0.19) * np.random.default_rng(2).normal(size=COUNT))
    volumes = heads(muscle)
    found = run(volumes, target)
    assert found.rho.low > 0.5 and found.r2 > 0.4
    assert 0.5 < found.predicted.std() / found.observed.std() < 1.2, "in units of the target"
    volumes[:, :4, :4, :4] = 0
    assert abs(run(volumes, target).rho.estimate) < 0.3


def test_what_is_not_linear_is_found() -> None:
    """The target is whether two halves of the corner agree: no voxel alone goes with it."""
    rng = np.random.default_rng(3)
    one, other = rng.choice([-1.0, 1.0], (2, 120))
    volumes = np.clip(rng.normal(100, 10, (120, 8, 8, 8)), 0, 255)
    volumes[:, :4, :4, :2] += 30 * one[:, None, None, None]
    volumes[:, :4, :4, 2:4] += 30 * other[:, None, None, None]
    learn = Network(volumes.astype(np.uint8))
    said = learn(np.arange(90), np.arange(90, 120), (one * other)[:90, None])[-1]
    assert spearman((one * other)[90:, None], said)[0] > 0.6


def test_permuted_targets_are_not_found(muscle: np.ndarray) -> None:
    target = muscle + 0.3 * np.random.default_rng(4).normal(size=COUNT)
    found = run(heads(muscle), target, permutations=9)
    assert found.permutation_p == pytest.approx(1 / 10)
    assert abs(found.null_rho.mean()) < 0.2 and found.null_rho.max() < 0.5


def test_a_covariate_does_not_come_back(muscle: np.ndarray) -> None:
    age = 60 + 10 * muscle
    target = age + np.random.default_rng(5).normal(size=COUNT)
    assert run(heads(muscle), target).rho.estimate > 0.6
    assert abs(run(heads(muscle), target, age).rho.estimate) < 0.3


def test_who_is_tested_is_not_learnt_from(muscle: np.ndarray) -> None:
    folds, design = HALVES, np.column_stack([np.ones(COUNT), muscle**2])
    learn, target = Network(heads(muscle)), muscle[:, None].copy()
    before = cross_validate(learn, design, target, folds)
    tested = folds.outer[0] == 1
    target[np.flatnonzero(tested)[0]] += 1000
    after = cross_validate(learn, design, target, folds)
    assert np.array_equal(after[1][tested], before[1][tested])
    assert not np.isclose(after[1][~tested], before[1][~tested]).any()


def test_a_column_is_predicted_by_a_network_of_its_own(muscle: np.ndarray) -> None:
    targets = np.column_stack([muscle, muscle[::-1], np.zeros(COUNT)])[:40]
    learn = Network(heads(muscle))
    together = learn(EVERYONE[:40], EVERYONE[40:], targets)
    assert together.shape == (len(EPOCHS), 20, 3)
    alone = [learn(EVERYONE[:40], EVERYONE[40:], targets[:, [column]])[:, :, 0] for column in range(3)]
    assert np.array_equal(together, np.stack(alone, axis=2))
    assert not together[0].any(), "0 epochs: everyone is like the mean"
    assert not together[:, :, 2].any(), "nothing to learn"
    assert np.allclose(learn(EVERYONE[:40], EVERYONE[40:], 10 * targets), 10 * together, rtol=1e-3, atol=1e-4)


def test_the_seed_decides_and_no_other_random_numbers_are_touched(muscle: np.ndarray) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, again, other = (
        Network(heads(muscle), seed)(EVERYONE[:40], EVERYONE[40:], muscle[:40, None]) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.allclose(first[1:], other[1:])
    assert torch.equal(torch.rand(3), expected)


def test_identical_heads_predict_nothing(muscle: np.ndarray) -> None:
    same = np.full((COUNT, 4, 4, 4), 9, dtype=np.uint8)
    assert not Network(same)(EVERYONE[:40], EVERYONE[40:], muscle[:40, None]).any()


def test_brightness_and_contrast_of_all_heads_do_not_matter(muscle: np.ndarray) -> None:
    volumes = heads(muscle) // 2
    said = [Network(v)(EVERYONE[:40], EVERYONE[40:], muscle[:40, None]) for v in (volumes, volumes + 100, 2 * volumes)]
    assert np.allclose(said[0], said[1], atol=1e-3) and np.allclose(said[0], said[2], atol=1e-3)


def test_the_network_is_residual_and_keeps_places() -> None:
    network = PhenotypeNetwork((9, 8, 7)).eval()
    x = torch.rand(2, 8, 4, 4, 3)
    block = network.blocks[0]
    with torch.no_grad():
        block.refine.weight.zero_()
        block.refine.bias.zero_()
        assert torch.allclose(block(x), block.shortcut(x)), "without its convolutions a block is its shortcut"
    assert network.head.in_features == 32, "one place is left of 9 x 8 x 7 voxels"
    assert PhenotypeNetwork((46, 29, 46)).head.in_features == 32 * 6 * 4 * 6


def test_one_repeat_and_one_fold_of_tuning() -> None:
    folds = draw_folds(23, 1)
    once = folds.once()
    assert np.array_equal(once.outer, folds.outer[:1]) and set(np.unique(once.inner)) == {-1, 0}
    assert np.array_equal(once.inner == 0, folds.inner[:1] == 0)
    asked = []

    def learn(train, test, targets):
        asked.append((set(train), set(test)))
        return np.zeros((1, len(test), targets.shape[1]))

    cross_validate(learn, np.ones((23, 1)), np.ones((23, 1)), once)
    assert len(asked) == 10 and all(not train & test for train, test in asked)
    for (inner, tuned), (train, test) in zip(asked[::2], asked[1::2], strict=True):
        assert inner | tuned == train and len(tuned) in (3, 4)
        assert len(train | test) == 23
