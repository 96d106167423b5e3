"""Training examples: functions of seed and step; values, fields and regions stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training_augment import plain_draw
from training_heads import FIELD_SHAPE, TINY_COARSE, TINY_FINE, average_heads, small_prior

from bids_refacer.diffusion.cascade import COARSE, FINE
from bids_refacer.training import batches
from bids_refacer.training import examples as module
from bids_refacer.training.augment import apply_pose
from bids_refacer.training.batches import Items
from bids_refacer.training.examples import BOX_MULTIPLE, Example, draw_example, fine_crop, narrowed
from bids_refacer.training.heads import Head
from bids_refacer.volumes.fields import skin_certain, skin_field, tissue_field
from bids_refacer.volumes.grid import pool
from bids_refacer.volumes.prior import LinearPrior

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear

VOLUMES = ("values", "skin", "tissue", "known", "unknown", "skin_seen")


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    return small_prior()


@pytest.fixture(scope="module")
def drawn(heads: list[Head]) -> list[Example]:
    return [draw_example(heads, 3, step) for step in (11, 12, 13)]


def test_an_example_is_a_function_of_seed_and_step(heads: list[Head], drawn: list[Example]) -> None:
    np.random.default_rng().random()
    again = draw_example(heads, 3, 11)
    for name in VOLUMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(drawn[0], name))
    assert (again.fold, again.gain, again.head.name) == (drawn[0].fold, drawn[0].gain, drawn[0].head.name)
    assert not np.array_equal(drawn[1].known, drawn[0].known)
    assert not np.array_equal(draw_example(heads, 4, 11).known, drawn[0].known)


def test_an_example_is_consistent(heads: list[Head], drawn: list[Example]) -> None:
    more = [draw_example(heads[1:], 0, step) for step in range(2)]  # the head whose view is cut
    for example in [*drawn, *more]:
        for name in VOLUMES:
            volume = getattr(example, name)
            assert volume.shape == FIELD_SHAPE
            assert volume.dtype == (np.float32 if name in ("values", "skin", "tissue") else bool)
        assert not (example.known & example.unknown).any()
        seen = apply_pose(example.head.seen.astype(np.float32), 2, example.draw, 4) > 0.99
        np.testing.assert_array_equal(example.known | example.unknown, seen)
        assert 0.01 < example.unknown.mean() < 0.99
        assert (example.unknown & (example.skin < 0)).any(), "some of the head is missing"
        np.testing.assert_array_equal(example.skin_seen, skin_certain(example.skin, seen, 4))
        np.testing.assert_array_equal(example.tissue, tissue_field(example.values, example.skin, seen))
        assert all(np.isfinite(getattr(example, name)).all() for name in ("values", "skin", "tissue"))
    assert any(not (example.skin_seen | ~(example.known | example.unknown)).all() for example in more)


def test_without_augmentation_an_example_is_its_head_pooled(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: plain_draw())
    example = draw_example(heads[1:], 0, 0)
    values, seen = pool(heads[1].values, heads[1].seen)
    both = example.known | example.unknown
    np.testing.assert_array_equal(both, seen)
    np.testing.assert_allclose(example.values[seen], values[seen], atol=2e-3)
    np.testing.assert_allclose(example.skin, skin_field(heads[1].skin_mm.astype(np.float32)), atol=1e-4)
    assert example.gain == pytest.approx(1, abs=1e-3)


def test_a_pose_moves_image_skin_and_region_together(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that is drawn where the head is must still lie there after flip, turn and shift."""
    monkeypatch.setattr(module, "draw_region", lambda head, rng: head.skin_mm < 0)
    flips = set()
    for step in range(4):
        example = draw_example(heads[:1], 7, step)
        flips.add(example.draw.flip)
        inside = example.known | example.unknown
        deep, off = example.skin < -0.5, example.skin > 0.5
        assert example.unknown[deep & inside].mean() > 0.999, "the region follows the skin"
        assert example.values[off].mean() < -0.85 < example.values[deep].mean() - 0.2, "and the skin the image"
        if not (example.unknown & off).any():  # air was not zeroed
            rim = np.abs(example.skin) < 0.2
            assert (example.unknown == (example.skin < 0))[~rim & inside].mean() > 0.995
    assert flips == {False, True}


def test_lengths_of_the_skin_field_grow_with_the_head(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: plain_draw(matrix=np.eye(3) * 0.9))
    example = draw_example(heads[:1], 0, 0)
    steps = np.stack(np.gradient(example.skin, 4 / 8))  # a distance changes by a mm a mm
    near = np.abs(example.skin) < 0.8
    assert np.median(np.linalg.norm(steps, axis=0)[near]) == pytest.approx(1, abs=0.02)


def test_air_is_removed_with_the_tissue_in_half_of_the_examples(
    heads: list[Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a tool that writes zeros into a scan with zeros around it."""
    region = np.zeros(FIELD_SHAPE, bool)
    region[16:32, 44:, 20:32] = True
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: plain_draw())
    monkeypatch.setattr(module, "draw_region", lambda head, rng: region)
    zeroed = []
    for step in range(6):
        example = draw_example(heads[:1], 1, step)
        others = example.unknown & ~region
        zeroed.append(bool(others.any()))
        # air at the threshold itself is left open: 8 bits were averaged
        low, high = (region | (zeroed[-1] & (example.values < module.AIR + off)) for off in (-0.005, 0.005))
        assert not (example.unknown & ~high).any() and not (low & ~example.unknown).any()
    assert 0 < sum(zeroed) < 6


def test_a_fold_belongs_to_a_head(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold of an example is that of `cross_fitted_priors`: the place of its participant, modulo five."""
    many = [replace(heads[0], name=str(number)) for number in range(7)]
    nothing = np.zeros(FIELD_SHAPE, np.float32)
    monkeypatch.setattr(Head, "pairs", nothing)
    monkeypatch.setattr(module, "draw_region", lambda head, rng: nothing > 0)
    monkeypatch.setattr(module, "apply_pose", lambda *args, **kwargs: nothing)
    monkeypatch.setattr(module, "apply_intensity", lambda values, *rest: (values, 1.0))
    monkeypatch.setattr(module, "tissue_field", lambda values, *rest: values)
    drawn = [draw_example(many, 1, step) for step in range(40)]
    places = [int(example.head.name) for example in drawn]
    assert set(places) == set(range(7))
    assert [example.fold for example in drawn] == [place % 5 for place in places]


def test_items_are_given_the_prior_of_their_fold(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    folds, given = [], []

    def example(heads: list[Head], seed: int, step: int) -> Example:
        folds.append(step % 5)
        return replace(empty, fold=step % 5)

    empty = Example(heads[0], plain_draw(), 1.0, *(np.zeros(FIELD_SHAPE, np.float32),) * 6, 0)  # type: ignore[arg-type]
    monkeypatch.setattr(batches, "draw_example", example)
    monkeypatch.setattr(batches, "narrowed", lambda example, prior: example)
    monkeypatch.setattr(batches, "coarse_item", lambda example, prior: given.append(prior))
    monkeypatch.setattr(batches, "fine_item", lambda example, prior, *rest: given.append(prior))
    for stage in (TINY_COARSE, TINY_FINE):
        items = Items(heads, [f"prior {n}" for n in range(6)], stage, seed=2, crop=32)  # type: ignore[arg-type]
        _ = [items[index] for index in range(4)]
    assert given == [f"prior {fold}" for fold in folds] and len(given) == 8


def test_the_region_to_paint_is_near_missing_tissue_and_far_air_is_known(heads: list[Head]) -> None:
    for step in range(4):
        example = draw_example(heads[:1], 5, step)
        got = narrowed(example, small_prior())
        np.testing.assert_array_equal(got.known | got.unknown, example.known | example.unknown)
        assert not (got.known & got.unknown).any() and not (got.unknown & ~example.unknown).any()
        assert 0 < got.unknown.sum() <= example.unknown.sum()


def test_the_region_to_paint_does_not_follow_the_true_face(heads: list[Head]) -> None:
    """A border that runs 20 mm before the true skin would draw it: a network learns to read that, and nothing else."""
    example = draw_example(heads[:1], 5, 1)
    lies = {
        name: np.where(example.unknown, value, getattr(example, name)).astype(np.float32)
        for name, value in (("values", 0.5), ("skin", 2.0), ("tissue", 0.1))
    }
    one, other = (narrowed(e, small_prior()) for e in (example, replace(example, **lies)))
    assert one.unknown.any() and (one.skin != other.skin).any()
    np.testing.assert_array_equal(other.unknown, one.unknown)
    np.testing.assert_array_equal(other.known, one.known)


def test_nothing_is_unknown_where_no_tissue_is_missing(heads: list[Head]) -> None:
    example = draw_example(heads[:1], 5, 0)
    air = (example.known | example.unknown) & (example.skin > 1.9)
    got = narrowed(replace(example, unknown=air, known=~air & (example.known | example.unknown)), small_prior())
    assert not got.unknown.any() and got.known[air].all()


def test_crops_hold_unknown_voxels_near_the_skin(drawn: list[Example]) -> None:
    for example in drawn:
        for seed in range(6):
            box = fine_crop(example, np.random.default_rng(seed), 32)
            assert all(s.stop - s.start == 16 and s.start >= 0 for s in box)
            assert example.values[box].shape == (16, 16, 16)
            assert (example.unknown & (np.abs(example.skin) < 1))[box].any()


def test_a_crop_follows_its_random_numbers(drawn: list[Example]) -> None:
    boxes = {str(fine_crop(drawn[0], np.random.default_rng(seed), 32)) for seed in range(8)}
    assert len(boxes) == 8
    assert boxes == {str(fine_crop(drawn[0], np.random.default_rng(seed), 32)) for seed in range(8)}


@pytest.mark.parametrize("stage", [TINY_COARSE, TINY_FINE], ids=["coarse", "fine"])
def test_items_are_ready_for_their_stage(heads: list[Head], prior: LinearPrior, stage) -> None:
    dataset = Items(heads, [prior] * 5, stage, seed=2, crop=32)
    item, again = dataset[5], dataset[5]
    for name in ("target", "condition", "unknown", "weight"):
        assert torch.equal(getattr(item, name), getattr(again, name)), name
        assert getattr(item, name).dtype == torch.float32
    assert item.augmentation == again.augmentation and 0 <= item.augmentation <= stage.augmentation
    sides = item.target.shape[2:]
    assert item.target.shape == item.weight.shape == (1, stage.network.target_channels, *sides)
    assert item.unknown.shape == (1, 1, *sides)
    assert item.condition.shape == (1, stage.network.condition_channels, *sides)
    assert all(side % BOX_MULTIPLE == 0 for side in sides)


@pytest.mark.parametrize("stage", [COARSE, FINE], ids=["coarse", "fine"])
def test_training_boxes_suit_the_networks(stage) -> None:
    assert BOX_MULTIPLE % stage.network.multiple == 0
