"""Synthetic heads: the maths, and what the shipped model holds."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from scipy import stats

from bids_refacer.simulation.acquisition import BRAIN_MEDIAN, Protocol, Session, acquire, draw_session, true_brain
from bids_refacer.simulation.anatomy import (
    FAT_MM,
    LEAST_VOLUME,
    anatomy_of,
    invert,
    thinner_fat,
    true_skin,
    unfolded,
    volume_change,
)
from bids_refacer.simulation.contrast import CONTRASTS, to_contrast
from bids_refacer.simulation.model import ASSET, HeadModel, head_model, read_model, save_model
from bids_refacer.simulation.people import HU_PER_YEAR, SITES, draw_person
from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.training.data.regions import shear_region
from bids_refacer.volumes.grid import CANONICAL, Grid, Volume, resample
from bids_refacer.volumes.templates import pydeface_keep_mask

ROUGH = Protocol(resolution_mm=4.0, noise=0.0, bias=0.0)


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return head_model()


def test_the_asset_is_compact_and_whole(model: HeadModel) -> None:
    assert (files("bids_refacer") / "data" / ASSET).stat().st_size <= 12e6  # type: ignore[attr-defined]
    assert model.tissue_modes.shape == (model.modes, model.tissue_support.sum())
    assert model.shape_modes.shape == (model.modes, 3, model.shape_support.sum())
    covariance = model.covariance_root @ model.covariance_root.T + model.slopes @ model.slopes.T
    assert np.diag(covariance) == pytest.approx(np.ones(model.modes), abs=0.1)  # scores have unit variance


def test_what_is_saved_is_read(model: HeadModel, tmp_path) -> None:
    save_model(tmp_path / "model.safetensors", model)
    again = read_model(tmp_path / "model.safetensors")
    np.testing.assert_allclose(again.tissue_mean, model.tissue_mean, atol=1e-6)
    np.testing.assert_allclose(again.tissue_modes, model.tissue_modes, atol=1e-3)
    assert np.array_equal(again.shape_support, model.shape_support)


def test_radiodensity_correlates_as_planted_beyond_age_and_sex(model: HeadModel) -> None:
    people = [draw_person(model, 0.5, np.random.default_rng(seed)) for seed in range(2000)]
    muscle, age, male = (np.array([getattr(p, name) for p in people], float) for name in ("muscle", "age", "male"))
    assert abs(stats.pearsonr(muscle, age).statistic) < 0.06
    for site in SITES:
        hu = np.array([p.radiodensity[site] for p in people])
        design = np.stack([np.ones_like(age), age, male], axis=1)
        slopes, *_ = np.linalg.lstsq(design, hu, rcond=None)
        assert slopes[1] == pytest.approx(HU_PER_YEAR, abs=0.04)
        assert stats.pearsonr(hu - design @ slopes, muscle).statistic == pytest.approx(0.5, abs=0.05)


def test_the_inverse_undoes_a_displacement() -> None:
    grid = CANONICAL[4]
    x, y, z = np.indices(grid.shape) / 10
    displacement = np.stack([6 * np.sin(y), 5 * np.cos(z), 4 * np.sin(x)]).astype(np.float32)
    there = np.indices(grid.shape) + invert(displacement) / 4
    from scipy import ndimage

    back = np.stack([ndimage.map_coordinates(u, there, order=1, mode="nearest") for u in displacement])
    error = (there * 4 + back - np.indices(grid.shape) * 4)[:, 6:-6, 6:-6, 6:-6]
    assert np.abs(error).max() < 0.01


def test_folds_are_smoothed_away_and_nothing_else_changes() -> None:
    grid = CANONICAL[4]
    displacement = np.zeros((3, *grid.shape), np.float32)
    displacement[0, 20:24, 30:34, 30:34] = 12.0  # tissue jumps over tissue
    assert volume_change(displacement).min() < 0
    smooth = unfolded(displacement)
    assert volume_change(smooth).min() >= LEAST_VOLUME
    assert np.array_equal(smooth[:, :8], displacement[:, :8])


def test_dense_muscle_means_thin_cheeks_and_an_unchanged_brain(model: HeadModel) -> None:
    moved = thinner_fat(model)
    length = np.linalg.norm(moved, axis=0)
    assert length.max() == pytest.approx(FAT_MM, abs=0.5)
    assert length[model.brain_mm < 0].max() < 0.15
    person = replace(draw_person(model, 0.5, np.random.default_rng(0)), muscle=0.0)
    skins = [
        true_skin(model, anatomy_of(model, replace(person, muscle=m), np.random.default_rng(1))) for m in (0.0, 2.0)
    ]
    inwards = signed_distances(skins[1].vertices, skins[0])
    assert inwards.min() < -1.5 and inwards.max() < 0.5


def test_an_effect_is_so_many_times_the_muscle(model: HeadModel) -> None:
    person = replace(draw_person(model, 0.5, np.random.default_rng(0)), muscle=0.5)
    strong = anatomy_of(model, person, np.random.default_rng(1), effect=3.0)
    dense = anatomy_of(model, replace(person, muscle=1.5), np.random.default_rng(1))
    assert np.array_equal(strong.displacement, dense.displacement) and np.array_equal(strong.tissue, dense.tissue)


def test_the_true_skin_is_the_skin_of_the_image(model: HeadModel) -> None:
    rng = np.random.default_rng(5)
    anatomy = anatomy_of(model, draw_person(model, 0.5, rng), rng)
    protocol = Protocol(noise=0.0, bias=0.0)
    session = draw_session(protocol, rng)
    image = acquire(model, anatomy, session, protocol, "T1w", rng)
    found = skin_surface(Volume(image.astype(np.float32), session.grid.affine))
    true = true_skin(model, anatomy)
    assert true.is_watertight and true.volume > 2e6
    truth = true.copy().apply_transform(np.linalg.inv(session.to_canonical))
    face = true.vertices[:, 1] > 60  # canonical frame: the front of the head
    distance = np.abs(signed_distances(truth.vertices[face], found))
    assert np.median(distance) < 0.6 and np.percentile(distance, 95) < 2.5
    brain = true_brain(model, anatomy, session)
    assert 900 < brain.sum() * 8 / 1000 < 2200
    assert np.median(image[brain]) == pytest.approx(BRAIN_MEDIAN, rel=0.2)


def test_noise_is_rician_and_the_bias_field_is_as_strong_as_asked(model: HeadModel) -> None:
    rng = np.random.default_rng(2)
    anatomy = anatomy_of(model, draw_person(model, 0.5, rng), rng)
    session = draw_session(ROUGH, rng)

    def image(**changes: float) -> np.ndarray:
        seeded = np.random.default_rng(3)
        return acquire(model, anatomy, session, replace(ROUGH, **changes), "T1w", seeded).astype(float)

    plain, noisy, shaded = image(), image(noise=0.05), image(bias=0.2)
    air = noisy[:3, :3, -10:]
    assert air.mean() == pytest.approx(0.05 * BRAIN_MEDIAN * np.sqrt(np.pi / 2), rel=0.1)  # Rayleigh
    head = plain > 100
    assert np.log(shaded[head] / plain[head]).std() == pytest.approx(0.2, rel=0.25)
    assert plain[:3, :3, -10:].max() == 0


def test_muscle_shows_where_every_tool_removes_the_face_and_nowhere_else(model: HeadModel) -> None:
    person = draw_person(model, 0.5, np.random.default_rng(0))
    session = Session(Grid(CANONICAL[4].shape, CANONICAL[4].affine), np.eye(4))
    images, zones = [], []
    for muscle in (-2.0, 2.0):
        anatomy = anatomy_of(model, replace(person, muscle=muscle), np.random.default_rng(1))
        protocol = Protocol(resolution_mm=4.0, bias=0.2)
        image = acquire(model, anatomy, session, protocol, "T1w", np.random.default_rng(2)).astype(float)
        brain = true_brain(model, anatomy, session).repeat(2, 0).repeat(2, 1).repeat(2, 2)
        images.append(image)
        sheared = shear_region(brain, buffer=5.0).reshape(48, 2, 64, 2, 64, 2).any((1, 3, 5))
        zones.append([sheared, pydeface_zone()])
    changed = np.abs(images[1] - images[0])
    for one, other in zip(*zones, strict=True):
        removed = one & other
        assert changed[removed].sum() > 50 * changed[~removed].sum()
    assert changed[np.logical_or.reduce(zones[0])].max() > 0.2 * BRAIN_MEDIAN


def pydeface_zone() -> np.ndarray:
    """What pydeface's mask removes of the average head, (48, 64, 64)."""
    return resample(pydeface_keep_mask(), CANONICAL[4], order=1, cval=1.0) < 0.5


def test_contrasts_order_the_tissues_as_they_should() -> None:
    fluid, grey, white = np.array([0.3, 0.85, 1.15])[:, None]
    in_brain, no_eye = np.ones(1), np.zeros(1)

    def seen(contrast: str) -> list[float]:
        return [float(to_contrast(t, in_brain, no_eye, contrast)[0]) for t in (fluid, grey, white)]

    assert CONTRASTS == ("T1w", "T2w", "FLAIR")
    assert seen("T1w") == pytest.approx([0.3, 0.85, 1.15])
    t2, flair = seen("T2w"), seen("FLAIR")
    assert t2[0] > t2[1] > t2[2] and flair[1] > flair[2] > flair[0]
    assert to_contrast(fluid, no_eye, in_brain, "T2w")[0] > 2 > 0.5 > to_contrast(fluid, no_eye, in_brain, "FLAIR")[0]
