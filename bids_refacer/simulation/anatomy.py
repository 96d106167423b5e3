"""A person's anatomy: the displacement of the average head, its inverse, tissue and skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy import ndimage
from skimage.measure import marching_cubes

from bids_refacer.simulation.model import HeadModel
from bids_refacer.simulation.people import Person
from bids_refacer.volumes.grid import CANONICAL

FIELD = 4
FAT_MM = 1.5
"""Facial fat is thinner by so many mm per standard deviation of muscle density."""
MUSCLE_CONTRAST = 0.12
"""And muscle darker in T1w by this share of its intensity: less fat lies in it."""
LEAST_VOLUME = 0.15
"""Tissue is never compressed to less than this share of its volume."""
_SMOOTHINGS = 30
TEXTURE = 0.7
"""Share of the unexplained variation that becomes texture: the rest is folds that registration left apart."""
_TEXTURE_VOXELS = 0.7  # of 2 mm: smoothness of the texture
_ROUNDS = 12  # of the fixed-point inversion; it halves its error in each


@dataclass(frozen=True)
class Anatomy:
    """A head in the canonical frame, as a map from and to the average head.

    Attributes
    ----------
    displacement : (3, 48, 64, 64) float32 mm: a point x of the average head lies at x + displacement(x)
    inverse : (3, 48, 64, 64) float32 mm: what lies at y was at y + inverse(y) in the average head
    tissue : (48, 64, 64) float32: what this person's tissue has over the average's, in units of CLIP brain medians
    texture : (96, 128, 128) float32, the same: what is finer than the modes
    """

    displacement: np.ndarray
    inverse: np.ndarray
    tissue: np.ndarray
    texture: np.ndarray


def anatomy_of(model: HeadModel, person: Person, rng: np.random.Generator, effect: float = 1.0) -> Anatomy:
    """The anatomy that a person's scores and muscle density mean; `rng` draws its texture.

    `effect` says how many times as much as `FAT_MM` and `MUSCLE_CONTRAST` a standard deviation of muscle density is.
    """
    strength = effect * person.muscle
    coarse = model.shape_mean.copy()
    coarse[:, model.shape_support] += np.tensordot(person.scores, model.shape_modes, 1).astype(np.float32)
    displacement = np.stack([ndimage.zoom(c, 2, order=3, grid_mode=True, mode="nearest") for c in coarse])
    displacement = unfolded(displacement + strength * thinner_fat(model))
    tissue = np.zeros(model.skin_mm.shape, np.float32)
    tissue[model.tissue_support] = person.scores @ model.tissue_modes
    mean = _halved(model.tissue_mean)
    tissue -= strength * MUSCLE_CONTRAST * model.muscle * (mean + tissue)
    return Anatomy(displacement, invert(displacement), tissue, _texture(model, rng))


def unfolded(displacement: np.ndarray) -> np.ndarray:
    """Smooth a displacement where it folds or nearly so, as random sums of modes may, until it does not.

    Parameters
    ----------
    displacement : (3, i, j, k) float32 mm on the canonical 4 mm grid

    Returns
    -------
    (3, i, j, k) float32 mm
    """
    for _ in range(_SMOOTHINGS):
        folded = volume_change(displacement) < LEAST_VOLUME
        if not folded.any():
            break
        weight = ndimage.gaussian_filter(ndimage.binary_dilation(folded, iterations=3).astype(np.float32), 1.0)
        smooth = np.stack([ndimage.gaussian_filter(u, 2.0) for u in displacement])
        displacement = displacement + weight * (smooth - displacement)
    return displacement.astype(np.float32)


def volume_change(displacement: np.ndarray) -> np.ndarray:
    """(i, j, k): determinant of the Jacobian of x + u(x), u (3, i, j, k) mm on the canonical 4 mm grid."""
    slopes = np.stack([np.stack(np.gradient(u, FIELD)) for u in displacement])
    return np.asarray(np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(3)))


def thinner_fat(model: HeadModel) -> np.ndarray:
    """(3, 48, 64, 64) float32 mm: how the face moves when its fat is thinner by one standard deviation.

    The skin moves inwards by `FAT_MM` where the face is covered by fat; below it, the less the deeper.
    """
    covered = np.maximum(model.fat, model.muscle)
    cover = np.clip(ndimage.gaussian_filter(covered, 1.5) * 2, 0, 1)
    depth = np.clip(1 + model.skin_mm / 16.0, 0, 1) * np.clip(2 - model.skin_mm / 16.0, 0, 1)
    normal = np.stack(np.gradient(ndimage.gaussian_filter(model.skin_mm, 1.0), FIELD))
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-3)
    return np.asarray((-FAT_MM * ndimage.gaussian_filter(cover * depth, 1.0) * normal).astype(np.float32))


def invert(displacement: np.ndarray) -> np.ndarray:
    """The inverse of a displacement, v(y) = -u(y + v(y)), by fixed-point iteration (Chen et al. 2008, Med Phys 35:81).

    Parameters
    ----------
    displacement : (3, i, j, k) float32 mm on the canonical 4 mm grid
    """
    places = np.indices(displacement.shape[1:], dtype=np.float32)
    found = -displacement
    for _ in range(_ROUNDS):
        at = places + found / FIELD
        found = -np.stack([ndimage.map_coordinates(u, at, order=1, mode="nearest") for u in displacement])
    return found.astype(np.float32)


def true_skin(model: HeadModel, anatomy: Anatomy) -> trimesh.Trimesh:
    """The person's skin: that of the average head, each vertex carried along, so that vertices correspond.

    Returns
    -------
    trimesh.Trimesh, vertices in canonical world, RAS+ mm
    """
    grid = CANONICAL[FIELD]
    fine = ndimage.zoom(model.skin_mm, 2, order=3, grid_mode=True, mode="nearest")
    corners, triangles, _, _ = marching_cubes(np.pad(-fine, 1, constant_values=-1.0), 0.0, allow_degenerate=False)
    places = (corners.T - 1) / 2 - 0.25  # from the 2 mm grid to the 4 mm one: edges coincide, not centres
    moved = np.stack([ndimage.map_coordinates(u, places, order=1, mode="nearest") for u in anatomy.displacement])
    world = (places * FIELD + moved).T + grid.affine[:3, 3]
    mesh = trimesh.Trimesh(world, triangles, process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def _texture(model: HeadModel, rng: np.random.Generator) -> np.ndarray:
    """(96, 128, 128) float32: what makes one head's tissue differ from the modes' smooth picture of it."""
    noise = ndimage.gaussian_filter(rng.standard_normal(CANONICAL[2].shape, dtype=np.float32), _TEXTURE_VOXELS)
    spread = model.texture.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return np.asarray((TEXTURE / noise.std() * noise * spread).astype(np.float32))


def _halved(values: np.ndarray) -> np.ndarray:
    i, j, k = (side // 2 for side in values.shape)
    return np.asarray(values.reshape(i, 2, j, 2, k, 2).mean(axis=(1, 3, 5)))
