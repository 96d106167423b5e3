"""Whether a recovered face is a face: one smooth surface, no holes, no loose pieces, no seam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.sparse import coo_matrix

from bids_refacer.surfaces.region import part_of
from bids_refacer.surfaces.skin import skin_surface
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.masks import voxel_sizes, voxel_volume

SEAM_MM = 3.0
"""Skin this near to the border of the painted region is its seam."""


@dataclass(frozen=True)
class FaceQuality:
    """Figures of one image, inside the painted region alone. The original's own are what they should be near to.

    Attributes
    ----------
    loose_ml : tissue that is not connected to the head: a second surface, debris in the air
    cavity_ml : air that is enclosed in tissue (a head has some: sinuses, teeth)
    roughness_mm : mean distance of a vertex of the face's skin from the middle of its neighbours, along the normal
    seam_mm : the same within `SEAM_MM` of the border of the painted region
    """

    loose_ml: float
    cavity_ml: float
    roughness_mm: float
    seam_mm: float


def face_quality(image: Volume, level: np.ndarray, painted: np.ndarray, alignment: Alignment) -> FaceQuality:
    """Measure an image.

    Parameters
    ----------
    image : recovered, or the original
    level : (i, j, k) float32, of the original's skin (`skin.skin_level`)
    painted : (i, j, k) bool, voxels that were recovered
    alignment : of the original, where the face region lies

    Returns
    -------
    FaceQuality; NaN where no vertex of the face lies in the region

    Raises
    ------
    SkinError
        When the image shows no head.
    """
    bright = image.values > level
    pieces, _ = ndimage.label(bright, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    loose = bright & (pieces != sizes.argmax()) & painted
    cavity = ndimage.binary_fill_holes(bright) & ~bright & painted
    ml = voxel_volume(image.affine) / 1000
    mesh = skin_surface(image, level)
    rough = roughness(mesh)
    # distance to the border, positive inside what was painted, at the vertices
    spacing = voxel_sizes(image.affine)
    inside, outside = (ndimage.distance_transform_edt(m, sampling=spacing) for m in (painted, ~painted))
    voxels = apply_affine(np.linalg.inv(image.affine), mesh.vertices)
    depth = ndimage.map_coordinates((inside - outside).astype(np.float32), voxels.T, order=1)
    face = part_of(mesh.vertices, alignment) > 0
    return FaceQuality(
        float(loose.sum() * ml),
        float(cavity.sum() * ml),
        _mean(rough[face & (depth > SEAM_MM)]),
        _mean(rough[face & (np.abs(depth) <= SEAM_MM)]),
    )


def roughness(mesh: trimesh.Trimesh) -> np.ndarray:
    """(n,) float64, mm: distance of every vertex from the middle of its neighbours, along its normal."""
    count = len(mesh.vertices)
    edges = mesh.edges_unique
    ones = np.ones(len(edges))
    half = coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(count, count))
    both = (half + half.T).tocsr()
    degree = np.maximum(np.asarray(both.sum(1)), 1)
    return np.asarray(np.abs(((both @ mesh.vertices / degree - mesh.vertices) * mesh.vertex_normals).sum(1)))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
