"""Distance to the skin of heads in the canonical frame."""

from __future__ import annotations

import numpy as np
import trimesh
from nibabel.affines import apply_affine
from scipy import ndimage

from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import CANONICAL, Volume

FAR_MM = 16.0
"""What `near_skin_distance` gives for voxels that are not near the skin."""


def skin_distance(values: np.ndarray, spacing: int, field_spacing: int) -> np.ndarray:
    """Signed distance of the voxels of a canonical grid to the skin of a head on another.

    Parameters
    ----------
    values : (i, j, k) float32, not negative, on the canonical grid of `spacing` mm
    field_spacing : of the grid whose voxels are measured, mm

    Returns
    -------
    float32, mm, positive outside; the shape is that of the canonical grid of `field_spacing` mm

    Raises
    ------
    SkinError
        When the image shows no head.
    """
    mesh = skin_surface(Volume(values, CANONICAL[spacing].affine))
    return _distances(mesh, np.ones(CANONICAL[field_spacing].shape, bool), field_spacing)


def near_skin_distance(
    values: np.ndarray, spacing: int, field_spacing: int, also: np.ndarray | None = None
) -> np.ndarray:
    """The same for voxels next to the skin; `FAR_MM` with the right sign for all others, at a fraction of the cost.

    `also`, bool on the grid of `field_spacing` mm, are more voxels whose distance is wanted.
    """
    mesh = skin_surface(Volume(values, CANONICAL[spacing].affine))
    grid = CANONICAL[field_spacing]
    crossed = np.zeros(grid.shape, bool)
    voxels = np.round((mesh.vertices - grid.affine[:3, 3]) / field_spacing).astype(int)
    crossed[tuple(np.clip(voxels, 0, np.array(grid.shape) - 1).T)] = True
    near = ndimage.binary_dilation(crossed, np.ones((3, 3, 3), bool))
    near |= False if also is None else also
    # A piece of the rest lies on one side of the skin as a whole: one of its voxels tells which.
    pieces, count = ndimage.label(~near)
    first = np.unique(pieces, return_index=True)[1][-count:] if count else np.zeros(0, int)
    wanted = near.copy()
    wanted.flat[first] = True
    measured = _distances(mesh, wanted, field_spacing)
    side = np.concatenate([[0], np.sign(measured.flat[first])]) if count else np.zeros(1)
    return np.where(near, measured, FAR_MM * side[pieces]).astype(np.float32)


def skin_distance_at(values: np.ndarray, spacing: int, wanted: np.ndarray, field_spacing: int) -> np.ndarray:
    """The same for the voxels `wanted` alone, bool on the grid of `field_spacing` mm; 0 for all others."""
    return _distances(skin_surface(Volume(values, CANONICAL[spacing].affine)), wanted, field_spacing)


def _distances(mesh: trimesh.Trimesh, wanted: np.ndarray, spacing: int) -> np.ndarray:
    """float32 signed distances in mm of the wanted voxels of a canonical grid; 0 elsewhere."""
    result = np.zeros(wanted.shape, np.float32)
    result[wanted] = signed_distances(apply_affine(CANONICAL[spacing].affine, np.argwhere(wanted)), mesh)
    return result
