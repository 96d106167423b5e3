"""Scores of an image made of the average head: known moves, best and mean of samples, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_refacer.surfaces.distances import FIGURES, signed_distances
from bids_refacer.surfaces.region import PARTS
from bids_refacer.surfaces.score import ImageDistances, calibration_rows, score_images, summary_rows
from bids_refacer.surfaces.skin import SkinError, skin_level, skin_surface
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.templates import asset

AT_HOME = Alignment(np.eye(4), np.eye(4))


@pytest.fixture(scope="module")
def head():
    """The average head made sharp: one tissue inside, air outside, an edge of about one voxel."""
    average = asset("average_head.nii.gz")
    sharp = np.where(average.values > 40, np.float32(600), np.float32(0))
    return Volume(ndimage.gaussian_filter(sharp, 0.5), average.affine)


@pytest.fixture(scope="module")
def candidates(head):
    values = head.values
    defaced = values.copy()
    defaced[:, 80:, :70] = 0
    forward = np.roll(values, 1, axis=1)  # 2 mm
    return {
        ("defaced", None): defaced,
        ("refaced", 1): forward,
        ("refaced", 2): (values + forward) / 2,
        ("refaced_mean", None): values,
    }


@pytest.fixture(scope="module")
def scores(head, candidates):
    return score_images(head, candidates, AT_HOME)


def rows_of(scores, image_type, sample=None):
    return [row for row in scores.rows if row.image_type == image_type and row.sample == sample]


def face(scores, image_type, sample=None):
    return rows_of(scores, image_type, sample)[0]


def test_every_image_has_one_row_per_part(scores):
    expected = [("defaced", None), ("refaced", 1), ("refaced", 2), ("refaced_mean", None)]
    expected += [("refaced_sample_mean", None), ("refaced_best", 2)]
    for image_type, sample in expected:
        assert [row.part for row in rows_of(scores, image_type, sample)] == list(PARTS)
    assert len(scores.rows) == len(expected) * len(PARTS)


def test_same_image_scores_zero(scores):
    for row in rows_of(scores, "refaced_mean"):
        assert [getattr(row, figure) for figure in FIGURES] == pytest.approx([0.0] * len(FIGURES), abs=1e-6)


def test_missing_face_lies_far_inside(scores):
    row = face(scores, "defaced")
    assert row.masd_mm > 8 and row.signed_mean_mm < -8
    nose = rows_of(scores, "defaced")[PARTS.index("nose")]
    assert nose.to_recovered_mm > 25


def test_moved_face_is_as_far_as_it_was_moved(scores):
    row = face(scores, "refaced", 1)
    assert 0.8 < row.masd_mm < 2.0
    assert row.hausdorff_mm < 2.6
    assert row.signed_mean_mm > 0.8


def test_best_sample_is_the_one_nearest_in_the_face(scores):
    assert face(scores, "refaced", 2).masd_mm < face(scores, "refaced", 1).masd_mm
    for best, second in zip(rows_of(scores, "refaced_best", 2), rows_of(scores, "refaced", 2), strict=True):
        assert best == replace(second, image_type="refaced_best")


def test_mean_of_samples_is_the_mean_of_each_figure(scores):
    parts = zip(
        rows_of(scores, "refaced_sample_mean"),
        rows_of(scores, "refaced", 1),
        rows_of(scores, "refaced", 2),
        strict=True,
    )
    for mean, first, second in parts:
        for figure in FIGURES:
            assert getattr(mean, figure) == pytest.approx((getattr(first, figure) + getattr(second, figure)) / 2)


def test_distance_map_is_of_the_true_face(scores, head, candidates):
    found = scores.maps["defaced", None]
    assert found.dtype == np.float32 and found.shape == (len(scores.face.vertices),)
    recovered = skin_surface(Volume(candidates["defaced", None], head.affine), skin_level(head))
    expected = np.abs(signed_distances(scores.face.vertices, recovered))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(scores.maps["refaced_mean", None], 0, atol=1e-5)


def test_spread_of_the_samples_is_judged_on_the_true_face(scores, head, candidates):
    """The face at 2 mm and the one half way: the mean lies about 1.5 mm outside, on both sides of it by 0.5 mm."""
    whole = [row for row in scores.calibration if row.part == "face"]
    area = sum(row.area_mm2 for row in whole)
    assert area == pytest.approx(scores.face.area, rel=0.05)
    level = skin_level(head)
    signed = [
        signed_distances(scores.face.vertices, skin_surface(Volume(candidates["refaced", number], head.affine), level))
        for number in (1, 2)
    ]
    error = np.mean(signed, axis=0)
    expected = np.sqrt(np.mean(error**2))
    found = np.sqrt(sum(row.area_mm2 * row.error_mm**2 for row in whole) / area)
    assert found == pytest.approx(expected, rel=0.05), "areas and plain means differ a little"
    assert {row.part for row in scores.calibration} == set(PARTS)


def test_calibration_of_a_face_of_known_spread():
    rng = np.random.default_rng(0)
    deviation, labels = rng.normal(0, 1.0, (2, 20_000)), np.repeat(np.int8([1, 2]), 10_000)
    samples = np.stack([deviation, -deviation], axis=1).reshape(4, -1)  # mirrored pairs
    rows = calibration_rows(samples - rng.normal(0, 1.0, 20_000), labels, np.ones(20_000))
    for part in ("face", "nose"):
        own = [row for row in rows if row.part == part]
        area = np.array([row.area_mm2 for row in own])
        assert area.sum() == (20_000 if part == "face" else 10_000)
        assert np.average([row.covered_50 for row in own], weights=area) == pytest.approx(0.5, abs=0.02)
        assert np.average([row.covered_90 for row in own], weights=area) == pytest.approx(0.9, abs=0.02)
    assert {row.part for row in rows} == {"face", "nose"}
    kept = np.zeros((4, 500))  # skin that the tool left is the same in all samples, and right
    more = calibration_rows(np.hstack([samples, kept]), np.r_[labels, np.ones(500, np.int8)], np.ones(20_500))
    again = calibration_rows(samples, labels, np.ones(20_000))
    assert more == again


def test_faces_lie_in_native_space(scores):
    assert scores.face.bounds[1, 1] == pytest.approx(118, abs=4)
    moved = scores.faces["refaced", 1]
    assert moved.bounds[1, 1] - scores.face.bounds[1, 1] == pytest.approx(2.0, abs=0.2)
    left = scores.faces["defaced", None].vertices
    assert left[left[:, 2] < -15, 1].max() < 52  # cut at y = 48, below z = -12


def test_scanner_position_changes_nothing(head, candidates, scores):
    away = np.array([[0.0, -1.0, 0.0, 31.0], [1.0, 0.0, 0.0, -12.0], [0.0, 0.0, 1.0, 7.0], [0.0, 0.0, 0.0, 1.0]])
    key = ("refaced", 1)
    there = Volume(head.values, away @ head.affine)
    moved = score_images(there, {key: candidates[key]}, Alignment(np.linalg.inv(away), np.eye(4)))
    for here, there in zip(rows_of(scores, *key), rows_of(moved, *key), strict=True):
        assert there.masd_mm == pytest.approx(here.masd_mm, abs=1e-3)


def test_without_samples_there_is_nothing_to_sum_up(head):
    found = score_images(head, {("average", None): head.values}, AT_HOME)
    assert {row.image_type for row in found.rows} == {"average"}
    assert found.calibration == []


def test_summary_ignores_figures_that_are_not_available():
    nan = float("nan")
    rows = [
        ImageDistances(image_type="refaced", sample=s, part=part, n_vertices=10 * s, **dict.fromkeys(FIGURES, value))
        for s, value in ((1, nan), (2, 3.0))
        for part in PARTS
    ]
    mean = summary_rows(rows)[0]
    assert mean.masd_mm == 3.0 and mean.n_vertices == 15
    assert summary_rows(rows)[-1].sample == 2
    assert np.isnan(summary_rows(rows[: len(PARTS)])[0].masd_mm)


def test_candidate_on_another_grid_is_refused(head):
    with pytest.raises(
        ValueError, match=r"The refaced \(sample 3\) image has shape \(4, 4, 4\), the original .*: resample"
    ):
        score_images(head, {("refaced", 3): np.zeros((4, 4, 4))}, AT_HOME)


def test_image_without_skin_is_named(head):
    with pytest.raises(SkinError, match="No skin surface in the defaced image. The image is constant"):
        score_images(head, {("defaced", None): np.zeros_like(head.values)}, AT_HOME)
