"""Training examples, regions, augmentation, and a loop that is killed and resumed."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import Dataset

from bids_refacer.diffusion.cascade import COARSE, FINE
from bids_refacer.refacing.conditioning import as_tensor, working_box
from bids_refacer.training import examples as examples_module
from bids_refacer.training import loop
from bids_refacer.training.augment import Augmentation, apply_intensity, apply_pose, draw_augmentation
from bids_refacer.training.batches import Items
from bids_refacer.training.examples import (
    BOX_MULTIPLE,
    Item,
    coarse_item,
    cross_fitted_priors,
    draw_example,
    fine_crop,
    fine_item,
)
from bids_refacer.training.heads import Head, load_head, make_head, save_head
from bids_refacer.training.loop import LoopSettings, learning_rate, train_stage
from bids_refacer.training.regions import KINDS, draw_region, shear_region, template_region, zone_region
from bids_refacer.volumes.grid import CANONICAL, Alignment, pool
from bids_refacer.volumes.prior import LinearPrior
from bids_refacer.volumes.templates import asset

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear

SHAPE = CANONICAL[2].shape
TINY = {"channels": (8, 16), "blocks": 1, "embedding": 16, "attention": False}
TINY_COARSE = replace(COARSE, network=replace(COARSE.network, **TINY))
TINY_FINE = replace(FINE, network=replace(FINE.network, **TINY))


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    """The average head, and the same 4 % narrower with a field of view that ends above the neck."""
    values, affine = asset("average_head.nii.gz")
    brain = asset("average_brain_mask.nii.gz")[0] > 0
    first = make_head("avg", values.astype(np.float32), affine, brain, Alignment(np.eye(4), np.eye(4)))
    narrow = np.diag([0.96, 1, 1, 1]) @ affine
    second = make_head(
        "narrow", values[:, :, 20:].astype(np.float32), _cut(narrow, 20), brain[:, :, 20:], first.alignment
    )
    return [first, second]


def _cut(affine: np.ndarray, slices: int) -> np.ndarray:
    moved = affine.copy()
    moved[:3, 3] += slices * affine[:3, 2]
    return moved


@pytest.fixture(scope="module")
def prior(heads: list[Head]) -> LinearPrior:
    rng = np.random.default_rng(0)
    mean = pool(heads[0].values, heads[0].seen)[0]
    support = mean > -0.9
    return LinearPrior(mean, rng.normal(0, 0.02, (2, support.sum())).astype(np.float32), support, 1.0)


# Heads -------------------------------------------------------------------------------------------------------------


def test_a_head_in_the_frame_is_stored_within_a_grey_level(heads: list[Head]) -> None:
    values = asset("average_head.nii.gz")[0].astype(np.float32)
    scale = np.median(values[heads[0].brain])
    expected = np.clip(values / scale, 0, 2.5) / 1.25 - 1
    assert heads[0].seen.all()
    np.testing.assert_allclose(heads[0].values, expected, atol=1 / 255 + 1e-6)
    np.testing.assert_array_equal(heads[0].brain, asset("average_brain_mask.nii.gz")[0] > 0)


def test_a_cut_field_of_view_is_not_seen_and_holds_air(heads: list[Head]) -> None:
    head = heads[1]
    z = (CANONICAL[2].affine[2, 3] + 2 * np.arange(SHAPE[2]))[None, None]
    assert not head.seen[:, :, :20].any() and head.seen[8:-8, 1:-1, 21:-1].all()
    assert (head.values[~head.seen] == -1).all()
    assert z[0, 0, 20] == pytest.approx(-111.0)


def test_a_head_survives_the_disk(heads: list[Head], tmp_path: Path) -> None:
    save_head(heads[1], tmp_path)
    again = load_head(tmp_path / "narrow.npz")
    assert again.name == "narrow" and [p.name for p in tmp_path.iterdir()] == ["narrow.npz"]
    for name in ("stored", "seen", "brain"):
        np.testing.assert_array_equal(getattr(again, name), getattr(heads[1], name))
    np.testing.assert_array_equal(again.alignment.affine, heads[1].alignment.affine)


# Regions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_region_touches_the_brain(heads: list[Head], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bids_refacer.training.regions.KINDS", {kind: 1.0})
    for seed in range(3):
        region = draw_region(heads[0], np.random.default_rng(seed))
        assert region.shape == SHAPE and region.dtype == bool
        assert not (region & heads[0].brain).any()


def test_every_kind_of_region_is_drawn_as_often_as_it_says() -> None:
    assert sum(KINDS.values()) == pytest.approx(1)


def at(x: float, y: float, z: float) -> tuple[int, int, int]:
    return tuple(np.round((np.array([x, y, z]) - CANONICAL[2].affine[:3, 3]) / 2).astype(int))


def nose_tip(head: Head) -> tuple[int, int, int]:
    """Foremost tissue of the middle slices between the brows and the chin."""
    tissue = head.values[44:52, :, :] > -0.7
    k0 = at(0, 0, -80)[2]
    band = tissue[:, :, k0 : at(0, 0, 0)[2]]
    i, j, k = np.argwhere(band)[np.argwhere(band)[:, 1].argmax()]
    return 44 + i, j, k0 + k


@pytest.mark.parametrize("region_of", [template_region, zone_region, lambda head: shear_region(head.brain, 5)])
def test_what_tools_remove_holds_the_nose_and_not_the_crown_or_the_neck_behind(heads: list[Head], region_of) -> None:
    head = heads[0]
    region = region_of(head)
    assert region[nose_tip(head)], "the tip of the nose is removed"
    brain = np.argwhere(head.brain)
    top, back = brain[brain[:, 2].argmax()], brain[brain[:, 1].argmin()]
    assert not region[:, :, top[2] + 2 :][:, : top[1]].any(), "nothing above the crown"
    assert not region[:, : back[1], back[2]].any(), "nothing behind the head"
    assert 0.02 < (region & (head.values > -0.8)).sum() / (head.values > -0.8).sum() < 0.5


def test_a_skull_stripped_head_keeps_the_brain_alone(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bids_refacer.training.regions.KINDS", {"skullstrip": 1.0})
    brain = heads[0].brain
    for seed in range(3):
        kept = ~draw_region(heads[0], np.random.default_rng(seed))
        assert not (brain & ~kept).any()
        assert not (kept & ~ndimage.binary_dilation(brain, iterations=2)).any()


@pytest.mark.parametrize("buffer", [3, 6, 10])
def test_the_sheared_region_is_what_quickshear_removes(heads: list[Head], buffer: int) -> None:
    from quickshear import quickshear

    for head in heads:
        anatomy = nib.Nifti1Image(np.ones(SHAPE, np.uint8), CANONICAL[2].affine)
        mask = nib.Nifti1Image(head.brain.astype(np.uint8), CANONICAL[2].affine)
        truth = np.asarray(quickshear(anatomy, mask, buffer).dataobj) == 0
        got = shear_region(head.brain, buffer)
        dice = 2 * (got & truth).sum() / (got.sum() + truth.sum())
        assert 0.02 < truth.mean() < 0.6
        assert dice > 0.98
        away = ndimage.binary_dilation(truth, iterations=2) & ~ndimage.binary_erosion(
            truth, iterations=2, border_value=1
        )
        assert not ((got != truth) & ~away).any(), "they differ at most in the voxel that the plane cuts"


def test_a_jitter_moves_the_template_region_by_what_it_says(heads: list[Head]) -> None:
    shift = np.eye(4)
    shift[1, 3] = 10.0  # sampled 10 mm further forward: the cut moves 5 voxels back
    plain, moved = template_region(heads[0]), template_region(heads[0], shift)
    inner = np.s_[8:-8, 10:-15, 8:-8]
    np.testing.assert_array_equal(moved[inner], np.roll(plain, -5, axis=1)[inner])


def test_the_template_region_follows_the_heads_affine(heads: list[Head]) -> None:
    stretched = Alignment(np.eye(4), np.diag([1, 1, 1.1, 1]))
    plain, moved = template_region(heads[0]), template_region(replace(heads[0], alignment=stretched))
    assert moved.sum() != plain.sum()
    rigid = heads[0].alignment.rigid.copy()
    rigid[:3, 3] = [5, -9, 30]  # the pose of the scanner is in both maps and must cancel
    posed = Alignment(rigid, stretched.affine @ rigid)
    np.testing.assert_array_equal(template_region(replace(heads[0], alignment=posed)), moved)


# Augmentation ------------------------------------------------------------------------------------------------------


def plain_draw(**changes: object) -> Augmentation:
    draw = Augmentation(
        flip=False,
        matrix=np.eye(3),
        shift=np.zeros(3),
        knots=np.linspace(0, 1, 9),
        bias=np.zeros((3, 3, 3)),
        blur=0.0,
        noise=0.0,
        seed=0,
    )
    return replace(draw, **changes)


def small_head() -> tuple[np.ndarray, np.ndarray]:
    values = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 3, (24, 30, 36)), 2).astype(np.float32)
    brain = np.zeros(values.shape, bool)
    brain[8:16, 10:20, 12:24] = True
    return np.clip(values, -1, 0.9), brain


def test_the_same_draw_gives_the_same_head_twice() -> None:
    values, brain = small_head()
    draws = [draw_augmentation(np.random.default_rng(seed)) for seed in range(20)]
    draw = next(d for d in draws if d.noise and d.blur)
    np.testing.assert_array_equal(apply_intensity(values, brain, draw), apply_intensity(values, brain, draw))
    np.testing.assert_array_equal(apply_pose(values, draw, -1), apply_pose(values, draw, -1))


def test_a_draw_of_nothing_changes_nothing() -> None:
    values, brain = small_head()
    np.testing.assert_allclose(apply_intensity(values, brain, plain_draw()), values, atol=1e-5)
    np.testing.assert_allclose(apply_pose(values, plain_draw(), -1), values, atol=1e-6)
    np.testing.assert_array_equal(apply_pose(brain.astype(np.uint8), plain_draw(), 0), brain)


def test_a_flip_mirrors_left_and_right() -> None:
    values, brain = small_head()
    np.testing.assert_allclose(apply_pose(values, plain_draw(flip=True), -1), values[::-1], atol=1e-6)
    np.testing.assert_array_equal(apply_pose(brain.astype(np.uint8), plain_draw(flip=True), 0), brain[::-1])


def test_a_shift_of_whole_voxels_moves_image_and_mask_alike() -> None:
    values, brain = small_head()
    draw = plain_draw(shift=np.array([2.0, -3.0, 1.0]))
    moved, moved_brain = apply_pose(values, draw, -1), apply_pose(brain.astype(np.uint8), draw, 0)
    np.testing.assert_allclose(moved[:-2, 3:, :-1], values[2:, :-3, 1:], atol=1e-6)
    np.testing.assert_array_equal(moved_brain[:-2, 3:, :-1], brain[2:, :-3, 1:])
    assert (moved[-2:] == -1).all() and moved_brain.dtype == np.uint8


def test_a_stretch_leaves_the_centre_of_the_grid_in_place() -> None:
    volume = np.zeros((21, 21, 21), np.float32)
    volume[10, 10, 10] = 1
    volume[10, 15, 10] = 1
    moved = apply_pose(volume, plain_draw(matrix=np.diag([1, 0.5, 1])), 0.0)
    assert moved[10, 10, 10] == 1 and moved[10, 20, 10] == 1


def test_the_brain_keeps_its_place_in_the_intensity_frame() -> None:
    values, brain = small_head()
    before = np.median(values[brain])
    for seed in range(25):
        got = apply_intensity(values, brain, draw_augmentation(np.random.default_rng(seed)))
        assert got.shape == values.shape and got.dtype == np.float32
        assert got.min() >= -1 and got.max() <= 1
        assert np.median(got[brain]) == pytest.approx(before, abs=5e-3)


def test_drawn_parameters_are_small_and_contrast_never_turns() -> None:
    draws = [draw_augmentation(np.random.default_rng(seed)) for seed in range(200)]
    assert all((np.diff(d.knots) > 0).all() and d.knots[0] == 0 and d.knots[-1] == pytest.approx(1) for d in draws)
    stretches = [np.linalg.svd(d.matrix, compute_uv=False) for d in draws]
    assert 0.88 < np.min(stretches) and np.max(stretches) < 1.12
    assert 0.4 < np.mean([d.flip for d in draws]) < 0.6
    assert 0.2 < np.mean([not d.bias.any() for d in draws]) < 0.5


# Examples ----------------------------------------------------------------------------------------------------------


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
    np.testing.assert_allclose((base + target)[unknown], truth[box][unknown], atol=1e-6)


def test_a_fine_item_is_a_residual_over_its_base(heads: list[Head]) -> None:
    example = draw_example(heads, 0, 3)
    item = fine_item(example, np.random.default_rng(0), 0.0, 32)
    values, known, base = item.condition[0].numpy()
    target, unknown = item.target[0, 0].numpy(), item.unknown[0, 0].numpy() > 0
    assert unknown.any() and not target[~unknown].any() and not values[known == 0].any()
    assert np.abs(target).max() < 1.5
    restored = np.where(unknown, base + target, -9)
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


# Loop --------------------------------------------------------------------------------------------------------------


class Loose(Dataset):
    """Items for the loop alone: small volumes of different sizes, each a function of its index.

    At least 16 voxels a side, so that the coarsest level of a tiny network has 4: on some CPUs oneDNN's bfloat16
    weight gradient of a 3x3x3 convolution over 2 voxels along the first axis reads memory that was never written.
    """

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Item:
        generator = torch.Generator().manual_seed(index)
        shape = (1, 1, 16, 16 + 8 * (index % 2), 16)
        unknown = (torch.rand(shape, generator=generator) < 0.6).float()
        target = 0.12 * torch.randn(shape, generator=generator) * unknown
        noise = torch.randn((1, 2, *shape[2:]), generator=generator)
        condition = torch.cat([target / 0.12, noise], dim=1)  # something that can be learned
        return Item(target, condition, unknown, 0.0)


def settings(steps: int, **changes: object) -> LoopSettings:
    return LoopSettings(**{"steps": steps, "warmup": 2, "checkpoint_every": 2, "workers": 0, "rate": 1e-3, **changes})


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Killed(Exception):
    pass


def test_killed_and_resumed_gives_the_weights_of_an_unbroken_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "whole")
    step_once = loop._step

    def killed_in_step_3(model, averaged, optimiser, batch, step, *rest) -> float:
        if step == 3:
            raise Killed
        return step_once(model, averaged, optimiser, batch, step, *rest)

    monkeypatch.setattr(loop, "_step", killed_in_step_3)
    with pytest.raises(Killed):
        train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "broken")
    monkeypatch.setattr(loop, "_step", step_once)
    torch.manual_seed(999)  # resuming must not lean on the state of the process
    resumed = train_stage(Loose(), TINY_COARSE, settings(4), tmp_path / "broken")
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    states = [torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "broken")]
    for name, a in states[0]["model"].items():
        assert torch.equal(a, states[1]["model"][name]), name
    assert states[0]["step"] == states[1]["step"] == 4


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    a, b = (train_stage(Loose(), TINY_COARSE, settings(1, seed=s), tmp_path / str(s)) for s in (0, 1))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    first = train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    stamp = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    again = train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == stamp
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), again.parameters(), strict=True))


def test_a_checkpoint_is_whole_or_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_stage(Loose(), TINY_COARSE, settings(2), tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full_disk(state: dict, path: Path) -> None:
        Path(path).write_bytes(b"half a checkp")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            train_stage(Loose(), TINY_COARSE, settings(4), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    train_stage(Loose(), TINY_COARSE, settings(4), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "loss.csv"]


def test_the_loss_falls(tmp_path: Path) -> None:
    train_stage(Loose(), TINY_COARSE, settings(60, rate=1e-2, checkpoint_every=1000), tmp_path)
    with (tmp_path / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows]
    assert [int(row["step"]) for row in rows] == list(range(60))
    assert 0.8 < np.mean(losses[:5]) < 1.2, "an untrained network has a loss of 1"
    assert np.mean(losses[-10:]) < 0.8


def test_a_stage_trains_on_heads(heads: list[Head], prior: LinearPrior, tmp_path: Path) -> None:
    dataset = Items(heads, [prior] * 5, TINY_FINE, seed=0, crop=32)
    train_stage(dataset, TINY_FINE, settings(2, batch=1, workers=1), tmp_path)
    with (tmp_path / "loss.csv").open() as file:
        assert all(math.isfinite(float(row["loss"])) for row in csv.DictReader(file))


def test_the_learning_rate_warms_up_and_falls_to_a_fiftieth() -> None:
    plan = LoopSettings(steps=1100, warmup=100, rate=4e-4)
    rates = [learning_rate(step, plan) for step in range(1101)]
    assert rates[0] == pytest.approx(4e-6) and rates[99] == pytest.approx(4e-4)
    assert (np.diff(rates[:100]) > 0).all() and (np.diff(rates[100:]) < 0).all()
    assert rates[600] == pytest.approx(4e-4 * 0.51)
    assert rates[1100] == pytest.approx(4e-4 / 50)


def test_averaged_weights_follow_slowly(tmp_path: Path) -> None:
    """After one step the average is 1/10 initial (decay 0.1) and 9/10 new."""
    torch.manual_seed(0)
    initial = loop.build(TINY_COARSE).state_dict()
    averaged = train_stage(Loose(), TINY_COARSE, settings(1), tmp_path).state_dict()
    new = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    for name, value in averaged.items():
        torch.testing.assert_close(value, 0.1 * initial[name] + 0.9 * new[name], atol=1e-6, rtol=1e-4)
    assert any(not torch.equal(averaged[name], new[name]) for name in new)
