"""How far the faces that a first stage draws lie from the true ones: the figure that decides which weights are kept.

Cheap enough to be computed during training: the fields of held-out heads are sampled in the canonical frame, and the
drawn distance to the skin is read at points of the true skin. The full audit (`benchmarks/attack.py`) measures
symmetric surface distances in the native image instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.refacing.canonical import canonical_head
from bids_refacer.refacing.conditioning import Level, linear_fields, pyramid
from bids_refacer.refacing.sampling import Draw, SamplingSettings
from bids_refacer.surfaces.region import inside_view, part_of
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.training.heads import FIELD_SPACING, SPACING, Head
from bids_refacer.training.regions import shear_region, skullstrip_region, template_region
from bids_refacer.volumes.fields import SKIN_UNIT_MM
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.prior import LinearPrior

REGIONS = {
    "template": template_region,
    "shear": lambda head: shear_region(head.brain, buffer=8),
    "skullstrip": skullstrip_region,
}
_IDENTITY = Alignment(np.eye(4), np.eye(4))


@dataclass(frozen=True)
class FaceProblem:
    """One held-out head with one region removed.

    level : what is known, 4 mm; linear, base : (1, 2, i, j, k) linear estimate, without and with anchors
    points : (n, 3) mm, true skin that was removed
    """

    level: Level
    linear: Tensor
    base: Tensor
    points: np.ndarray


def face_problem(head: Head, prior: LinearPrior, region: np.ndarray) -> FaceProblem:
    """Remove a (96, 128, 128) region from a held-out head.

    Raises
    ------
    NothingRemovedError
        When no tissue is missing then.
    """
    view = canonical_head(
        head.values, head.seen & ~region, head.seen, prior, spacing=SPACING, coarsest=FIELD_SPACING, anchored=True
    )
    level = pyramid(view.values, view.known, view.unknown, SPACING, FIELD_SPACING)[FIELD_SPACING]
    removed = np.asarray(level.unknown[0, 0].numpy() > 0)
    return FaceProblem(level, linear_fields(prior, level), view.fields, within(face_skin(head), removed, FIELD_SPACING))


def face_skin(head: Head) -> np.ndarray:
    """(n, 3) mm: true skin of the face of a head, without the border of the frame."""
    grid = CANONICAL[SPACING]
    vertices = skin_surface(head.stored.astype(np.float32), grid.affine).vertices
    return np.asarray(vertices[(part_of(vertices, _IDENTITY) > 0) & inside_view(vertices, grid)])


def within(points: np.ndarray, mask: np.ndarray, spacing: int) -> np.ndarray:
    """The (n, 3) points, mm, whose voxel of the canonical grid of `spacing` mm is in a mask, (i, j, k) bool."""
    return points[ndimage.map_coordinates(mask.astype(np.float32), _voxels(points, spacing), order=0) > 0]


def skin_error_mm(fields: Tensor, points: np.ndarray) -> float:
    """Mean |signed distance| in mm that (1, 2, i, j, k) fields give at points of the true skin."""
    skin = fields[0, 0].double().numpy()
    return float(np.abs(ndimage.map_coordinates(skin, _voxels(points, FIELD_SPACING), order=3)).mean() * SKIN_UNIT_MM)


def _voxels(points: np.ndarray, spacing: int) -> np.ndarray:
    return ((points - CANONICAL[spacing].affine[:3, 3]) / spacing).T


def sampled_fields(
    stage: StageConfig, denoiser: Denoiser, problem: FaceProblem, seed: int, settings: SamplingSettings
) -> Tensor:
    """(1, 2, i, j, k): one sample of the fields."""
    draw = Draw(stage, denoiser, torch.Generator().manual_seed(seed), settings, lambda step: None)
    return problem.base + draw.residual(problem.level, problem.base, 2)


def face_errors(
    stage: StageConfig,
    denoiser: Denoiser,
    problems: list[FaceProblem],
    samples: int = 2,
    steps: int | None = None,
    sampler: str = "dpmpp2m",
) -> dict[str, float]:
    """Mean skin error in mm over problems: of both linear estimates, of single samples, of the mean of the samples."""
    settings = SamplingSettings(sampler=sampler, steps=steps, device=next(denoiser.parameters()).device)
    rows = []
    for problem in problems:
        drawn = [sampled_fields(stage, denoiser, problem, seed, settings) for seed in range(samples)]
        every = [problem.linear, problem.base, *drawn, torch.stack(drawn).mean(0)]
        rows.append([skin_error_mm(fields, problem.points) for fields in every])
    linear, base, *singles, mean = np.mean(rows, axis=0)
    return {
        "linear_mm": float(linear),
        "anchored_mm": float(base),
        "single_mm": float(np.mean(singles)),
        "mean_mm": float(mean),
    }
