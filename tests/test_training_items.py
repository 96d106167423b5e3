"""What a stage is shown of an example and what it has to find: the network is told nothing of the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training_augment import plain_draw, strong_draw
from training_heads import FIELD_SHAPE, SHAPE, average_heads, small_prior

from bids_refacer.refacing.conditioning import render, residual_scale, upsample, working_box
from bids_refacer.refacing.fields import to_torch
from bids_refacer.training.data import examples as module
from bids_refacer.training.data.examples import (
    BOX_MULTIPLE,
    FAR_WEIGHT,
    Attacked,
    attacked,
    coarse_item,
    draw_example,
    expected_precision,
    fine_crop,
    fine_item,
)

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear

REGION = np.zeros(SHAPE, bool)
REGION[16:79, 72:119, 16:67] = True  # its borders run through voxels of 4 mm


def face_removed(number: int, monkeypatch: pytest.MonkeyPatch) -> Attacked:
    """One of the heads as it is, its face removed."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "draw_augmentation", lambda rng: plain_draw())
        patch.setattr(module, "draw_region", lambda head, rng, kinds: REGION)
        patch.setattr(module, "ZEROED_BELOW", -2)
        return attacked(draw_example(average_heads()[number : number + 1], 0, 0), small_prior())


@pytest.fixture(scope="module")
def patch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def example(patch_module) -> Attacked:
    return face_removed(0, patch_module)


@pytest.fixture(scope="module")
def cut(patch_module) -> Attacked:
    """A head whose view ends above the neck, 40 mm under the region's upper part."""
    return face_removed(1, patch_module)


def fine(example: Attacked, augmentation: float = 0.0, seed: int = 0, crop: int = 48):
    """The item, and its box on the 4 mm and on the 2 mm grid: the crop takes the first random numbers."""
    item = fine_item(example, np.random.default_rng(seed), augmentation, crop)
    box = fine_crop(example, np.random.default_rng(seed), crop)
    return item, box, tuple(slice(2 * part.start, 2 * part.stop) for part in box)


def twice(mask: np.ndarray) -> np.ndarray:
    return np.kron(mask, np.ones((2, 2, 2), bool))


def test_a_coarse_item_asks_for_the_fields_and_tells_what_is_known(example: Attacked) -> None:
    item, level, truth = coarse_item(example), example.level, example.truth
    box = working_box(level.unknown, BOX_MULTIPLE)
    base = to_torch(example.view.fields)[box]
    unknown = example.unknown[box[2:]]
    np.testing.assert_array_equal(item.unknown[0, 0].numpy() > 0, unknown)
    assert item.unknown.sum() == example.unknown.sum() and item.augmentation == 0
    fields = np.stack([truth.skin[box[2:]], truth.tissue[box[2:]]])
    restored = (base + item.target)[0].numpy()
    np.testing.assert_allclose(restored[:, unknown], fields[:, unknown], atol=1e-6)
    assert not item.target[0].numpy()[:, ~unknown].any(), "what is known is not to be learned"
    assert torch.equal(item.condition[:, 2:], base)
    assert torch.equal(item.condition[:, 1:2], to_torch(level.known)[box])
    assert torch.equal(item.condition[:, :1], to_torch(level.values * level.known)[box]), "the truth is hidden"


def test_a_coarse_item_weighs_fields_where_the_estimate_says_that_they_show_in_an_image(cut: Attacked) -> None:
    box = working_box(cut.level.unknown, BOX_MULTIPLE)[2:]
    skin_weight, tissue_weight = coarse_item(cut).weight[0].numpy()
    skin, unknown, certain = cut.view.fields.skin[box], cut.unknown[box], cut.truth.skin_seen[box]
    near, inside = np.where(np.abs(skin) < 1, 1, FAR_WEIGHT), np.where(skin < 0.5, 1, FAR_WEIGHT)
    by_distance = expected_precision(cut)[0, 0].numpy()[box]
    np.testing.assert_allclose(skin_weight, near * (unknown & certain) * by_distance, atol=1e-6)
    np.testing.assert_allclose(tissue_weight, inside * unknown * by_distance, atol=1e-6)
    for place in (near, inside):
        assert len(np.unique(place[unknown])) == 2, "there is something to tell apart"
    assert (unknown & ~certain).any()


def test_residuals_far_from_what_is_known_weigh_less(cut: Attacked) -> None:
    """An error of 0.1 + d / 200 mm is expected at d mm; the weight is its inverse square, 1 at 20 mm."""
    weight, known = expected_precision(cut)[0, 0].numpy(), np.argwhere(~cut.unknown)
    for place in np.argwhere(cut.unknown)[::997]:
        distance = 4 * np.sqrt(((known - place) ** 2).sum(1)).min()
        assert weight[tuple(place)] == pytest.approx((0.2 / (0.1 + distance / 200)) ** 2, rel=1e-5)
    assert weight[cut.unknown].max() > 2 * weight[cut.unknown].min() > 0


def test_the_weights_do_not_follow_the_truth(cut: Attacked) -> None:
    """Weights that are large where the true distance is small would make every learned distance too small."""
    moved = replace(cut, truth=replace(cut.truth, skin=cut.truth.skin + 0.7))
    assert torch.equal(coarse_item(moved).weight, coarse_item(cut).weight)


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_nothing_is_learned_outside_the_view(cut: Attacked, stage: str) -> None:
    """The region reaches beyond the view; there is air in the cached head, but nobody knows what there was."""
    seen = cut.truth.seen
    assert (REGION & ~seen).any() and not (cut.view.unknown & ~seen).any()
    if stage == "coarse":
        item, box = coarse_item(cut), working_box(cut.level.unknown, BOX_MULTIPLE)[2:]
        outside = ~(cut.unknown | cut.level.known)[box]
    else:
        chosen = [fine(cut, seed=seed) for seed in range(12)]
        item, box, double = next(c for c in chosen if (~seen[c[2]]).any())
        outside = ~seen[double]
        certain = twice(cut.truth.skin_seen[box])
        np.testing.assert_array_equal(item.weight[0, 0].numpy() > 0, cut.view.unknown[double] & certain)
    assert outside.any() and not item.weight[0].numpy()[:, outside].any()
    assert not item.unknown[0, 0].numpy()[outside].any() and not item.condition[0, :2].numpy()[:, outside].any()


@pytest.mark.parametrize("name", ["values", "skin", "tissue"])
def test_a_coarse_condition_does_not_change_with_the_truth(example: Attacked, name: str) -> None:
    hidden = example.view.unknown if name == "values" else example.unknown
    changed = np.where(hidden, 0.77, getattr(example.truth, name)).astype(np.float32)
    other = attacked(replace(example.truth, **{name: changed}), small_prior())
    one, two = coarse_item(example), coarse_item(other)
    assert torch.equal(two.condition, one.condition)
    assert torch.equal(two.target, one.target) == (name == "values"), "fields are asked for, not intensities"


def test_a_fine_condition_does_not_change_with_the_intensities_that_are_to_be_found(example: Attacked) -> None:
    before, _, _ = fine(example, 0.1)
    lies = np.where(example.view.unknown, 0.77, example.truth.values).astype(np.float32)
    after, _, _ = fine(attacked(replace(example.truth, values=lies), small_prior()), 0.1)
    assert torch.equal(after.condition, before.condition) and torch.equal(after.weight, before.weight)
    assert not torch.equal(after.target, before.target)


def test_a_fine_item_is_a_residual_over_the_image_of_its_fields(example: Attacked) -> None:
    item, box, double = fine(example)
    unknown, known = example.view.unknown[double], example.view.known[double]
    truth = np.stack([example.truth.skin[box], example.truth.tissue[box]])
    linear = np.stack([example.view.fields.skin[box], example.view.fields.tissue[box]])
    fields = upsample(torch.from_numpy(np.where(example.unknown[box], truth, linear))[None])
    skin, base = fields[:, :1], render(fields[:, :1], fields[:, 1:], 2)
    torch.testing.assert_close(item.condition[:, 2:], torch.cat([base, skin], 1), atol=1e-5, rtol=0)
    values = example.truth.head.values[double]
    np.testing.assert_allclose(item.condition[0, 0].numpy(), example.view.values[double] * known, atol=1e-5)
    np.testing.assert_array_equal(item.condition[0, 1].numpy() > 0, known)
    restored = (base + residual_scale(skin) * item.target)[0, 0].numpy()
    np.testing.assert_allclose(restored[unknown], values[unknown], atol=1e-5)
    assert not item.target[0, 0].numpy()[~unknown].any()
    torch.testing.assert_close(item.weight, residual_scale(skin) ** 2 * item.unknown, atol=1e-6, rtol=0)


def test_the_region_of_a_fine_item_is_that_of_the_fine_grid(example: Attacked) -> None:
    """As in an attack; a voxel of 4 mm that is partly known is unknown to the first stage alone."""
    finer = 0
    for seed in range(6):
        item, box, _ = fine(example, seed=seed)
        coarse = twice(example.unknown[box])
        unknown = item.unknown[0, 0].numpy() > 0
        assert not (unknown & ~coarse).any()
        finer += int((coarse & ~unknown).sum())
    assert finer > 0


def test_noise_of_the_fields_is_announced_and_lies_where_they_were_drawn(example: Attacked) -> None:
    (clean, box, _), (noisy, _, _) = (fine(example, level) for level in (0.0, 0.5))
    assert clean.augmentation == 0 and 0 < noisy.augmentation < 0.5
    difference = (noisy.condition[0, 3] - clean.condition[0, 3]).numpy()
    unknown = twice(example.unknown[box])
    assert 0.4 * noisy.augmentation < difference[unknown].std() < noisy.augmentation, "interpolated noise is smaller"
    mask = torch.from_numpy(example.unknown[box].astype(np.float32))[None, None]
    far = ~torch.nn.functional.max_pool3d(mask, 7, 1, 3)[0, 0].numpy().astype(bool)
    if far.any():
        assert np.abs(difference[twice(far)]).max() < 0.05 * noisy.augmentation
    assert torch.equal(noisy.condition[:, :2], clean.condition[:, :2])


def test_intensities_of_an_item_are_augmented(monkeypatch: pytest.MonkeyPatch) -> None:
    """One contrast, bias and noise for both stages: the coarse values are the fine ones, pooled."""
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: strong_draw())
    monkeypatch.setattr(module, "draw_region", lambda head, rng, kinds: REGION)
    found = attacked(draw_example(average_heads()[:1], 5, 0), small_prior())
    item, box, _ = fine(found)
    known = found.level.known[box]
    pooled = torch.nn.functional.avg_pool3d(item.condition[:, :1], 2)[0, 0].numpy()[known]
    np.testing.assert_allclose(pooled, found.level.values[box][known], atol=1e-5)
    plain = draw_example(average_heads()[:1], 5, 0).head.values
    assert np.abs(found.truth.values - plain).mean() > 0.01


@pytest.mark.parametrize("unknown", [True, False], ids=["air only", "nothing"])
def test_an_example_without_unknown_skin_still_gives_a_crop(example: Attacked, unknown: bool) -> None:
    truth = replace(example.truth, skin=np.full(FIELD_SHAPE, 2, np.float32))
    level = replace(example.level, unknown=example.level.unknown & unknown)
    empty = replace(example, truth=truth, level=level)
    item, box, _ = fine(empty, 0.1, crop=32)
    assert empty.unknown[box].shape == (16, 16, 16)
    assert all(torch.isfinite(t).all() for t in (item.target, item.condition, item.weight))
    assert torch.isfinite(coarse_item(empty).target).all()
