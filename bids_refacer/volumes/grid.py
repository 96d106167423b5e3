"""The canonical frame: one rigid template pose, three resolutions, and the way there and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Grid:
    """A voxel grid in world space.

    Attributes
    ----------
    shape : (i, j, k) int
    affine : (4, 4) float64, voxel -> RAS+ mm
    """

    shape: tuple[int, int, int]
    affine: np.ndarray


@dataclass(frozen=True)
class Volume:
    """An image, mask or map with the place of its voxels: what functions take that need both.

    Other arrays on the same grid (a brain mask beside an image) are plain ``(i, j, k)`` arrays.

    Attributes
    ----------
    values : (i, j, k) array, any dtype
    affine : (4, 4) float64, voxel -> RAS+ mm
    """

    values: np.ndarray
    affine: np.ndarray

    @property
    def grid(self) -> Grid:
        """Its voxels in world space."""
        i, j, k = self.values.shape
        return Grid((i, j, k), self.affine)


Box = tuple[slice, slice, slice]
"""A part of a grid, as arrays are indexed."""


def bounding_box(mask: np.ndarray, margin: int | np.ndarray = 0) -> Box:
    """The smallest box that holds a mask, and a margin around it where the image goes on.

    Parameters
    ----------
    mask : (i, j, k) bool, not empty
    margin : voxels, one number for all axes or one each
    """
    found = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    low, high = np.array([(where[0], where[-1] + 1) for where in found]).T
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, mask.shape)
    return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))


def _canonical_grid(spacing: int) -> Grid:
    """The box x -96..96, y -112..144, z -152..104 mm (a whole adult head with the neck) in voxels of `spacing` mm.

    Voxel *edges*, not centres, coincide at all spacings, so that 2x2x2 voxels of a finer grid tile one of the coarser.
    """
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = np.array([-96.0, -112.0, -152.0]) + spacing / 2
    return Grid((192 // spacing, 256 // spacing, 256 // spacing), affine)


CANONICAL: dict[int, Grid] = {spacing: _canonical_grid(spacing) for spacing in (4, 2, 1)}


def resample(
    volume: Volume, grid: Grid, to_source: np.ndarray | None = None, order: int = 1, cval: float = 0.0
) -> np.ndarray:
    """Sample an image at the voxel centres of a grid.

    Parameters
    ----------
    volume : in the source world
    grid : Grid to sample on
    to_source : (4, 4) float, grid world -> source world; identity when omitted
    order : spline order (0 nearest, 1 linear, 3 cubic)
    cval : value outside the source field of view

    Returns
    -------
    (grid.shape) array, float32, or the input dtype for order 0
    """
    matrix = _voxel_map(volume, grid, to_source)
    values = volume.values
    source = values if order == 0 else values.astype(np.float32, copy=False)
    dtype = values.dtype if order == 0 else np.float32
    if source.dtype == bool:
        return resample(Volume(source.astype(np.uint8), volume.affine), grid, to_source, order, cval).astype(bool)
    found = ndimage.affine_transform(
        source, matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=order, cval=cval, output=dtype
    )
    return np.asarray(found)


def resample_at(
    volume: Volume,
    grid: Grid,
    where: np.ndarray,
    to_source: np.ndarray | None = None,
    order: int = 1,
    cval: float = 0.0,
) -> np.ndarray:
    """`resample` to float32 at some voxels of a grid alone, in less time.

    Parameters
    ----------
    where : (grid.shape) bool
    volume, grid, to_source, order, cval : see `resample`

    Returns
    -------
    (grid.shape) float32; 0 where nothing was sampled
    """
    found = np.zeros(grid.shape, np.float32)
    matrix = _voxel_map(volume, grid, to_source)
    places = np.repeat(matrix[:3, 3:], int(where.sum()), axis=1)
    for axis, voxels in enumerate(np.nonzero(where)):
        places += matrix[:3, axis : axis + 1] * voxels
    source = volume.values.astype(np.float32, copy=False)
    found[where] = ndimage.map_coordinates(source, places, order=order, cval=cval, output=np.float32)
    return found


def _voxel_map(volume: Volume, grid: Grid, to_source: np.ndarray | None) -> np.ndarray:
    """(4, 4) voxel of a grid -> voxel of an image."""
    world = np.eye(4) if to_source is None else to_source
    # Rounded: a border voxel at -1e-15 of a coinciding grid would count as outside.
    return np.asarray(np.round(np.linalg.inv(volume.affine) @ world @ grid.affine, 9))


def pool(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average 2x2x2 voxels over the known ones; a coarse voxel is known when all eight are.

    Parameters
    ----------
    values : (i, j, k) float, sides even
    known : (i, j, k) bool

    Returns
    -------
    values : (i/2, j/2, k/2) float32, 0 where none of the eight is known
    known : (i/2, j/2, k/2) bool
    """
    i, j, k = (side // 2 for side in values.shape)
    blocks = known.reshape(i, 2, j, 2, k, 2)
    count = blocks.sum((1, 3, 5))
    total = (values.reshape(i, 2, j, 2, k, 2) * blocks).sum((1, 3, 5))
    return (total / np.maximum(count, 1)).astype(np.float32), count == 8


def polar_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to a (3, 3) matrix in the Frobenius norm (polar decomposition by SVD)."""
    u, _, vt = np.linalg.svd(matrix)
    return np.asarray(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt)


def rigid_part(affine: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The rotation and translation of an affine that agree with it at one point.

    Parameters
    ----------
    affine : (4, 4) float, native world -> template world
    centre : (3,) float, the template-world point (mm) at which both maps must agree

    Returns
    -------
    (4, 4) float, rotation + translation only
    """
    rigid = np.eye(4)
    rigid[:3, :3] = polar_rotation(affine[:3, :3])
    native_centre = (np.linalg.inv(affine) @ np.append(centre, 1.0))[:3]
    rigid[:3, 3] = centre - rigid[:3, :3] @ native_centre
    return rigid


@dataclass(frozen=True)
class Alignment:
    """Native <-> canonical for one image.

    Attributes
    ----------
    rigid : (4, 4) float64, native world -> canonical world (mm), rotation and translation only: keeps face size
    affine : (4, 4) float64, native world -> average-head world (the same frame), twelve parameters
    """

    rigid: np.ndarray
    affine: np.ndarray

    @property
    def scales(self) -> np.ndarray:
        """(3,) principal stretches of the affine: template size over this head's size."""
        return np.linalg.svd(self.affine[:3, :3], compute_uv=False)

    def to_canonical(self, volume: Volume, spacing: int, order: int = 1, cval: float = 0.0) -> np.ndarray:
        """Resample a native image rigidly onto the canonical grid of `spacing` mm."""
        return resample(volume, CANONICAL[spacing], np.linalg.inv(self.rigid), order, cval)

    def to_native(
        self,
        values: np.ndarray,
        spacing: int,
        native: Grid,
        order: int = 1,
        cval: float = 0.0,
        where: np.ndarray | None = None,
    ) -> np.ndarray:
        """Resample a canonical image of `spacing` mm onto the native grid, or some voxels of it (`resample_at`)."""
        volume = Volume(values, CANONICAL[spacing].affine)
        if where is None:
            return resample(volume, native, self.rigid, order, cval)
        return resample_at(volume, native, where, self.rigid, order, cval)

    def average_to_native(self, values: np.ndarray, spacing: int, native: Grid, order: int = 1) -> np.ndarray:
        """Resample an average-head image of `spacing` mm, affinely registered, onto the native grid."""
        return resample(Volume(values, CANONICAL[spacing].affine), native, self.affine, order)

    def to_json(self, path: Path) -> None:
        """Write both matrices as JSON."""
        path.write_text(json.dumps({"rigid": self.rigid.tolist(), "affine": self.affine.tolist()}, indent=1))

    @classmethod
    def from_json(cls, path: Path) -> Alignment:
        """Read what `to_json` wrote."""
        content = json.loads(Path(path).read_text())
        return cls(np.array(content["rigid"]), np.array(content["affine"]))
