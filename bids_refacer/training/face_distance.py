"""How far the faces that a first stage draws lie from the true ones: the figure that decides which weights are kept.

Cheap enough to be computed during training: held-out heads are defaced and completed in the canonical frame, and the
skins of the completed and of the true head are compared. Distances to the *surface*, not the drawn distances at points
of the true skin: fields that are too flat look near by those and are not. The full audit (`benchmarks/attack.py`)
measures in the native image instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from scipy import ndimage
from torch import Tensor

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.refacing.defaced_head import DefacedHead, completed, estimated_head
from bids_refacer.refacing.estimate import linear_fields
from bids_refacer.refacing.fields import from_torch, to_torch
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.sampling import NoiseSource, SampleSeed, SamplingSettings, StageSampler
from bids_refacer.refacing.unknown import Level
from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.region import inside_view, part_of
from bids_refacer.surfaces.skin import Skin, find_skin, skin_surface
from bids_refacer.training.data.heads import FIELD_SPACING, SPACING, Head
from bids_refacer.training.data.regions import shear_region, skullstrip_region, template_region
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume

REGIONS = {
    "template": template_region,
    "shear": lambda head: shear_region(head.brain, buffer=8),
    "skullstrip": skullstrip_region,
}
_IDENTITY = Alignment(np.eye(4), np.eye(4))


@dataclass(frozen=True)
class FaceProblem:
    """One held-out head with one region removed.

    view, level : the head as an attack finds it, 2 mm, and what is known of it, 4 mm
    linear, base : (1, 2, i, j, k) linear estimate, without and with anchors
    skin : of the true head
    points : (n, 3) mm, true skin of the face that was removed
    """

    view: DefacedHead
    level: Level
    linear: Tensor
    base: Tensor
    skin: Skin
    points: np.ndarray


def face_problem(head: Head, prior: LinearPrior, region: np.ndarray) -> FaceProblem:
    """Remove a (96, 128, 128) region from a held-out head.

    Raises
    ------
    NothingRemovedError
        When no tissue is missing then.
    """
    view = estimated_head(Level(head.values, head.seen & ~region, head.seen & region, SPACING), prior, "kriged")
    level = view.level.at(FIELD_SPACING)
    skin = true_skin(head)
    points = within(face_points(skin.mesh), view.unknown)
    return FaceProblem(view, level, to_torch(linear_fields(prior, level)), to_torch(view.fields), skin, points)


def true_skin(head: Head) -> Skin:
    """The skin of a head, canonical frame, mm."""
    return find_skin(Volume(head.stored.astype(np.float32), CANONICAL[SPACING].affine))


def face_points(skin: trimesh.Trimesh) -> np.ndarray:
    """(n, 3) mm: the vertices of a skin in the face, without the border of the frame."""
    vertices = np.asarray(skin.vertices)
    return np.asarray(vertices[(part_of(vertices, _IDENTITY) > 0) & inside_view(vertices, CANONICAL[SPACING])])


def within(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The (n, 3) points, mm, whose voxel is in a mask, (96, 128, 128) bool."""
    voxels = (points - CANONICAL[SPACING].affine[:3, 3]) / SPACING
    return np.asarray(points[ndimage.map_coordinates(mask.astype(np.float32), voxels.T, order=0) > 0])


def drawn_skin(problem: FaceProblem, fields: Tensor) -> trimesh.Trimesh:
    """Skin of the head completed by the image of (1, 2, i, j, k) fields, cut at the level of the true head."""
    whole = completed(problem.view.level, from_torch(fields))
    return skin_surface(Volume(whole, CANONICAL[SPACING].affine), problem.skin.level)


def face_distance_mm(problem: FaceProblem, fields: Tensor) -> float:
    """Symmetric mean distance in mm between the skin that fields draw and the true one, where the face was removed."""
    drawn = drawn_skin(problem, fields)
    ours = within(face_points(drawn), problem.view.unknown)
    there, back = signed_distances(problem.points, drawn), signed_distances(ours, problem.skin.mesh)
    return float(np.mean([np.abs(part).mean() for part in (there, back) if len(part)]))


def sampled_fields(
    stage: StageConfig,
    denoiser: Denoiser,
    problem: FaceProblem,
    seed: SampleSeed,
    settings: SamplingSettings,
) -> Tensor:
    """(1, 2, i, j, k): one sample of the fields."""
    sampler = StageSampler(stage, denoiser, settings)
    noise = NoiseSource(seed)
    return problem.base + sampler.residual(
        problem.level, problem.base, noise, lambda step: None, problem.view.left_open
    )


def face_errors(
    stage: StageConfig,
    denoiser: Denoiser,
    problems: list[FaceProblem],
    samples: int = 2,
    steps: int | None = None,
    sampler: str = "dpmpp2m",
) -> dict[str, float]:
    """Mean distance of faces in mm over problems: of both linear estimates, single samples, the mean of the samples.

    Samples are drawn in mirrored pairs, as in an attack.
    """
    device = next(denoiser.parameters()).device
    settings = SamplingSettings(sampler=sampler, steps=steps, device=device, alone=samples == 1)
    rows = []
    for problem in problems:
        drawn = [
            sampled_fields(stage, denoiser, problem, SampleSeed(number // 2, number % 2 == 1), settings)
            for number in range(samples)
        ]
        every = [problem.linear, problem.base, *drawn, torch.stack(drawn).mean(0)]
        rows.append([face_distance_mm(problem, fields) for fields in every])
    linear, base, *singles, mean = np.mean(rows, axis=0)
    return {
        "linear_mm": float(linear),
        "anchored_mm": float(base),
        "single_mm": float(np.mean(singles)),
        "mean_mm": float(mean),
    }
