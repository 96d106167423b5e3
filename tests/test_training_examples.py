"""Training examples: functions of seed and step; values, fields and regions stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_training_augment import plain_draw
from training_heads import FIELD_SHAPE, SHAPE, TINY_COARSE, TINY_FINE, average_heads, small_prior

from bids_refacer.diffusion.cascade import COARSE, FINE
from bids_refacer.refacing.defaced_head import estimated_head
from bids_refacer.refacing.fields import skin_certain, skin_field, tissue_field
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.unknown import Level
from bids_refacer.training.data import batches
from bids_refacer.training.data import examples as module
from bids_refacer.training.data.augment import apply_pose
from bids_refacer.training.data.batches import Items
from bids_refacer.training.data.examples import BOX_MULTIPLE, Attacked, Example, attacked, draw_example, fine_crop
from bids_refacer.training.data.heads import Head
from bids_refacer.volumes.grid import pool

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear

VOLUMES = ("values", "known", "seen", "skin", "tissue", "skin_seen")


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return average_heads()


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    return small_prior()


@pytest.fixture(scope="module")
def drawn(heads: list[Head]) -> list[Example]:
    return [draw_example(heads, 3, step) for step in (11, 12, 13)]


@pytest.fixture(scope="module")
def found(drawn: list[Example], prior: LinearPrior) -> list[Attacked]:
    return [attacked(example, prior) for example in drawn]


def test_an_example_is_a_function_of_seed_and_step(heads: list[Head], drawn: list[Example]) -> None:
    np.random.default_rng().random()
    again = draw_example(heads, 3, 11)
    for name in VOLUMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(drawn[0], name))
    assert (again.fold, again.head.name) == (drawn[0].fold, drawn[0].head.name)
    assert not np.array_equal(drawn[1].known, drawn[0].known)
    assert not np.array_equal(draw_example(heads, 4, 11).known, drawn[0].known)


def test_an_example_is_consistent(heads: list[Head], drawn: list[Example]) -> None:
    more = [draw_example(heads[1:], 0, step) for step in range(2)]  # the head whose view is cut
    for example in [*drawn, *more]:
        for name in VOLUMES:
            volume = getattr(example, name)
            assert volume.shape == (FIELD_SHAPE if name in ("skin", "tissue", "skin_seen") else SHAPE)
            assert volume.dtype == (np.float32 if name in ("values", "skin", "tissue") else bool)
            assert np.isfinite(volume).all()
        assert not (example.known & ~example.seen).any()
        seen = apply_pose(example.head.seen.astype(np.float32), 2, example.draw, 2) > 0.99
        np.testing.assert_array_equal(example.seen, seen)
        assert 0.01 < (example.seen & ~example.known).mean() < 0.99
        values, whole = pool(example.values, seen)
        known = pool(example.values, example.known)[1]
        assert (whole & ~known & (example.skin < 0)).any(), "some of the head is missing"
        np.testing.assert_array_equal(example.skin_seen, skin_certain(example.skin, whole, 4))
        np.testing.assert_array_equal(example.tissue, tissue_field(values, example.skin, whole))
    assert any(not (example.skin_seen | ~pool(example.values, example.seen)[1]).all() for example in more)


def test_without_augmentation_an_example_is_its_head(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: plain_draw())
    example = draw_example(heads[1:], 0, 0)
    head = heads[1]
    np.testing.assert_array_equal(example.seen, head.seen)
    np.testing.assert_allclose(example.values[head.seen], head.values[head.seen], atol=1e-5)
    np.testing.assert_allclose(example.skin, skin_field(head.skin_mm.astype(np.float32)), atol=1e-4)


def test_a_pose_moves_image_skin_and_region_together(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that is drawn where the head is must still lie there after flip, turn and shift."""
    inside = (heads[0].skin_mm < 0).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    monkeypatch.setattr(module, "draw_region", lambda head, rng, kinds: inside)
    monkeypatch.setattr(module, "ZEROED_BELOW", -2)
    flips = set()
    for step in range(4):
        example = draw_example(heads[:1], 7, step)
        flips.add(example.draw.flip)
        skin = example.skin.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        deep, off = skin < -0.5, skin > 0.8
        assert example.known[deep & example.seen].mean() < 0.001, "the region follows the skin"
        assert example.known[off & example.seen].mean() > 0.99
        assert example.values[off].mean() < -0.8 < example.values[deep].mean() - 0.2, "and the skin the image"
    assert flips == {False, True}


def test_a_voxel_is_known_when_all_that_it_is_made_from_is(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an attack: half a voxel of shift blurs the border of the region, and all that it touches is unknown."""
    region = np.zeros(SHAPE, bool)
    region[32:64, 88:, 40:64] = True
    monkeypatch.setattr(module, "draw_region", lambda head, rng, kinds: region)
    monkeypatch.setattr(module, "ZEROED_BELOW", -2)
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: plain_draw(shift=np.array([1.0, 0, 0])))
    example = draw_example(heads[:1], 0, 0)
    removed = example.seen & ~example.known
    wanted = region | np.roll(region, -1, axis=0)
    np.testing.assert_array_equal(removed, wanted & example.seen)


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
    region = np.zeros(SHAPE, bool)
    region[32:64, 88:, 40:64] = True
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: plain_draw())
    monkeypatch.setattr(module, "draw_region", lambda head, rng, kinds: region)
    zeroed = []
    for step in range(6):
        example = draw_example(heads[:1], 1, step)
        others = example.seen & ~example.known & ~region
        zeroed.append(bool(others.any()))
        assert (example.values[others] < module.ZEROED_BELOW).all()
        thin = others & ~ndimage.binary_opening(others | region, iterations=module.SOLID_VOXELS)
        assert not thin.any(), "a voxel of low signal in the head is no background"
    assert 0 < sum(zeroed) < 6


def test_a_fold_belongs_to_a_head(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold of an example is that of `cross_fitted_priors`: the place of its participant, modulo five."""
    many = [replace(heads[0], name=str(number)) for number in range(7)]
    nothing = np.zeros(SHAPE, np.float32)
    monkeypatch.setattr(module, "draw_region", lambda head, rng, kinds: nothing > 0)
    monkeypatch.setattr(module, "apply_pose", lambda *args, **kwargs: nothing)
    monkeypatch.setattr(module, "apply_intensity", lambda values, *rest: values)
    monkeypatch.setattr(module, "tissue_field", lambda values, *rest: values)
    monkeypatch.setattr(module, "skin_certain", lambda *rest: nothing > 0)
    drawn = [draw_example(many, 1, step) for step in range(40)]
    places = [int(example.head.name) for example in drawn]
    assert set(places) == set(range(7))
    assert [example.fold for example in drawn] == [place % 5 for place in places]


def test_items_are_given_the_prior_of_their_fold(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    folds, given = [], []

    def example(heads: list[Head], seed: int, step: int, kinds: object) -> Example:
        folds.append(step % 5)
        return replace(empty, fold=step % 5)

    volumes = (np.zeros(FIELD_SHAPE, np.float32),) * 6
    empty = Example(heads[0], plain_draw(), *volumes, 0)  # type: ignore[arg-type]
    monkeypatch.setattr(batches, "draw_example", example)
    monkeypatch.setattr(batches, "attacked", lambda example, prior: given.append(prior))
    monkeypatch.setattr(batches, "coarse_item", lambda found: None)
    monkeypatch.setattr(batches, "fine_item", lambda found, *rest: None)
    for stage in (TINY_COARSE, TINY_FINE):
        items = Items(heads, [f"prior {n}" for n in range(6)], stage, seed=2, crop=32)  # type: ignore[arg-type]
        _ = [items[index] for index in range(4)]
    assert given == [f"prior {fold}" for fold in folds] and len(given) == 8


def test_an_example_is_shown_as_an_attack_finds_it(drawn: list[Example], found: list[Attacked], prior) -> None:
    """The same function makes both: what was removed is hidden, and far removed voxels are air that is known."""
    for example, got in zip(drawn, found, strict=True):
        seen = Level(example.values, example.known, example.seen & ~example.known, 2)
        view = estimated_head(seen, prior, "kriged")
        for name in ("values", "known", "unknown"):
            np.testing.assert_array_equal(getattr(got.view, name), getattr(view, name))
        np.testing.assert_array_equal(got.view.fields.skin, view.fields.skin)
        np.testing.assert_array_equal(got.view.fields.tissue, view.fields.tissue)
        np.testing.assert_array_equal(view.known | view.unknown, example.seen)
        assert not (view.known & view.unknown).any() and not (view.unknown & example.known).any()
        assert view.unknown.any() and (view.values[example.seen & ~example.known] == -1).all()
        level = Level(view.values, view.known, view.unknown, 2).at(4)
        for name in ("known", "values", "unknown"):
            np.testing.assert_array_equal(getattr(got.level, name), getattr(level, name))
        np.testing.assert_array_equal(got.unknown, level.unknown)


def test_nothing_that_is_shown_follows_the_true_face(drawn: list[Example], prior: LinearPrior) -> None:
    """A border that runs 20 mm before the true skin would draw it: a network learns to read that, and nothing else."""
    example = drawn[0]
    lies = {
        "values": np.where(example.known, example.values, 0.5).astype(np.float32),
        "skin": np.full(FIELD_SHAPE, 2.0, np.float32),
        "tissue": np.full(FIELD_SHAPE, 0.1, np.float32),
    }
    one, other = (attacked(e, prior) for e in (example, replace(example, **lies)))
    assert one.unknown.any()
    np.testing.assert_array_equal(other.view.unknown, one.view.unknown)
    np.testing.assert_array_equal(other.view.values, one.view.values)
    np.testing.assert_array_equal(other.view.fields.skin, one.view.fields.skin)
    np.testing.assert_array_equal(other.view.fields.tissue, one.view.fields.tissue)


def test_nothing_is_unknown_where_no_tissue_is_missing(drawn: list[Example], prior: LinearPrior) -> None:
    example = drawn[0]
    air = np.kron(example.skin > 1.9, np.ones((2, 2, 2), bool)) & example.seen
    got = attacked(replace(example, known=example.seen & ~air), prior)
    assert not got.unknown.any() and not got.view.unknown.any()
    np.testing.assert_array_equal(got.view.known, example.seen)


def test_crops_hold_unknown_voxels_near_the_skin(found: list[Attacked]) -> None:
    for example in found:
        for seed in range(6):
            box = fine_crop(example, np.random.default_rng(seed), 32)
            assert all(s.stop - s.start == 16 and s.start >= 0 for s in box)
            assert example.unknown[box].shape == (16, 16, 16)
            assert (example.unknown & (np.abs(example.truth.skin) < 1))[box].any()


def test_a_crop_follows_its_random_numbers(found: list[Attacked]) -> None:
    boxes = {str(fine_crop(found[0], np.random.default_rng(seed), 32)) for seed in range(8)}
    assert len(boxes) == 8
    assert boxes == {str(fine_crop(found[0], np.random.default_rng(seed), 32)) for seed in range(8)}


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
