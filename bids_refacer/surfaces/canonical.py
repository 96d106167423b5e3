"""Distance to the skin of heads in the canonical frame."""

from __future__ import annotations

import numpy as np

from bids_refacer.surfaces.distances import signed_distances
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import CANONICAL


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
    mesh = skin_surface(values, CANONICAL[spacing].affine)
    grid = CANONICAL[field_spacing]
    points = np.indices(grid.shape).reshape(3, -1).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return signed_distances(points, mesh).reshape(grid.shape).astype(np.float32)
