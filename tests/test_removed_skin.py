"""Distances where a tool took the skin: spheres of which a cap is removed, and heads of which the areas add up."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from nibabel.affines import apply_affine

from bids_refacer.defacers.tools.spm import removed_by_rule
from bids_refacer.surfaces.distances import FIGURES, FaceSurface, PartDistances, face_distances, mark_face, removed_row
from bids_refacer.surfaces.region import PARTS, REMOVED, headline
from bids_refacer.surfaces.score import ImageDistances, score_images, summary_rows
from bids_refacer.surfaces.skin import find_skin
from bids_refacer.surfaces.skin_left import Defacing, skin_left
from bids_refacer.surfaces.verdicts import face_left
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.templates import asset

AT_HOME = Alignment(np.eye(4), np.eye(4))
CENTRE = np.array([0.0, 20.0, -50.0])
MM = ("masd_mm", "to_true_mm", "to_recovered_mm", "median_mm", "p95_mm", "hausdorff_mm")
NAN = float("nan")


def sphere(radius: float, cap: float = 0.0) -> trimesh.Trimesh:
    """A sphere whose lower half, below the centre, has another radius."""
    mesh = trimesh.creation.icosphere(subdivisions=6, radius=1.0)
    radii = np.where(mesh.vertices[:, 2] < 0, cap or radius, radius)
    return trimesh.Trimesh(mesh.vertices * radii[:, None] + CENTRE, mesh.faces, process=False)


def compare(recovered: trimesh.Trimesh, truth: trimesh.Trimesh) -> tuple[PartDistances, FaceSurface, FaceSurface]:
    """The row where the skin under the centre was removed."""
    ours, theirs = mark_face(recovered, AT_HOME), mark_face(truth, AT_HOME)
    removed = theirs.points[:, 2] < CENTRE[2]
    return removed_row(ours, theirs, face_distances(ours, theirs), removed), ours, theirs


@pytest.mark.parametrize("recovered", [88.0, 82.5])
def test_a_cap_of_concentric_spheres_is_as_far_as_the_radii_differ(recovered: float) -> None:
    """Between icospheres of 2 mm edges: the distance differs from r2 - r1 by their sagitta, under 0.01 mm."""
    row, ours, theirs = compare(sphere(recovered), sphere(85.0))
    assert row.part == REMOVED
    for figure in MM:
        assert getattr(row, figure) == pytest.approx(abs(recovered - 85.0), abs=0.02), figure
    assert row.signed_mean_mm == pytest.approx(recovered - 85.0, abs=0.02)
    half = sum(int((one.points[:, 2] < CENTRE[2]).sum()) for one in (ours, theirs))
    assert row.n_vertices == pytest.approx(half, rel=0.02)


def test_skin_that_was_kept_does_not_dilute() -> None:
    """Only the cap differs, by 3 mm: that is the distance there. Both are one surface on the rest of the face."""
    row, ours, theirs = compare(sphere(85.0, cap=88.0), sphere(85.0))
    to_true, to_recovered = face_distances(ours, theirs)
    assert row.to_recovered_mm == pytest.approx(3.0, abs=0.1)
    assert row.to_true_mm == pytest.approx(3.0, abs=0.1)
    assert row.median_mm == pytest.approx(3.0, abs=0.02)
    whole = (
        np.average(np.abs(to_true), weights=ours.areas) + np.average(np.abs(to_recovered), weights=theirs.areas)
    ) / 2
    share = theirs.areas[theirs.points[:, 2] < CENTRE[2]].sum() / theirs.areas.sum()
    assert 0.3 < share < 0.8 and whole == pytest.approx(3.0 * share, abs=0.15)


def test_the_same_surface_is_at_zero() -> None:
    row, _, _ = compare(sphere(85.0), sphere(85.0))
    assert [getattr(row, figure) for figure in FIGURES] == pytest.approx([0.0] * len(FIGURES), abs=1e-9)


def test_nothing_removed_has_no_figures() -> None:
    ours = theirs = mark_face(sphere(85.0), AT_HOME)
    row = removed_row(ours, theirs, face_distances(ours, theirs), np.zeros(len(theirs.where), dtype=bool))
    assert all(np.isnan(getattr(row, figure)) for figure in FIGURES) and row.n_vertices == 0


def test_a_candidate_without_skin_there_is_far_and_finite() -> None:
    """A ball deep inside: only the true face has points, and only that direction counts."""
    row, ours, theirs = compare(sphere(8.0), sphere(85.0))
    assert len(ours.where) == 0 and np.isnan(row.to_true_mm)
    for figure in set(MM) - {"to_true_mm"}:
        assert getattr(row, figure) == pytest.approx(77.0, abs=0.05)
    assert row.signed_mean_mm == pytest.approx(-77.0, abs=0.05)
    assert row.n_vertices == (theirs.points[:, 2] < CENTRE[2]).sum()


def test_no_true_face_has_no_figures() -> None:
    nowhere = mark_face(sphere(8.0), AT_HOME)
    ours = mark_face(sphere(85.0), AT_HOME)
    row = removed_row(ours, nowhere, face_distances(ours, nowhere), np.zeros(0, dtype=bool))
    assert all(np.isnan(getattr(row, figure)) for figure in FIGURES) and row.n_vertices == 0


def balls() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance of each voxel (2 mm) to the centre, the affine, and the voxels of the lower half that a tool zeroes."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = CENTRE - 100.0
    world = apply_affine(affine, np.moveaxis(np.indices((101, 101, 101)), 0, -1))
    return np.linalg.norm(world - CENTRE, axis=-1), affine, world[..., 2] < CENTRE[2]


def test_volumes_of_two_balls() -> None:
    """A tool zeroes the lower half of a ball of 85 mm; an attacker gives it a radius of 88 mm, or the true one."""
    distance, affine, lower = balls()
    original, wide = (600 * np.clip((radius - distance) / 2 + 0.5, 0, 1) for radius in (85.0, 88.0))
    faces = {("refaced", 1): np.where(lower, wide, original), ("refaced", 2): original}
    defacing = Defacing(Volume(original, affine), np.where(lower, 0, original), lower)
    rows = score_images(defacing.original, faces, AT_HOME, defacing).rows
    found = {(row.image_type, row.sample, row.part): row for row in rows}
    assert found["refaced", 1, REMOVED].masd_mm == pytest.approx(3.0, abs=0.15)
    assert found["refaced", 1, REMOVED].signed_mean_mm == pytest.approx(3.0, abs=0.15)
    assert found["refaced", 1, "face"].masd_mm < 2.4
    assert found["refaced", 2, REMOVED].masd_mm == pytest.approx(0.0, abs=1e-6)
    assert found["refaced_best", 2, REMOVED].masd_mm == pytest.approx(0.0, abs=1e-6)
    assert found["refaced_sample_mean", None, REMOVED].masd_mm == pytest.approx(1.5, abs=0.08)


@pytest.fixture(scope="module")
def head() -> Volume:
    average = asset("average_head.nii.gz")
    return Volume(average.values.astype(np.float32), average.affine)


def test_areas_of_removed_and_left_skin_add_up(head: Volume) -> None:
    values, removed = head.values, removed_by_rule(head.grid, AT_HOME)
    defaced, skin = np.where(removed, 0, values), find_skin(head)
    face = mark_face(skin.mesh, AT_HOME)
    gone = ~skin_left(skin, Defacing(head, defaced, removed), face.where)
    left = face_left(Defacing(head, defaced, removed), AT_HOME, skin)["face"]
    assert left is not None and 5 < left < 95
    assert 100 * face.areas[gone].sum() / face.areas.sum() + left == pytest.approx(100, abs=0.5)


def test_every_kind_of_face_is_scored_on_the_same_removed_skin(head: Volume) -> None:
    values, removed = head.values, removed_by_rule(head.grid, AT_HOME)
    defaced = np.where(removed, 0, values)
    moved = np.where(removed, np.roll(values, 1, axis=1), values)  # 2 mm
    faces = {
        ("defaced", None): defaced,
        ("average", None): moved,
        ("refaced", 1): values,
        ("refaced_mean", None): moved,
    }
    rows = score_images(head, faces, AT_HOME, Defacing(head, defaced, removed)).rows
    kinds = {row.image_type for row in rows}
    assert kinds == {"defaced", "average", "refaced", "refaced_mean", "refaced_sample_mean", "refaced_best"}
    for kind in kinds:
        parts = {row.part: row.masd_mm for row in rows if row.image_type == kind}
        assert list(parts) == [*PARTS, REMOVED]
        if kind not in ("refaced", "refaced_best", "refaced_sample_mean"):
            assert parts[REMOVED] > parts["face"] > 0, "skin that was kept is at zero, and only the face has it"


@pytest.mark.parametrize(
    ("masd", "best"),
    [
        ({REMOVED: (2.0, 1.0), "face": (1.0, 3.0)}, 2),
        ({REMOVED: (NAN, NAN), "face": (1.0, 3.0)}, 1),
        ({"face": (4.0, 3.0)}, 2),
        ({REMOVED: (NAN, 9.0), "face": (1.0, 3.0)}, 2),
    ],
)
def test_the_best_sample_is_the_nearest_where_skin_was_removed(masd: dict[str, tuple[float, float]], best: int) -> None:
    rows = [
        ImageDistances(image_type="refaced", sample=number, part=part, n_vertices=1, **dict.fromkeys(FIGURES, value))
        for part, pair in masd.items()
        for number, value in enumerate(pair, start=1)
    ]
    assert {row.sample for row in summary_rows(rows) if row.image_type == "refaced_best"} == {best}


def test_the_headline_is_removed_skin_where_it_was_measured() -> None:
    assert headline([*PARTS, REMOVED]) == REMOVED
    assert headline(PARTS) == headline([]) == "face"
