"""Errors of sampled faces during training: perfect fields have none, moved ones what they were moved by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_heads import TINY_COARSE, average_heads, small_prior

from bids_refacer.refacing.conditioning import working_box
from bids_refacer.refacing.estimate import linear_fields
from bids_refacer.refacing.fields import Fields, skin_field, tissue_field, to_torch
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.surfaces.region import part_of
from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.regions import skullstrip_region, zone_region
from bids_refacer.training.face_distance import (
    REGIONS,
    FaceProblem,
    drawn_skin,
    face_distance_mm,
    face_errors,
    face_problem,
)
from bids_refacer.volumes.grid import CANONICAL, Alignment, pool

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # in quickshear


def true_fields(head: Head) -> Tensor:
    values, seen = pool(head.values, head.seen)
    skin = skin_field(head.skin_mm.astype(np.float32))
    return to_torch(Fields(skin, tissue_field(values, skin, seen)))


def deeper_prior() -> LinearPrior:
    """A linear estimate whose skin lies several mm too deep."""
    prior = small_prior()
    skin = prior.blocks["skin"]
    return replace(prior, blocks={**prior.blocks, "skin": replace(skin, mean=skin.mean + 0.5)})


@pytest.fixture(scope="module")
def head() -> Head:
    return average_heads()[0]


@pytest.fixture(scope="module")
def problem(head: Head) -> FaceProblem:
    return face_problem(head, deeper_prior(), zone_region(head))


def test_perfect_fields_have_no_error_and_moved_ones_what_they_were_moved_by(head: Head, problem: FaceProblem) -> None:
    fields = true_fields(head)
    assert face_distance_mm(problem, fields) < 0.25
    for shift in (-1.5, 2.0):
        moved = fields + torch.tensor([shift / 8, 0]).reshape(1, 2, 1, 1, 1)
        # the rim of the region stays where it is
        assert face_distance_mm(problem, moved) == pytest.approx(abs(shift), abs=0.25)


def test_a_flat_field_is_no_nearer_than_a_steep_one(head: Head, problem: FaceProblem) -> None:
    """Half of every distance looks half as far at points of the true skin; its surface lies where the other lies."""
    moved = true_fields(head)
    moved[:, 0] -= 2 / 8
    flat = moved.clone()
    flat[:, 0] *= 0.5
    steep, low = face_distance_mm(problem, moved), face_distance_mm(problem, flat)
    assert low == pytest.approx(steep, abs=0.25) and low > 1.5


def test_skin_of_both_sides_counts(head: Head, problem: FaceProblem) -> None:
    """A second, loose skin before the face is far from the true one, though every true point has a drawn one near."""
    fields = true_fields(head)
    middle = np.rint(problem.points.mean(0) - CANONICAL[4].affine[:3, 3]).astype(int) // 4
    spur = fields.clone()
    i, j, k = middle
    spur[0, 0, i - 1 : i + 2, j : j + 9, k - 1 : k + 2] = -1
    assert face_distance_mm(problem, spur) > face_distance_mm(problem, fields) + 0.05


def test_the_drawn_head_is_the_known_one_where_it_is_known(head: Head, problem: FaceProblem) -> None:
    skin = drawn_skin(problem, true_fields(head))
    back = skin.vertices[skin.vertices[:, 1] < -20]
    known = problem.skin.mesh.vertices[problem.skin.mesh.vertices[:, 1] < -20]
    np.testing.assert_allclose(back, known, atol=1e-3)


def test_the_points_are_true_skin_of_the_face_that_was_removed(head: Head, problem: FaceProblem) -> None:
    points = problem.points
    assert len(points) > 1000
    assert (part_of(points, Alignment(np.eye(4), np.eye(4))) > 0).all()
    assert problem.view.unknown[tuple(np.rint((points - CANONICAL[2].affine[:3, 3]) / 2).astype(int).T)].all()
    nearest = np.rint((points - CANONICAL[4].affine[:3, 3]) / 4).astype(int)
    assert np.abs(head.skin_mm[tuple(nearest.T)].astype(float)).max() < 6, "half the diagonal of a voxel and a little"
    strip = face_problem(head, small_prior(), skullstrip_region(head))
    assert len(strip.points) > len(points), "the more is removed, the more is measured"


def test_what_is_removed_is_the_region_and_the_air_near_it_and_nothing_outside_the_view() -> None:
    head = average_heads()[1]
    region = skullstrip_region(head)
    problem = face_problem(head, small_prior(), region)
    values, seen = pool(head.values, head.seen)
    part = pool(head.values, ~region)[1]
    known, unknown = problem.level.known, problem.level.unknown
    assert not (known & unknown).any()
    np.testing.assert_array_equal((known | unknown)[seen], True)
    assert unknown.any() and not (unknown & part).any()
    assert (seen & ~part & ~unknown).any(), "far air is known"
    np.testing.assert_array_equal(problem.level.values[part & known], values[part & known])


def test_the_linear_estimate_knows_nothing_of_the_removed_face(head: Head, problem: FaceProblem) -> None:
    blank = np.where(zone_region(head), 0, head.stored).astype(np.uint8)
    other = face_problem(replace(head, stored=blank), deeper_prior(), zone_region(head))
    assert torch.equal(other.base, problem.base)
    assert torch.equal(problem.linear, to_torch(linear_fields(deeper_prior(), problem.level)))


def test_a_tool_of_every_kind_is_measured(head: Head) -> None:
    assert list(REGIONS) == ["template", "shear", "skullstrip"]
    for region_of in REGIONS.values():
        region = region_of(head)
        assert region.shape == head.seen.shape and 0.01 < (region & (head.values > -0.7)).mean() < 0.5


class Oracle(nn.Module):
    """A denoiser that knows the residual; its skin is wrong by `shift` mm, outward and inward by turns."""

    def __init__(self, residual: Tensor, shift: float) -> None:
        super().__init__()
        self.residual, self.shift, self.calls = nn.Parameter(residual), shift, 0

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor, unknown: Tensor, augmentation: Tensor) -> Tensor:
        self.calls += 1
        sign = 1 if (self.calls - 1) // 4 % 2 else -1  # three steps and the mean for a sample
        return self.residual + torch.tensor([sign * self.shift / 8, 0.0]).reshape(1, 2, 1, 1, 1)


def test_errors_of_the_estimate_of_samples_and_of_their_mean_are_told_apart(head: Head, problem: FaceProblem) -> None:
    box = working_box(problem.level.unknown, TINY_COARSE.network.multiple)
    residual = ((true_fields(head) - problem.base) / to_torch(problem.view.left_open).clamp(min=1e-3))[box]
    perfect = face_errors(TINY_COARSE, Oracle(residual, 0.0), [problem], samples=1, steps=3)
    assert perfect["linear_mm"] == pytest.approx(face_distance_mm(problem, problem.linear))
    assert perfect["anchored_mm"] == pytest.approx(face_distance_mm(problem, problem.base))
    assert 0.5 < perfect["anchored_mm"] < perfect["linear_mm"] - 1 > 1, "known skin shows that the estimate is too deep"
    # points at the border are read between a drawn voxel and a known one, which holds the linear estimate
    assert perfect["single_mm"] < 0.35 and perfect["mean_mm"] == perfect["single_mm"]
    swaying = face_errors(TINY_COARSE, Oracle(residual, 1.5), [problem], samples=2, steps=3)
    assert swaying["linear_mm"] == perfect["linear_mm"]
    assert swaying["single_mm"] == pytest.approx(1.5, abs=0.3)
    assert swaying["mean_mm"] == pytest.approx(perfect["mean_mm"], abs=0.02)


def test_errors_are_averaged_over_problems(head: Head, problem: FaceProblem) -> None:
    other = replace(problem, linear=true_fields(head), base=true_fields(head))
    stage = replace(TINY_COARSE, temperature=0.0)
    still = Oracle(torch.zeros(1, 2, 1, 1, 1), 0.0)
    one, two, both = (face_errors(stage, still, list(p), 1, 1) for p in ([problem], [other], [problem, other]))
    assert both["linear_mm"] == pytest.approx((one["linear_mm"] + two["linear_mm"]) / 2)
    assert one["single_mm"] == pytest.approx(one["anchored_mm"]) and two["single_mm"] < 0.2
