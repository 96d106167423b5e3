"""The attack: what it sees, what it leaves alone, what decides its samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage
from tiny_models import prior_around, tiny_stage

from bids_refacer.refacing import defaced_head
from bids_refacer.refacing.attack import DefacedImage, Refaced, canonical_head, reface
from bids_refacer.refacing.defaced_head import DefacedHead
from bids_refacer.refacing.estimate import linear_fields
from bids_refacer.refacing.sampling import SamplingSettings, paired_seeds
from bids_refacer.refacing.unknown import NothingRemovedError, paint_region, unknown_region
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume, resample
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.templates import asset, pydeface_keep_mask

STILL = Alignment(np.eye(4), np.eye(4))


@pytest.fixture(scope="module")
def model() -> AttackModel:
    return AttackModel(
        "tiny", prior_around(attack_mean()[0], modes=1), [tiny_stage(4, 0.0, 1), tiny_stage(2, 0.1, 2)], {}
    )


def attack_mean() -> tuple[np.ndarray, np.ndarray]:
    """The average head at 4 mm in model intensities, and at 2 mm as stored."""
    stored = asset("average_head.nii.gz").values
    blocks = (stored / 100).reshape(48, 2, 64, 2, 64, 2).mean((1, 3, 5))
    return (np.clip(blocks, 0, 2.5) * 0.8 - 1).astype(np.float32), stored


@pytest.fixture
def brain() -> np.ndarray:
    return asset("average_brain_mask.nii.gz").values > 0


def removed_region(brain: np.ndarray) -> np.ndarray:
    return (resample(pydeface_keep_mask(), CANONICAL[2], None, cval=1.0) < 0.5) & ~brain


def defaced_scan(folder: Path, face: int, brain: np.ndarray, noisy_air: bool = True) -> Scan:
    """The average head, another face under the removed region for every `face`, defaced and read back."""
    stored = attack_mean()[1].astype(np.int16) * 4
    if noisy_air:
        stored = stored + np.random.default_rng(0).integers(1, 9, stored.shape).astype(np.int16)
    removed = removed_region(brain)
    stored[removed] = np.random.default_rng(face).integers(0, 600, removed.sum())
    path = folder / f"face-{face}.nii.gz"
    nib.Nifti1Image(stored, CANONICAL[2].affine).to_filename(path)
    original = read_scan(path)
    write_scan(path, original, np.where(removed, 0, original.stored).astype(np.int16))
    return read_scan(path)


def run(
    scan: Scan, brain: np.ndarray, model: AttackModel, seeds: tuple[int, ...] = (7,), zone: bool = False
) -> Refaced:
    settings = SamplingSettings(sampler="dpmpp2m", steps=None, device=torch.device("cpu"))
    image = DefacedImage(scan, brain, STILL)
    return reface(image, model, settings, seeds=paired_seeds(seeds), zone=zone, progress=lambda *_: None)


def test_original_under_the_removed_region_changes_nothing(tmp_path: Path, brain: np.ndarray, model) -> None:
    first = run(defaced_scan(tmp_path, 1, brain), brain, model)
    second = run(defaced_scan(tmp_path, 2, brain), brain, model)
    np.testing.assert_array_equal(first.samples[0], second.samples[0])
    np.testing.assert_array_equal(first.average, second.average)


def test_known_voxels_are_sacred_and_removed_ones_are_painted(tmp_path: Path, brain: np.ndarray, model) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    refaced = run(scan, brain, model)
    for image in (*refaced.samples, refaced.mean, refaced.average):
        assert image.dtype == scan.stored.dtype
        np.testing.assert_array_equal(image[~refaced.unknown], scan.stored[~refaced.unknown])
    removed = removed_region(brain)
    assert not (refaced.unknown & ~removed).any()
    tissue = removed & (attack_mean()[1] > 30)
    assert refaced.unknown[tissue].mean() > 0.99
    assert (refaced.samples[0][tissue] > 0).mean() > 0.5, "networks that were never trained blur the skin"
    linear = run(scan, brain, replace(model, stages=[])).samples[0]
    assert (linear[tissue] > 0).mean() > 0.9, "the linear estimate alone restores what it was made from"


def test_the_average_face_meets_what_is_known_as_samples_do(tmp_path: Path, brain: np.ndarray, model) -> None:
    """In a head whose skin is brighter than the average's, an average face that is not matched ends in a step."""
    scan = defaced_scan(tmp_path, 1, brain)
    y = CANONICAL[2].affine[1, 3] + 2 * np.arange(brain.shape[1])
    bright = 1 + 0.8 * np.clip((y - 20) / 40, 0, 1)[None, :, None]  # towards the face, as near a coil
    path = tmp_path / "bright.nii.gz"
    write_scan(path, scan, np.where(brain, scan.stored, scan.stored * bright).astype(np.int16))
    refaced = run(read_scan(path), brain, replace(model, stages=[]))
    stored, removed = attack_mean()[1].astype(float) * 4, removed_region(brain)
    near = ndimage.binary_dilation(~removed & (stored > 240)) & removed & (stored > 240)
    truth, plain = (stored * bright)[near], stored[near]
    assert np.abs(refaced.average[near] - truth).mean() < 0.6 * np.abs(plain - truth).mean()


def test_the_template_is_drawn_where_no_stage_paints(tmp_path: Path, brain: np.ndarray, model) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    drawn, painted = (run(scan, brain, replace(model, drawing=way), seeds=(7, 8)) for way in ("template", "stages"))
    tissue = removed_region(brain) & (attack_mean()[1] > 30)
    for image in (*drawn.samples, drawn.mean, drawn.average):
        np.testing.assert_array_equal(image[~drawn.unknown], scan.stored[~drawn.unknown])
        assert (image[tissue] > 0).mean() > 0.8
    assert (drawn.samples[0] != drawn.samples[1]).any(), "another sample of the fields is another face"
    assert (drawn.samples[0] != painted.samples[0]).any()
    without = run(scan, brain, replace(model, drawing="template", stages=model.stages[:1]), seeds=(7, 8))
    np.testing.assert_array_equal(drawn.samples[0], without.samples[0], "a stage that draws an image is not sampled")


def test_a_seed_decides_a_sample_whatever_else_is_drawn(tmp_path: Path, brain: np.ndarray, model) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    together = run(scan, brain, model, seeds=(7, 8))
    alone = run(scan, brain, model, seeds=(8,))
    np.testing.assert_array_equal(together.samples[1], alone.samples[0])
    assert (together.samples[0] != together.samples[1]).any()


def test_a_seed_given_twice_draws_the_other_side(tmp_path: Path, brain: np.ndarray, model) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    first, mirrored, other, again = run(scan, brain, model, seeds=(7, 7, 8, 7)).samples
    np.testing.assert_array_equal(first, run(scan, brain, model, seeds=(7,)).samples[0])
    np.testing.assert_array_equal(again, first)
    assert (mirrored != first).any() and (mirrored != other).any()


def test_zone_of_a_replacing_tool_is_unknown_whatever_it_holds(tmp_path: Path, brain: np.ndarray, model) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    zone = (asset("face_zone.nii.gz").values > 0) & ~brain
    images = []
    for fill in (100, 300):
        path = tmp_path / f"replaced-{fill}.nii.gz"
        write_scan(path, scan, np.where(zone, fill, scan.stored).astype(np.int16))
        images.append(run(read_scan(path), brain, model, zone=True).samples[0])
    inside = unknown_region(scan, brain, STILL, zone=True)
    np.testing.assert_array_equal(inside, zone)
    np.testing.assert_array_equal(images[0][~zone], images[1][~zone])
    deep = zone & (attack_mean()[1] > 30)
    assert (images[0][deep] == images[1][deep]).mean() > 0.99


def test_unknown_region_covers_zero_air_as_well_as_tissue(tmp_path: Path, brain: np.ndarray) -> None:
    scan = defaced_scan(tmp_path, 1, brain, noisy_air=False)
    unknown = unknown_region(scan, brain, STILL, zone=False)
    removed = removed_region(brain)
    air = (attack_mean()[1] == 0) & ~removed
    assert unknown[removed].mean() > 0.999
    assert unknown[air].mean() > 0.95


def expected_head() -> tuple[np.ndarray, np.ndarray]:
    """A block of a head as the linear estimate expects it, in a view that shows all of it."""
    expected = np.zeros((96, 128, 128), bool)
    expected[20:70, 20:100, 30:110] = True
    return expected, np.ones(expected.shape, bool)


def test_whole_head_is_refused_with_a_sentence() -> None:
    expected, seen = expected_head()
    with pytest.raises(NothingRemovedError, match="no removed region was found in the defaced image"):
        paint_region(~expected, seen, expected, 2)


def test_paint_region_is_the_missing_tissue_and_the_air_around_it() -> None:
    expected, seen = expected_head()
    unknown = ~expected
    unknown[20:70, 80:100, 30:60] = True
    paint = paint_region(unknown, seen, expected, 2)
    assert paint[20:70, 80:100, 30:60].all()
    assert paint[45, 105, 45] and not paint[45, 115, 45]
    assert not (paint & ~unknown).any()
    seen[:, :, :40] = False
    np.testing.assert_array_equal(paint_region(unknown, seen, expected, 2)[:, :, 55:], paint[:, :, 55:])
    assert not paint_region(unknown, seen, expected, 2)[:, :, :40].any()


def in_canonical(values: np.ndarray, unknown: np.ndarray, model: AttackModel, path: Path) -> DefacedHead:
    """A head of the canonical grid whose brain has a median of 1."""
    write_volume(path, Volume(values, CANONICAL[2].affine), np.float32)
    return canonical_head(DefacedImage(read_scan(path), unknown, STILL), unknown, 1.0, model)


def test_the_skin_of_the_linear_estimate_decides_where_a_face_is_missing(tmp_path: Path, model: AttackModel) -> None:
    """A hole in tissue counts only as far as the estimated skin field says that the head reaches."""
    values = np.kron((attack_mean()[0] + 1) / 0.8, np.ones((2, 2, 2)))
    unknown = np.zeros(values.shape, bool)
    unknown[20:76, 76:, 20:64] = True
    inside = in_canonical(values, unknown, model, tmp_path / "a.nii")
    skin = model.prior.blocks["skin"]
    deeper = replace(skin, mean=skin.mean + 0.75)  # 6 mm
    prior = replace(model.prior, blocks={**model.prior.blocks, "skin": deeper})
    smaller = in_canonical(values, unknown, replace(model, prior=prior), tmp_path / "a.nii")
    assert 0 < smaller.unknown.sum() < inside.unknown.sum() < unknown.sum()
    for head in (inside, smaller):
        assert not (head.unknown & ~unknown).any()
        np.testing.assert_array_equal(head.known, ~head.unknown)  # far constant voxels are known air
        assert (head.values[unknown] == -1).all()


def test_the_linear_attack_is_not_moved(tmp_path: Path, model: AttackModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fields are the prior's, and the skin, which takes seconds, is not measured for it."""
    values = np.kron((attack_mean()[0] + 1) / 0.8, np.ones((2, 2, 2)))
    unknown = np.zeros(values.shape, bool)
    unknown[20:76, 76:, 20:64] = True
    skin = model.prior.blocks["skin"]
    prior = replace(model.prior, blocks={**model.prior.blocks, "skin": replace(skin, mean=skin.mean + 0.3)})
    deeper = replace(model, prior=prior)
    anchored = in_canonical(values, unknown, deeper, tmp_path / "a.nii")
    with monkeypatch.context() as patch:
        patch.delattr(defaced_head, "near_skin_distance")
        got = in_canonical(values, unknown, replace(deeper, estimate="linear"), tmp_path / "a.nii")
    linear = linear_fields(prior, got.level.at(4))
    np.testing.assert_array_equal(got.fields.skin, linear.skin)
    np.testing.assert_array_equal(got.fields.tissue, linear.tissue)
    np.testing.assert_array_equal(got.unknown, anchored.unknown)
    assert (got.fields.skin != anchored.fields.skin).any()


@pytest.mark.parametrize("sampler", ["heun", "dpmpp2m", "ddpm"])
def test_every_sampler_paints(sampler: str, tmp_path: Path, brain: np.ndarray, model) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    settings = SamplingSettings(sampler=sampler, steps=2, device=torch.device("cpu"))
    seen: list[tuple[int, int, int]] = []
    kwargs = {"seeds": paired_seeds((3,)), "zone": False, "progress": lambda *call: seen.append(call)}
    again = [reface(DefacedImage(scan, brain, STILL), model, settings, **kwargs).samples[0] for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert seen[: len(seen) // 2] == [(0, step, 4) for step in (1, 2, 3, 4)]


def test_a_single_face_is_drawn_alone_and_several_are_not(
    tmp_path: Path, brain: np.ndarray, model: AttackModel
) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    stages = [(replace(config, lone_temperature=0.0), denoiser) for config, denoiser in model.stages]
    stages = [stage for stage in stages if stage[0].draws == "fields"]
    of = replace(model, stages=stages)
    one, two = (run(scan, brain, of, seeds=(seed,)).samples[0] for seed in (1, 2))
    np.testing.assert_array_equal(one, two)
    first, second = run(scan, brain, of, seeds=(1, 2)).samples
    assert (first != second).any() and (first != one).any()


def test_temperature_narrows_the_samples(tmp_path: Path, brain: np.ndarray, model: AttackModel) -> None:
    scan = defaced_scan(tmp_path, 1, brain)
    spread = {}
    for temperature in (0.0, 0.5, 1.0):
        stages = [(replace(config, temperature=temperature), denoiser) for config, denoiser in model.stages]
        stages = [stage for stage in stages if stage[0].draws == "fields"]
        first, second = run(scan, brain, replace(model, stages=stages), seeds=(1, 2)).samples
        spread[temperature] = np.abs(first.astype(float) - second).mean()
    assert spread[0.0] == 0 < spread[0.5] < spread[1.0]
