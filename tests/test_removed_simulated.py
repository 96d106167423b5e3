"""Removed skin of synthetic heads, whose true skins are known: what is measured is what the truth says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from nibabel.affines import apply_affine

from bids_refacer.simulation.acquisition import Protocol, acquire, draw_session
from bids_refacer.simulation.anatomy import anatomy_of, true_skin
from bids_refacer.simulation.model import head_model
from bids_refacer.simulation.people import draw_person
from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.region import part_of, vertex_areas
from bids_refacer.surfaces.score import score_images
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.volumes.grid import Alignment, Volume

CUT_MM = -45.0
"""Height in the canonical frame under which a tool takes everything in front: mouth and chin, but not the brow."""


def test_the_face_of_another_person_is_as_far_as_their_true_skins() -> None:
    """The attacker puts another synthetic person's face where the first one's was removed."""
    model, protocol = head_model(), Protocol(noise=0.0, bias=0.0)
    rng = np.random.default_rng(0)
    session = draw_session(protocol, rng)
    person = draw_person(model, 0.5, rng)
    people = [person, replace(person, scores=draw_person(model, 0.5, rng).scores)]
    anatomies = [anatomy_of(model, one, np.random.default_rng(1)) for one in people]
    images = [
        acquire(model, anatomy, session, protocol, "T1w", np.random.default_rng(2)).astype(np.float32)
        for anatomy in anatomies
    ]
    skins = [true_skin(model, anatomy) for anatomy in anatomies]
    affine, alignment = session.grid.affine, Alignment(session.to_canonical, np.eye(4))
    voxels = np.moveaxis(np.indices(session.grid.shape), 0, -1)
    world = apply_affine(session.to_canonical @ affine, voxels)
    removed = (world[..., 1] > 20) & (world[..., 2] < CUT_MM)
    defacing = Defacing(Volume(images[0], affine), np.where(removed, 0, images[0]), removed)
    refaced = np.where(removed, images[1], images[0])
    rows = score_images(defacing.original, {("average", None): refaced}, alignment, defacing).rows
    found = {row.part: row for row in rows}
    expected, share = expected_distance(skins, CUT_MM)
    assert 1.0 < expected < 8.0
    assert found["removed"].masd_mm == pytest.approx(expected, rel=0.15, abs=0.2)
    assert found["face"].masd_mm == pytest.approx(expected * share, rel=0.2, abs=0.2)


def expected_distance(skins: list[trimesh.Trimesh], cut_mm: float) -> tuple[float, float]:
    """Symmetric mean distance of two true skins in the face under a height, and what share of the face that is."""
    still, means, shares = Alignment(np.eye(4), np.eye(4)), [], []
    for own, other in (skins, skins[::-1]):
        face = np.nonzero(part_of(own.vertices, still))[0]
        points, areas = np.asarray(own.vertices)[face], vertex_areas(own)[face]
        under = points[:, 2] < cut_mm
        means.append(np.average(np.abs(signed_distances(points[under], other)), weights=areas[under]))
        shares.append(areas[under].sum() / areas.sum())
    return float(np.mean(means)), float(np.mean(shares))
