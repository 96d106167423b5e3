"""The image that a program wrote, brought back onto the grid of its input without interpolation.

Programs change what nobody asked them to change: they turn axes, crop, pad, or add a dimension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from bids_refacer.defacers.tool import DefacerError
from bids_refacer.volumes.grid import Grid, Volume
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.scan import Scan

_TOLERANCE = 0.1  # of a voxel, at the corners: headers are written in single precision, and quaternions round


class OtherGridError(DefacerError):
    """The voxels of two images do not lie at the same places."""


def read_output(scan: Scan, path: Path, program: str) -> tuple[np.ndarray, list[str]]:
    """The image that a program wrote, on the grid of its input.

    Parameters
    ----------
    scan : the input
    path : where the program had to write
    program : its name, for errors

    Returns
    -------
    values : (i, j, k) float64, NaN where the program put NaN or wrote no voxel
    quirks : sentences about what had to be undone

    Raises
    ------
    DefacerError
        When there is no readable image, or its voxels are not those of the input.
    """
    image, quirks = _load(scan, path, program)
    try:
        moved, changed = onto_grid(image, scan.grid, np.nan)
    except OtherGridError as error:
        raise DefacerError(
            f"{scan.path}: {program} wrote an image on another grid ({image.values.shape}, the input has "
            f"{scan.stored.shape}). {error} Its result cannot be compared with the input: leave the tool out."
        ) from error
    if changed:
        quirks.append("axes or field of view changed; brought back without interpolation")
    return moved, quirks


def _load(scan: Scan, path: Path, program: str) -> tuple[Volume, list[str]]:
    """The image that a program wrote, float64, on its own grid, and its quirks."""
    if not path.is_file():
        raise DefacerError(
            f"{scan.path}: {program} ended without an error but did not write its image; check its installation by "
            f"running it by hand, or leave the tool out."
        )
    try:
        image: Any = nib.load(path)
        values = np.squeeze(np.asarray(image.dataobj, dtype=np.float64))
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise DefacerError(
            f"{scan.path}: what {program} wrote cannot be read ({error}); check the disk, or leave the tool out."
        ) from error
    if values.ndim != 3:
        raise DefacerError(f"{scan.path}: {program} wrote an image of shape {image.shape}; leave the tool out.")
    quirks = [] if image.ndim == 3 else [f"{image.ndim} dimensions written; brought back to 3"]
    return Volume(values, image.affine), quirks


def onto_grid(image: Volume, grid: Grid, fill: float) -> tuple[np.ndarray, bool]:
    """Bring an image onto a grid with the same voxels, in another order or with another field of view.

    Parameters
    ----------
    image : any dtype
    grid : of the result, in the same world
    fill : value of voxels of the grid that the image does not have

    Returns
    -------
    moved : (grid.shape) array of the same dtype
    changed : whether anything had to be moved

    Raises
    ------
    OtherGridError
        When the voxels of the two do not coincide (within a tenth of a voxel).
    """
    values = image.values
    turn, shift = _voxel_map(image.affine, grid)
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


def _voxel_map(affine: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Turn (3, 3) and shift (3,), integers: voxel v of the grid is voxel ``turn @ v + shift`` of the image."""
    to_image = np.linalg.inv(affine) @ grid.affine
    turn = np.rint(to_image[:3, :3]).astype(int)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        raise OtherGridError(
            f"Voxels of {_size_words(affine)} mm do not coincide with voxels of {_size_words(grid.affine)} mm."
        )
    shift = np.rint(to_image[:3, :3] @ _middle(grid) + to_image[:3, 3] - turn @ _middle(grid)).astype(int)
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    apart = nib.affines.apply_affine(to_image, corners) - (corners @ turn.T + shift)
    if np.abs(apart).max() > _TOLERANCE:
        raise OtherGridError(f"Voxels lie up to {np.abs(apart).max():.2f} voxels from those they should coincide with.")
    return turn, shift


def _middle(grid: Grid) -> np.ndarray:
    """(3,) voxel in the middle, whole numbers: there rounding errors of the axes weigh least."""
    return np.array(grid.shape) // 2


def _size_words(affine: np.ndarray) -> str:
    return " x ".join(f"{size:.3g}" for size in voxel_sizes(affine))
