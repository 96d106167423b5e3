"""The face region and its parts, fixed in the canonical frame: the same places whatever the tool and the recovery."""

from collections.abc import Iterable

import numpy as np
import trimesh
from nibabel.affines import apply_affine

from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.templates import asset

PARTS = ("face", "nose", "eyes", "mouth", "chin", "cheeks", "forehead")
"""The whole region, then its parts; `part_of` labels a point with the place in this tuple plus one."""

REMOVED = "removed"
"""The true skin that a tool took, of any of the parts: not fixed in the frame, as it depends on the image."""

PLACES = {REMOVED: "where the skin was removed", PARTS[0]: "over the whole face"}
"""A headline part in a sentence about a distance."""

ASSET = "face_parts.nii.gz"
"""Labels on the 2 mm canonical grid, made by benchmarks/make_face_parts.py from the average head."""


def part_of(points_mm: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Part of the face in which points lie.

    Parameters
    ----------
    points_mm : (n, 3) float, native world, RAS+ mm
    alignment : Alignment
        Its rigid part brings the points into the canonical frame; faces are never scaled.

    Returns
    -------
    (n,) int8
        0 outside the face region, 1 in the face but in no named part, 2 to 7: ``PARTS[label - 1]``.

    Raises
    ------
    ValueError
        If the points are not (n, 3).
    """
    points = np.asarray(points_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"Points have shape {points.shape}; give an (n, 3) array of world coordinates in mm.")
    atlas = asset(ASSET)
    labels, to_voxel = atlas.values, np.linalg.inv(atlas.affine) @ alignment.rigid
    voxels = np.rint(apply_affine(to_voxel, points)).astype(int)
    inside = np.all((voxels >= 0) & (voxels < labels.shape), axis=1)
    parts = np.zeros(len(points), dtype=np.int8)
    parts[inside] = labels[tuple(voxels[inside].T)]
    return parts


def in_part(labels: np.ndarray, part: str) -> np.ndarray:
    """Which labels of `part_of` belong to a part of ``PARTS``: (n,) bool; the face is all of them."""
    return labels > 0 if part == PARTS[0] else labels == PARTS.index(part) + 1


def headline(parts: Iterable[str | None]) -> str:
    """The part whose figures are told first: removed skin where it was measured, otherwise the whole face."""
    return REMOVED if REMOVED in parts else PARTS[0]


def inside_view(points_mm: np.ndarray, view: Grid) -> np.ndarray:
    """Which points lie inside the field of view and not on its border: (n,) bool.

    A surface closes where the scan ends; that lid is no skin. It lies within a voxel outside the outermost centres.

    Parameters
    ----------
    points_mm : (n, 3) float, native world, RAS+ mm
    view : Grid, the voxels of the image the surface came from
    """
    to_voxel = np.linalg.inv(view.affine)
    voxels = apply_affine(to_voxel, points_mm)
    return np.asarray(np.all((voxels > 0) & (voxels < np.array(view.shape) - 1), axis=1))


def vertex_areas(mesh: trimesh.Trimesh) -> np.ndarray:
    """(n_vertices,) float64, surface that each vertex stands for: a third of the triangles around it, mm^2."""
    shares = np.repeat(mesh.area_faces / 3.0, 3)
    return np.bincount(mesh.faces.ravel(), weights=shares, minlength=len(mesh.vertices))


def face_patch(mesh: trimesh.Trimesh, inside: np.ndarray) -> tuple[trimesh.Trimesh, np.ndarray]:
    """The part of a surface whose triangles have all three vertices inside a region.

    Parameters
    ----------
    mesh : trimesh.Trimesh
    inside : (n_vertices,) bool

    Returns
    -------
    patch : trimesh.Trimesh
        Open surface in the same space; without triangles when nothing lies inside.
    kept : (m,) int64
        Vertex of ``mesh`` that each vertex of the patch is.
    """
    faces = mesh.faces[inside[mesh.faces].all(axis=1)]
    kept, renumbered = np.unique(faces, return_inverse=True)
    patch = trimesh.Trimesh(vertices=mesh.vertices[kept], faces=renumbered.reshape(-1, 3), process=False)
    return patch, kept.astype(np.int64)
