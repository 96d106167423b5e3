"""Training examples: functions of seed and step; the network is told nothing of the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_heads import SHAPE, TINY_COARSE, TINY_FINE, average_heads, small_prior

from bids_refacer.diffusion.cascade import COARSE, FINE
from bids_refacer.refacing.conditioning import as_tensor, working_box
from bids_refacer.training import examples as examples_module
from bids_refacer.training.batches import Items
from bids_refacer.training.examples import (
    BOX_MULTIPLE,
    coarse_item,
    cross_fitted_priors,
    draw_example,
    fine_crop,
    fine_item,
)
from bids_refacer.training.heads import Head
from bids_refacer.volumes.grid import pool
from bids_refacer.volumes.prior import LinearPrior

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    return small_prior()


def test_an_example_is_a_function_of_seed_and_step(heads: list[Head]) -> None:
    first, other_call = draw_example(heads, 3, 11), draw_example(heads, 3, 12)
    np.random.default_rng().random()
    again = draw_example(heads, 3, 11)
    for name in ("values", "known", "unknown"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert again.fold == first.fold
    assert not np.array_equal(other_call.known, first.known)
    assert not np.array_equal(draw_example(heads, 4, 11).known, first.known)


def test_an_example_is_consistent(heads: list[Head]) -> None:
    for step in range(5):
        example = draw_example(heads, 0, step)
        assert example.values.shape == SHAPE and example.values.dtype == np.float32
        assert example.known.dtype == example.unknown.dtype == bool
        assert not (example.known & example.unknown).any()
        outside = ~example.known & ~example.unknown
        assert (example.values[outside] == -1).all(), "neither known nor to be learned outside the field of view"
        assert 0.01 < example.unknown.mean() < 0.99
        assert np.isfinite(example.values).all()


def test_pose_moves_image_and_region_together(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that is drawn where tissue is bright must still lie there after flip, turn and shift."""
    bright = heads[0].values > -0.5
    monkeypatch.setattr(examples_module, "draw_region", lambda head, rng: bright)
    monkeypatch.setattr(examples_module, "apply_intensity", lambda values, brain, draw: values)
    monkeypatch.setattr(examples_module, "near_missing", lambda *rest: np.ones(SHAPE, bool))
    for step in range(4):
        example = draw_example(heads[:1], 7, step)
        assert example.values[example.unknown & (example.values > -0.9)].mean() > -0.4
        assert (example.values[example.known] > -0.4).mean() < 0.02


def test_a_fold_belongs_to_a_head(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold of an example is that of `cross_fitted_priors`: the place of its head in the list, modulo five."""
    many = [
        Head(
            str(i),
            np.full((2, 2, 2), 40 + i, np.uint8),
            np.ones((2, 2, 2), bool),
            np.ones((2, 2, 2), bool),
            heads[0].alignment,
        )
        for i in range(7)
    ]
    monkeypatch.setattr(examples_module, "draw_augmentation", lambda rng: None)
    monkeypatch.setattr(examples_module, "draw_region", lambda head, rng: np.zeros((2, 2, 2), bool))
    monkeypatch.setattr(examples_module, "apply_pose", lambda volume, draw, cval: volume)
    monkeypatch.setattr(examples_module, "apply_intensity", lambda values, brain, draw: values)
    drawn = [draw_example(many, 1, step) for step in range(60)]
    places = [round((e.values[0, 0, 0] + 1) * 127.5) - 40 for e in drawn]
    assert set(places) == set(range(7))
    assert [e.fold for e in drawn] == [place % 5 for place in places]


def test_a_prior_never_saw_the_heads_of_its_fold(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[np.ndarray] = []

    def record(values: np.ndarray, seen: np.ndarray, modes: int, noise: float) -> int:
        given.append(values)
        return len(given)

    monkeypatch.setattr(examples_module, "fit_prior", record)
    monkeypatch.setattr(examples_module, "pool", lambda values, seen: (values[:2, :2, :2], seen[:2, :2, :2]))
    many = [replace(heads[0], stored=np.full(SHAPE, i, np.uint8)) for i in range(6)]
    assert cross_fitted_priors(many, 3, 0.1) == [1, 2, 3, 4, 5, 6]
    members = [sorted(set(np.round((v[:, 0, 0, 0] + 1) * 127.5).astype(int).tolist())) for v in given]
    assert members == [
        [1, 2, 3, 4],
        [0, 2, 3, 4, 5],
        [0, 1, 3, 4, 5],
        [0, 1, 2, 4, 5],
        [0, 1, 2, 3, 5],
        [0, 1, 2, 3, 4, 5],
    ]
    assert [len(v) for v in given] == [8, 10, 10, 10, 10, 12], "each head and its mirror image"


def test_mirror_images_are_mirrored_left_to_right(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[np.ndarray] = []
    monkeypatch.setattr(examples_module, "fit_prior", lambda values, *rest: given.append(values))
    cross_fitted_priors(heads, 3, 0.1)
    np.testing.assert_array_equal(given[-1][2:], given[-1][:2, ::-1])


def test_a_coarse_item_tells_the_truth_only_where_it_is_known(heads: list[Head], prior: LinearPrior) -> None:
    example = draw_example(heads, 0, 2)
    item = coarse_item(example, prior)
    values, known, base = item.condition[0].numpy()
    unknown, target = item.unknown[0, 0].numpy() > 0, item.target[0, 0].numpy()
    assert item.augmentation == 0
    assert not (unknown & (known > 0)).any()
    assert not values[known == 0].any(), "the truth is hidden"
    assert not target[~unknown].any(), "what is known is not to be learned"
    truth, whole_known = (
        pool(example.values, example.known | example.unknown)[0],
        pool(example.values, example.known)[1],
    )
    box = working_box(as_tensor(~pool(example.values, ~example.unknown)[1]), BOX_MULTIPLE)[2:]
    np.testing.assert_array_equal(known > 0, whole_known[box])
    np.testing.assert_allclose(values[known > 0], truth[box][known > 0], atol=1e-6)
    scale = item.weight[0, 0].sqrt().numpy()
    np.testing.assert_array_equal(scale > 0, unknown)
    np.testing.assert_allclose((base + scale * target)[unknown], truth[box][unknown], atol=1e-6)


def test_a_fine_item_is_a_residual_over_its_base(heads: list[Head]) -> None:
    example = draw_example(heads, 0, 3)
    item = fine_item(example, np.random.default_rng(0), 0.0, 32)
    values, known, base = item.condition[0].numpy()
    target, unknown = item.target[0, 0].numpy(), item.unknown[0, 0].numpy() > 0
    assert unknown.any() and not target[~unknown].any() and not values[known == 0].any()
    restored = np.where(unknown, base + item.weight[0, 0].sqrt().numpy() * target, -9)
    assert np.abs(restored[unknown]).max() <= 1.001
    assert np.isin(np.round(restored[unknown], 4), np.round(example.values[example.unknown], 4)).all()


def test_a_noisier_coarse_volume_is_announced(heads: list[Head]) -> None:
    example = draw_example(heads, 0, 3)
    clean, noisy = (fine_item(example, np.random.default_rng(0), level, 32) for level in (0.0, 0.5))
    assert clean.augmentation == 0 and 0 < noisy.augmentation < 0.5
    unknown = clean.unknown[0, 0] > 0
    spread = (noisy.condition[0, 2] - clean.condition[0, 2])[unknown].std().item()
    assert 0.4 * noisy.augmentation < spread < noisy.augmentation, "interpolated noise is a little smaller"
    assert torch.equal(noisy.condition[0, :2], clean.condition[0, :2])


def test_conditions_do_not_change_with_the_truth_under_the_region(heads: list[Head], prior: LinearPrior) -> None:
    example = draw_example(heads, 0, 3)
    other = replace(example, values=np.where(example.unknown, 0.77, example.values).astype(np.float32))
    assert torch.equal(coarse_item(other, prior).condition, coarse_item(example, prior).condition)
    assert not torch.equal(coarse_item(other, prior).target, coarse_item(example, prior).target)


def test_crops_lie_on_the_coarse_grid_and_hold_unknown_voxels(heads: list[Head]) -> None:
    example = draw_example(heads, 0, 4)
    for seed in range(10):
        box = fine_crop(example, np.random.default_rng(seed), 32)
        assert all(s.stop - s.start == 32 and s.start % 2 == 0 and s.start >= 0 for s in box)
        assert example.values[box].shape == (32, 32, 32)
        assert example.unknown[box].any()


@pytest.mark.parametrize("unknown", [True, False], ids=["air only", "nothing"])
def test_an_example_without_unknown_tissue_still_gives_a_crop(heads: list[Head], unknown: bool) -> None:
    example = draw_example(heads, 0, 4)
    empty = replace(example, values=np.full(SHAPE, -1, np.float32), unknown=example.unknown & unknown)
    assert example.values[fine_crop(empty, np.random.default_rng(0), 32)].shape == (32, 32, 32)
    assert torch.isfinite(fine_item(empty, np.random.default_rng(0), 0.1, 32).target).all()


@pytest.mark.parametrize("stage", [TINY_COARSE, TINY_FINE], ids=["coarse", "fine"])
def test_items_are_ready_for_their_stage(heads: list[Head], prior: LinearPrior, stage) -> None:
    dataset = Items(heads, [prior] * 5, stage, seed=2, crop=32)
    item, again = dataset[5], dataset[5]
    for name in ("target", "condition", "unknown"):
        assert torch.equal(getattr(item, name), getattr(again, name)), name
        assert getattr(item, name).dtype == torch.float32
    assert item.augmentation == again.augmentation and 0 <= item.augmentation <= stage.augmentation
    assert item.target.shape == item.unknown.shape and item.target.shape[:2] == (1, 1)
    assert item.condition.shape == (1, stage.network.condition_channels, *item.target.shape[2:])
    assert all(side % BOX_MULTIPLE == 0 for side in item.target.shape[2:])


@pytest.mark.parametrize("stage", [COARSE, FINE], ids=["coarse", "fine"])
def test_training_boxes_suit_the_networks(stage) -> None:
    assert BOX_MULTIPLE % stage.network.multiple == 0
