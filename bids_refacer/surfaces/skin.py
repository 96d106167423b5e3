"""The outer skin of a head as a watertight triangle mesh in world millimetres.

The steps: smooth a little, compare with the skin level, keep the largest solid piece, close the holes through which air
spaces inside the head (nose, mouth, sinuses, signal voids at teeth) meet the outside, fill them, then marching cubes on
the clamped ratio of intensity to level, so that vertices lie between voxel centres and not on them.

The level is half of the tissue intensity around (edges of partial volume are crossed halfway, near the coil and far
from it), never under a global threshold that keeps noise out. It is a separate array on purpose. Two images of one head
(original, defaced, refaced) are comparable only when their surfaces are cut at the same intensity: estimate it once, on
the original, and pass it to every other image. One low threshold for all voxels would
swell the skin of a blurred image.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.filters import threshold_otsu
from skimage.measure import marching_cubes

from bids_refacer.problems import AuditProblem
from bids_refacer.surfaces.solid import solid_head
from bids_refacer.volumes.grid import Box, Volume, bounding_box
from bids_refacer.volumes.masks import CLOSING_MM, SMOOTHING_MM, largest_component, voxel_sizes
from bids_refacer.volumes.smoothing import interpolate_blocks

FLOOR_OF_OTSU = 0.5  # skin is darker than the brain, and darker still far from the coil
LEVEL_OF_TISSUE = 0.5  # half of the maximum: where a voxel is half tissue, half air
TISSUE_MM = 8.0  # standard deviation of the neighbourhood whose tissue sets the level
TISSUE_GRID_MM = 4.0  # the level is that smooth: a coarse grid gives the same for a fraction of the time
MARGIN_VOXELS = 2  # air kept around the head, so that the surface closes where the field of view cuts the head
_TRUNCATE = 3.0  # standard deviations at which the Gaussian ends
FINEST_MM = 0.6  # finer grids are thinned to about 1 mm: the smoothing left nothing finer to see


class SkinError(AuditProblem):
    """No skin surface can be found in an image; the message says why and what to do."""


@dataclass(frozen=True)
class Skin:
    """The skin of an original, found once for all that is compared with it (`find_skin`).

    Attributes
    ----------
    level : (i, j, k) float32, intensity of the skin at every voxel (`skin_level`)
    mesh : trimesh.Trimesh, the complete outer surface at that level, native world RAS+ mm
    """

    level: np.ndarray
    mesh: trimesh.Trimesh


def find_skin(image: Volume) -> Skin:
    """The skin of an original: `skin_level` and the `skin_surface` at it; see there for arguments and errors."""
    level = skin_level(image)
    return Skin(level, skin_surface(image, level))


def write_skin(path: Path, skin: Skin) -> None:
    """Write a skin as ``.npz`` for the other steps of the same run; not compressed, as they wait for it."""
    np.savez(path, level=skin.level, vertices=skin.mesh.vertices, faces=skin.mesh.faces)


def read_skin(path: Path) -> Skin:
    """Read what `write_skin` wrote."""
    with np.load(path, allow_pickle=False) as content:
        mesh = trimesh.Trimesh(vertices=content["vertices"], faces=content["faces"], process=False)
        return Skin(content["level"], mesh)


def skin_level(image: Volume) -> np.ndarray:
    """Intensity of the skin surface at every voxel: half of the tissue around, at least what keeps noise out.

    The tissue intensity is the mean weighted by intensity itself, G*s^2 / G*s (contraharmonic), which needs no mask and
    forgets air.

    Parameters
    ----------
    image : any real dtype
        T1w-like, of the complete head (the original, where several images are compared). Of its affine, only the voxel
        sizes matter here.

    Returns
    -------
    (i, j, k) float32 array
        In the units of ``image``.

    Raises
    ------
    SkinError
        If the image is not 3-D or constant.
    """
    smooth = _smoothed(image)
    floor = _threshold(smooth)
    air = _air_level(smooth)
    spacing = voxel_sizes(image.affine)
    step = np.clip(np.round(TISSUE_GRID_MM / spacing).astype(int), 1, smooth.shape)
    signal = _block_means(np.maximum(smooth - air, 0), step)
    power = _block_means(np.maximum(smooth - air, 0) ** 2, step)
    width = TISSUE_MM / (spacing * step)
    signal, power = (ndimage.gaussian_filter(part, width, mode="nearest") for part in (signal, power))
    tissue = power / np.maximum(signal, 1e-3 * signal.max())
    half = interpolate_blocks(air + LEVEL_OF_TISSUE * tissue, step, smooth.shape)
    return np.asarray(np.maximum(half, np.float32(floor)))


@dataclass(frozen=True)
class Smoothed:
    """An image and its smoothed copy, for images that differ from it in a part (`skin_surface`).

    Attributes
    ----------
    values : (i, j, k) array, the image
    smooth : (i, j, k) float32
    """

    values: np.ndarray
    smooth: np.ndarray


def smoothed(image: Volume) -> Smoothed:
    """Smooth an image once for all that are compared with it."""
    return Smoothed(image.values, _smoothed(image))


def skin_surface(
    image: Volume, threshold: float | np.ndarray | None = None, like: Smoothed | None = None
) -> trimesh.Trimesh:
    """Outer skin surface: largest component, closed, oriented outward.

    Parameters
    ----------
    image : any real dtype
        T1w-like: tissue brighter than air. Non-finite voxels (the fill of some defacers) count as air.
    threshold : float or (i, j, k) array, optional
        Intensity of the skin in the units of ``image``, one for all voxels or one each. Give the original's
        (`skin_level`) for every image that is compared with it; estimated from ``image`` when absent.
    like : Smoothed, optional
        An image on the same grid that equals this one in most voxels: these are not smoothed again.

    Returns
    -------
    trimesh.Trimesh
        Vertices (n, 3) float64 in world RAS+ mm, built with ``process=False``.

    Raises
    ------
    SkinError
        If the image is not 3-D, is constant, or has nothing brighter than the threshold, or if the array of thresholds
        has another shape than the image.
    """
    smooth = _smoothed(image) if like is None else _smoothed_like(image, like)
    air = _air_level(smooth)
    _refuse_constant(smooth, air)
    level = np.asarray(skin_level(image) if threshold is None else threshold, dtype=np.float32)
    if level.ndim and level.shape != smooth.shape:
        raise SkinError(
            f"The threshold has shape {level.shape} and the image {smooth.shape}: give one per voxel or one number."
        )
    if float(level.min()) <= air:
        raise SkinError(
            f"The threshold {float(level.min()):g} is not above the air ({air:g}): estimate it with skin_level."
        )
    step = _thinning(image.affine)
    every = tuple(slice(None, None, s) for s in step)
    ratio = (smooth[every] - air) / ((level[every] if level.ndim else level) - air)
    return _surface_of_ratio(Volume(ratio, np.asarray(image.affine, dtype=np.float64) @ np.diag([*step, 1.0])))


def _surface_of_ratio(ratio: Volume) -> trimesh.Trimesh:
    """Surface where intensity / level crosses one, after the air spaces inside the head have been filled."""
    spacing = voxel_sizes(ratio.affine)
    box = _head_box(ratio.values > 1.0, spacing)
    field = np.pad(ratio.values[box], MARGIN_VOXELS)
    corner = np.array([part.start for part in box], dtype=np.float64) - MARGIN_VOXELS
    bright = field > 1.0
    solid = solid_head(bright, spacing)
    # Clamped to the same span on both sides: otherwise bright fat under the skin would pull the crossing outward by
    # more than dark skin does. Filled spaces count as tissue, loose bright voxels outside as air.
    np.clip(field, 0.0, 2.0, out=field)
    field[solid & ~bright] = 2.0
    field[~solid & bright] = 0.0
    vertices, faces, _, _ = marching_cubes(field, 1.0, allow_degenerate=True)
    return _outer_mesh(vertices.astype(np.float64) + corner, faces, ratio.affine)


def _smoothed(image: Volume) -> np.ndarray:
    """Smoothed image, float32; voxels that are not finite count as zero."""
    if image.values.ndim != 3:
        raise SkinError(f"The image has {image.values.ndim} dimensions: a skin surface needs a 3-D volume.")
    finite = np.nan_to_num(np.asarray(image.values, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(ndimage.gaussian_filter(finite, SMOOTHING_MM / voxel_sizes(image.affine), truncate=_TRUNCATE))


def _smoothed_like(image: Volume, like: Smoothed) -> np.ndarray:
    """`_smoothed`, computed where images differ and as far as the Gaussian reaches."""
    differs = image.values != like.values
    if not differs.any():
        return like.smooth
    reach = np.ceil(_TRUNCATE * SMOOTHING_MM / voxel_sizes(image.affine)).astype(int) + 1
    inner, outer = bounding_box(differs, reach), bounding_box(differs, 2 * reach)
    part = _smoothed(Volume(image.values[outer], image.affine))
    within = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
    smooth = like.smooth.copy()
    smooth[inner] = part[within]
    return smooth


def _thinning(affine: np.ndarray) -> np.ndarray:
    """Steps along i, j, k that bring voxels much finer than 1 mm to about 1 mm."""
    spacing = voxel_sizes(affine)
    return np.where(spacing <= FINEST_MM, np.round(1.0 / spacing), 1).astype(int)


def _threshold(smooth: np.ndarray) -> float:
    """Intensity that separates a head from the noise in the air around it, from the smoothed image.

    The larger of half of Otsu's threshold on the square root of the intensity, and the median of the air plus four
    robust standard deviations of the air.
    """
    air = _air_level(smooth)
    _refuse_constant(smooth, air)
    # A stride of 2 keeps an eighth of millions of voxels; the brightest (vessels, spikes) would stretch the histogram.
    sample = (smooth[::2, ::2, ::2] if smooth.size > 2_000_000 else smooth) - air
    sample = np.clip(sample, 0, max(float(np.percentile(sample, 99.5)), 1e-3 * float(sample.max())))
    otsu = float(threshold_otsu(np.sqrt(sample))) ** 2
    background = sample[sample < otsu]
    centre = float(np.median(background))
    spread = 1.4826 * float(np.median(np.abs(background - centre)))
    return air + max(FLOOR_OF_OTSU * otsu, centre + 4.0 * spread)


def _block_means(values: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Means of blocks of ``step`` voxels; the last, incomplete block is filled by repeating the edge."""
    wide = np.pad(values, [(0, -size % s) for size, s in zip(values.shape, step, strict=True)], mode="edge")
    shape = [n for size, s in zip(wide.shape, step, strict=True) for n in (size // s, s)]
    return np.asarray(wide.reshape(shape).mean(axis=(1, 3, 5)))


def _air_level(smooth: np.ndarray) -> float:
    """Intensity of air: zero in magnitude images, so that removing a face (fill 0) does not change it."""
    lowest = float(smooth.min())
    return 0.0 if lowest >= 0 else float(min(0.0, np.percentile(smooth, 1)))


def _refuse_constant(smooth: np.ndarray, air: float) -> None:
    if not smooth.size or float(smooth.max()) <= max(air, float(smooth.min())):
        raise SkinError("The image is constant: it shows no head. Check that the right file was given.")


def _head_box(bright: np.ndarray, spacing: np.ndarray) -> Box:
    """Bounding box of the largest bright component, with the closing's reach around it."""
    if not bright.any():
        raise SkinError(
            "No voxel is brighter than the skin threshold: the image shows no head, or the threshold is wrong."
        )
    return bounding_box(largest_component(bright), np.ceil((CLOSING_MM + 1.0) / spacing).astype(int))


def _outer_mesh(voxels: np.ndarray, faces: np.ndarray, affine: np.ndarray) -> trimesh.Trimesh:
    """Largest connected piece of a marching cubes result, moved to world millimetres, normals outward."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    size = len(voxels)
    graph = coo_matrix((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(size, size))
    count, piece = connected_components(graph, directed=False)
    if count > 1:
        faces = faces[piece[faces[:, 0]] == np.argmax(np.bincount(piece[faces[:, 0]], minlength=count))]
    used = np.zeros(size, dtype=bool)
    used[faces] = True
    world = apply_affine(affine, voxels[used])
    mesh = trimesh.Trimesh(vertices=world, faces=(np.cumsum(used) - 1)[faces], process=False)
    # With "descent", marching cubes winds the triangles inward in voxel space; a mirrored affine turns them round.
    if np.linalg.det(affine[:3, :3]) > 0:
        mesh.invert()
    return mesh
