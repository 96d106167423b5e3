"""Two images of the same voxels, in another order, turned round, cropped or padded: matched without interpolation."""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine

from bids_refacer.volumes.grid import Grid
from bids_refacer.volumes.masks import voxel_sizes

_TOLERANCE = 0.1  # of a voxel, at the corners: headers are written in single precision, and quaternions round


class LatticeError(ValueError):
    """The voxels of two images do not lie at the same places."""


def onto_grid(values: np.ndarray, affine: np.ndarray, grid: Grid, fill: float) -> tuple[np.ndarray, bool]:
    """Bring an image onto a grid whose voxels are its own, where only their order or the field of view differ.

    Parameters
    ----------
    values : (a, b, c) array
    affine : (4, 4) float, its voxel -> RAS+ mm
    grid : where it has to go, in the same world
    fill : value of voxels of the grid that the image does not have

    Returns
    -------
    moved : (grid.shape) array of the same dtype
    changed : whether anything had to be moved

    Raises
    ------
    LatticeError
        When the voxels of the two do not coincide (within a tenth of a voxel).
    """
    to_image = np.linalg.inv(affine) @ grid.affine
    turn = np.rint(to_image[:3, :3]).astype(int)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        raise LatticeError(f"Voxels of {_sizes(affine)} mm do not coincide with voxels of {_sizes(grid.affine)} mm.")
    shift = np.rint(to_image[:3, :3] @ _middle(grid) + to_image[:3, 3] - turn @ _middle(grid)).astype(int)
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    apart = apply_affine(to_image, corners) - (corners @ turn.T + shift)
    if np.abs(apart).max() > _TOLERANCE:
        raise LatticeError(f"Voxels lie up to {np.abs(apart).max():.2f} voxels from those they should coincide with.")
    if values.shape == grid.shape and (turn == np.eye(3, dtype=int)).all() and not shift.any():
        return values, False
    moved = np.full(grid.shape, fill, dtype=values.dtype)
    source_axis = np.abs(turn).argmax(axis=0)  # axis of the image along each axis of the grid
    here, there = [], [np.empty(0, dtype=int)] * 3
    for axis, along in enumerate(source_axis):
        at = turn[along, axis] * np.arange(grid.shape[axis]) + shift[along]
        inside = (at >= 0) & (at < values.shape[along])
        here.append(np.nonzero(inside)[0])
        there[along] = at[inside]
    moved[np.ix_(*here)] = np.transpose(values[np.ix_(*there)], source_axis)
    return moved, True


def _middle(grid: Grid) -> np.ndarray:
    """(3,) voxel in the middle, whole numbers: there rounding errors of the axes weigh least."""
    return np.array(grid.shape) // 2


def _sizes(affine: np.ndarray) -> str:
    return " x ".join(f"{size:.3g}" for size in voxel_sizes(affine))
