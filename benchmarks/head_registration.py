"""Demons for heads: a smooth displacement that carries the average head to one head, for `make_head_model`.

Forces come from three channels at once: intensity, distance to the skin, distance to the brain's border. Distances make
the skin and the brain meet to a fraction of a voxel, intensity does the rest. Displacements live on the canonical 4 mm
grid in mm; what a head's field of view does not show exerts no force (it moves with its surroundings).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_refacer.files import unfinished
from bids_refacer.refacing.drawing.displacement import finer, halved, sampled, smoothed
from bids_refacer.training.data.heads import Head
from bids_refacer.volumes.grid import CANONICAL

FIELD = 4
"""Displacements are sampled every so many mm."""
REACH_MM = 16.0
"""Distances to skin and brain are cut off here."""
WEIGHTS = np.array([1.0, 0.7, 0.7])
"""Of the squared differences of intensity, skin and brain."""
STEP_MM = 3.0
SCHEDULE = ((8, 4, 3.0), (12, 4, 1.6), (3, 2, 1.2))
"""(iterations, spacing of the images in mm, smoothing of a step in voxels of the field)."""
ELASTIC, EVERY = 1.0, 4  # smoothing of the whole displacement (voxels of the field), once in so many steps


@dataclass(frozen=True)
class Channels:
    """What is registered: (3, i, j, k) float32 on the grid of `spacing`, and where it was seen, (i, j, k) float32."""

    values: np.ndarray
    seen: np.ndarray
    spacing: int


def channels_of(head: Head, spacing: int) -> Channels:
    """Intensity 0..1 and distances in units of `REACH_MM` of a head."""
    skin = ndimage.zoom(head.skin_mm.astype(np.float32), 2, order=1, grid_mode=True, mode="nearest")
    inside, outside = (ndimage.distance_transform_edt(m, sampling=2.0) for m in (head.brain, ~head.brain))
    distances = [np.clip(d / REACH_MM, -1, 1) for d in (skin, outside - inside)]
    values = np.stack([head.stored / np.float32(255), *distances]).astype(np.float32)
    return at_spacing(Channels(values, head.seen.astype(np.float32), 2), spacing)


def at_spacing(fine: Channels, spacing: int) -> Channels:
    """Means of 2x2x2 voxels where `spacing` is 4 mm."""
    if spacing == fine.spacing:
        return fine
    return Channels(halved(fine.values), halved(fine.seen), spacing)


def affine_displacement(matrix: np.ndarray) -> np.ndarray:
    """(3, 48, 64, 64) float32 mm: the displacement of a (4, 4) map of canonical world coordinates."""
    grid = CANONICAL[FIELD]
    points = np.indices(grid.shape).reshape(3, -1).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    moved = points @ (matrix[:3, :3] - np.eye(3)).T + matrix[:3, 3]
    return moved.T.reshape(3, *grid.shape).astype(np.float32)


def carried(values: np.ndarray, displacement: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Sample (c, 96, 128, 128) at x + u(x), u (3, 48, 64, 64) mm, for the voxels (96, 128, 128) of a mask: (c, n)."""
    inside = np.nonzero(where)
    return sampled(values, np.stack(inside) + finer(displacement)[(slice(None), *inside)] / 2)


def register(
    average: Channels,
    head: Channels,
    start: np.ndarray,
    base: np.ndarray,
    schedule: tuple = SCHEDULE,
    elastic: float = ELASTIC,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """Displacement (3, 48, 64, 64) mm with head(x + u) = average(x), from `start`; `base` is not smoothed away.

    Parameters
    ----------
    average, head : on the 2 mm grid
    start, base : (3, 48, 64, 64) mm
    elastic : see `ELASTIC`
    within : (96, 128, 128) bool, voxels that exert a force in steps on the 2 mm grid; all when omitted
    """
    moved = start.copy()
    for rounds, spacing, width in schedule:
        fixed, moving = at_spacing(average, spacing), at_spacing(head, spacing)
        channels = np.concatenate([moving.values, moving.seen[None]])
        near = fixed.values[1] < 0.8
        where = (slice(None), *np.nonzero(near if within is None or spacing == FIELD else near & within))
        slopes = np.stack([np.stack(np.gradient(v, spacing))[where] for v in fixed.values])
        steepness = np.einsum("cdn,c->n", slopes**2, WEIGHTS)
        for turn in range(rounds):
            u = moved if spacing == FIELD else finer(moved)
            found = sampled(channels, np.stack(where[1:]) + u[where] / spacing)
            difference = fixed.values[where] - found[:3]
            limit = WEIGHTS @ difference**2 / STEP_MM**2
            push = np.einsum("cn,cdn,c->dn", difference, slopes, WEIGHTS) / (steepness + limit + 1e-6)
            step = np.zeros((3, *fixed.seen.shape), np.float32)
            step[where] = push * (found[3] > 0.9)
            moved = moved + smoothed(step if spacing == FIELD else halved(step), width)
            if turn % EVERY == EVERY - 1 or turn == rounds - 1:
                moved = base + smoothed(moved - base, elastic)
    return moved.astype(np.float32)


def save_array(path: Path, values: np.ndarray) -> None:
    """Keep what took long, so that a run that is stopped goes on: whole under its name, or not at all."""
    with unfinished(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)
