"""What a stage is shown of an example and what it has to find: the network is told nothing of the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training_augment import plain_draw, strong_draw
from training_heads import FIELD_SHAPE, average_heads, small_prior

from bids_refacer.refacing.conditioning import anchored_fields, as_tensor, render, residual_scale, upsample, working_box
from bids_refacer.training import examples as module
from bids_refacer.training.examples import (
    BOX_MULTIPLE,
    FAR_WEIGHT,
    Example,
    Level,
    coarse_item,
    draw_example,
    fine_crop,
    fine_item,
)
from bids_refacer.volumes.prior import LinearPrior

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear

REGION = np.zeros(FIELD_SHAPE, bool)
REGION[8:40, 36:60, 8:34] = True


def face_removed(number: int, monkeypatch: pytest.MonkeyPatch, zeroed_air: bool = False) -> Example:
    """One of the heads as it is, its face removed."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "draw_augmentation", lambda rng: plain_draw())
        patch.setattr(module, "draw_region", lambda head, rng: REGION)
        patch.setattr(module, "AIR", -0.94 if zeroed_air else -2)
        return draw_example(average_heads()[number : number + 1], 0, 0)


@pytest.fixture(scope="module")
def patch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def example(patch_module) -> Example:
    return face_removed(0, patch_module)


@pytest.fixture(scope="module")
def cut(patch_module) -> Example:
    """A head whose view ends above the neck, 40 mm under the region's upper part."""
    return face_removed(1, patch_module)


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    return small_prior()


def fine(example: Example, prior: LinearPrior, augmentation: float = 0.0, seed: int = 0, crop: int = 48):
    """The item, and its box on the 4 mm grid: the crop takes the first random numbers."""
    item = fine_item(example, prior, np.random.default_rng(seed), augmentation, crop)
    return item, fine_crop(example, np.random.default_rng(seed), crop)


def twice(mask: np.ndarray) -> np.ndarray:
    return np.kron(mask, np.ones((2, 2, 2), bool))


def level_of(example: Example) -> Level:
    return Level(*(as_tensor(getattr(example, name)) for name in ("values", "known", "unknown")))


def test_a_coarse_item_asks_for_the_fields_and_tells_what_is_known(example: Example, prior: LinearPrior) -> None:
    item, level = coarse_item(example, prior), level_of(example)
    box = working_box(level.unknown, BOX_MULTIPLE)
    base = anchored_fields(prior, level, example.skin)[box]
    unknown = example.unknown[box[2:]]
    np.testing.assert_array_equal(item.unknown[0, 0].numpy() > 0, unknown)
    assert item.unknown.sum() == example.unknown.sum() and item.augmentation == 0
    truth = np.stack([example.skin[box[2:]], example.tissue[box[2:]]])
    restored = (base + item.target)[0].numpy()
    np.testing.assert_allclose(restored[:, unknown], truth[:, unknown], atol=1e-6)
    assert not item.target[0].numpy()[:, ~unknown].any(), "what is known is not to be learned"
    assert torch.equal(item.condition[:, 2:], base)
    assert torch.equal(item.condition[:, 1:2], level.known[box])
    assert torch.equal(item.condition[:, :1], (level.values * level.known)[box]), "the truth is hidden"


def test_a_coarse_item_weighs_fields_where_they_show_in_an_image(cut: Example, prior: LinearPrior) -> None:
    box = working_box(as_tensor(cut.unknown), BOX_MULTIPLE)[2:]
    skin_weight, tissue_weight = coarse_item(cut, prior).weight[0].numpy()
    skin, unknown, certain = cut.skin[box], cut.unknown[box], cut.skin_seen[box]
    near, inside = np.where(np.abs(skin) < 1, 1, FAR_WEIGHT), np.where(skin < 0.5, 1, FAR_WEIGHT)
    np.testing.assert_allclose(skin_weight, near * (unknown & certain), atol=1e-6)
    np.testing.assert_allclose(tissue_weight, inside * unknown, atol=1e-6)
    for place in (near, inside):
        assert len(np.unique(place[unknown])) == 2, "there is something to tell apart"
    assert (unknown & ~certain).any()


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_nothing_is_learned_outside_the_view(cut: Example, prior: LinearPrior, stage: str) -> None:
    """The region reaches beyond the view; there is air in the cached head, but nobody knows what there was."""
    seen = cut.known | cut.unknown
    assert (REGION & ~seen).any() and not (cut.unknown & ~seen).any()
    if stage == "coarse":
        item, box = coarse_item(cut, prior), working_box(as_tensor(cut.unknown), BOX_MULTIPLE)[2:]
        outside = ~seen[box]
    else:
        chosen = [fine(cut, prior, seed=seed) for seed in range(12)]
        item, box = next((i, b) for i, b in chosen if (~seen[b]).any())
        outside = twice(~seen[box])
        np.testing.assert_array_equal(item.weight[0, 0].numpy() > 0, twice(cut.unknown[box] & cut.skin_seen[box]))
    assert outside.any() and not item.weight[0].numpy()[:, outside].any()
    assert not item.unknown[0, 0].numpy()[outside].any() and not item.condition[0, :2].numpy()[:, outside].any()


@pytest.mark.parametrize("name", ["values", "skin", "tissue"])
def test_a_coarse_condition_does_not_change_with_the_truth(example: Example, prior: LinearPrior, name: str) -> None:
    changed = np.where(example.unknown, 0.77, getattr(example, name)).astype(np.float32)
    one, other = (coarse_item(e, prior) for e in (example, replace(example, **{name: changed})))
    assert torch.equal(other.condition, one.condition)
    assert torch.equal(other.target, one.target) == (name == "values"), "fields are asked for, not intensities"


def test_a_fine_condition_does_not_change_with_the_intensities_that_are_to_be_found(
    example: Example, prior: LinearPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, box = fine(example, prior, 0.1)
    true_values = module._fine_values
    hidden = twice(example.unknown[box])
    monkeypatch.setattr(module, "_fine_values", lambda *rest: np.where(hidden, 0.77, true_values(*rest)))
    after, _ = fine(example, prior, 0.1)
    assert torch.equal(after.condition, before.condition) and torch.equal(after.weight, before.weight)
    assert not torch.equal(after.target, before.target)


def test_a_fine_item_is_a_residual_over_the_image_of_its_fields(example: Example, prior: LinearPrior) -> None:
    item, box = fine(example, prior)
    unknown, known = twice(example.unknown[box]), twice(example.known[box])
    truth = np.stack([example.skin[box], example.tissue[box]])
    linear = anchored_fields(prior, level_of(example), example.skin)[0].numpy()[(slice(None), *box)]
    fields = upsample(torch.from_numpy(np.where(example.unknown[box], truth, linear))[None])
    skin, base = fields[:, :1], render(fields[:, :1], fields[:, 1:], 2)
    torch.testing.assert_close(item.condition[:, 2:], torch.cat([base, skin], 1), atol=1e-5, rtol=0)
    corner = tuple(slice(2 * part.start, 2 * part.stop) for part in box)
    values = example.head.values[corner]
    np.testing.assert_allclose(item.condition[0, 0].numpy(), values * known, atol=1e-5)
    np.testing.assert_array_equal(item.condition[0, 1].numpy() > 0, known)
    restored = (base + residual_scale(skin) * item.target)[0, 0].numpy()
    np.testing.assert_allclose(restored[unknown], values[unknown], atol=1e-5)
    assert not item.target[0, 0].numpy()[~unknown].any()
    torch.testing.assert_close(item.weight, residual_scale(skin) ** 2 * item.unknown, atol=1e-6, rtol=0)


def test_fields_of_a_fine_item_are_the_linear_estimate_where_voxels_are_known(
    example: Example, prior: LinearPrior
) -> None:
    """An attack has no better there; of the known voxels' truth, it sees the intensities and the skin itself."""
    item, box = fine(example, prior)
    assert example.known[box].any()
    deep = example.known & (np.abs(example.skin) > 0.5)
    lies = {
        "skin": np.where(deep, 1.3 * example.skin, example.skin),
        "tissue": np.where(example.known, 0.3, example.tissue).astype(np.float32),
    }
    other, same_box = fine(replace(example, **lies), prior)
    assert same_box == box and torch.equal(other.condition, item.condition)
    moved = prior.blocks["skin"]
    nearer = replace(prior, blocks={**prior.blocks, "skin": replace(moved, mean=moved.mean - 0.1)})
    shifted = fine(example, nearer)[0].condition[0, 3] - item.condition[0, 3]
    known = torch.from_numpy(twice(example.known[box]))
    clear = item.condition[0, 3].abs() < 1.5  # not where the field is cut off
    assert shifted[known & clear].median() < -0.005 and shifted[known & clear].min() < -0.08, "less where skin is seen"
    assert shifted[~known & clear].median().abs() < 1e-3


def test_noise_of_the_fields_is_announced_and_lies_where_they_were_drawn(example: Example, prior: LinearPrior) -> None:
    (clean, box), (noisy, _) = (fine(example, prior, level) for level in (0.0, 0.5))
    assert clean.augmentation == 0 and 0 < noisy.augmentation < 0.5
    difference = (noisy.condition[0, 3] - clean.condition[0, 3]).numpy()
    unknown = twice(example.unknown[box])
    assert 0.4 * noisy.augmentation < difference[unknown].std() < noisy.augmentation, "interpolated noise is smaller"
    far = ~torch.nn.functional.max_pool3d(as_tensor(example.unknown[box]), 7, 1, 3)[0, 0].numpy().astype(bool)
    if far.any():
        assert np.abs(difference[twice(far)]).max() < 0.05 * noisy.augmentation
    assert torch.equal(noisy.condition[:, :2], clean.condition[:, :2])


def test_intensities_of_the_fine_grid_are_those_of_the_coarse_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pose, contrast, bias and gain: pooled, one is the other but for the interpolation."""
    heads, prior = average_heads()[:1], small_prior()
    quiet = replace(strong_draw(), noise=0.0, blur=0.0)
    monkeypatch.setattr(module, "draw_augmentation", lambda rng: quiet)
    monkeypatch.setattr(module, "draw_region", lambda head, rng: REGION)
    example = draw_example(heads, 5, 0)
    item, box = fine(example, prior)
    known = example.known[box]
    pooled = torch.nn.functional.avg_pool3d(item.condition[:, :1], 2)[0, 0].numpy()[known]
    inside = example.skin[box][known] < -0.5
    difference = (pooled - example.values[box][known])[inside]
    assert inside.sum() > 100 and abs(np.median(difference)) < 0.01
    assert np.corrcoef(pooled[inside], example.values[box][known][inside])[0, 1] > 0.97


@pytest.mark.parametrize("unknown", [True, False], ids=["air only", "nothing"])
def test_an_example_without_unknown_skin_still_gives_a_crop(
    example: Example, prior: LinearPrior, unknown: bool
) -> None:
    empty = replace(example, skin=np.full(FIELD_SHAPE, 2, np.float32), unknown=example.unknown & unknown)
    item, box = fine(empty, prior, 0.1, crop=32)
    assert empty.values[box].shape == (16, 16, 16)
    assert all(torch.isfinite(t).all() for t in (item.target, item.condition, item.weight))
    assert torch.isfinite(coarse_item(empty, prior).target).all()
