"""Distances between a recovered and a true skin surface, in mm, in the face and its parts.

Points are the vertices of either surface that lie in the face region; each point's distance is the exact distance to
the nearest triangle of the *complete* other surface (libigl), so that the border of the region makes no distances of
its own. Means, median and percentile weigh every vertex by its area (a third of the triangles around it): marching
cubes makes triangles of very different size, and a surface must not count more where it is cut into more of them.
"""

from dataclasses import dataclass
from functools import cached_property

import igl
import numpy as np
import trimesh
from scipy.spatial import cKDTree

from bids_refacer.surfaces.region import PARTS, REMOVED, in_part, inside_view, part_of, vertex_areas
from bids_refacer.volumes.grid import Alignment, Grid

_CELL_MM = 8.0
"""Triangles are chosen by cells of this size."""

FIGURES = ("masd_mm", "to_true_mm", "to_recovered_mm", "median_mm", "p95_mm", "hausdorff_mm", "signed_mean_mm")


@dataclass(frozen=True, kw_only=True)
class PartDistances:
    """How far a recovered and a true face are from each other in one part of the face, in mm.

    Attributes
    ----------
    part : of `region.PARTS`, or `region.REMOVED`
    masd_mm : mean of `to_true_mm` and `to_recovered_mm`
    to_true_mm : mean distance of the recovered face to the true surface
    to_recovered_mm : mean distance of the true face to the recovered surface
    median_mm, p95_mm, hausdorff_mm : median, 95th percentile and maximum of the distances of both directions together
    signed_mean_mm : mean signed distance of the recovered face, positive where it lies outside the true skin
    n_vertices : of both surfaces in the part
    """

    part: str
    masd_mm: float
    to_true_mm: float
    to_recovered_mm: float
    median_mm: float
    p95_mm: float
    hausdorff_mm: float
    signed_mean_mm: float
    n_vertices: int


def signed_distances(points: np.ndarray, mesh: trimesh.Trimesh) -> np.ndarray:
    """Exact distance of points to the triangles of a closed surface, POSITIVE OUTSIDE, negative inside.

    Parameters
    ----------
    points : (n, 3) float, mm
    mesh : trimesh.Trimesh, oriented outward, vertices in the same space

    Returns
    -------
    (n,) float64, mm

    Notes
    -----
    The sign is that of the angle-weighted pseudonormal where the nearest point lies (Baerentzen and Aanaes 2005,
    doi:10.1109/TVCG.2005.49), which is right on edges and vertices too.
    """
    distances, points = np.zeros(len(points)), np.asarray(points, dtype=np.float64)
    bound = cKDTree(mesh.vertices, balanced_tree=False, compact_nodes=False).query(points)[0]
    away = np.nonzero(bound > 0)[0]  # all others are vertices of the surface
    if len(away):
        corners, faces = _near(mesh, points[away], bound[away])
        kind = igl.SignedDistanceType.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
        distances[away] = igl.signed_distance(points[away], corners, faces, sign_type=kind)[0]
    return distances


def _near(mesh: trimesh.Trimesh, points: np.ndarray, bound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a surface that has the nearest triangle of each point, and every triangle that touches one of these.

    To search and to orient a whole head takes longer than all the rest. The nearest triangle has its corners within the
    bound and one edge of the point, so that whatever touches it has a vertex there as well.

    Parameters
    ----------
    mesh : see `signed_distances`
    points : (n, 3) float64, mm, at least one
    bound : (n,) float64, mm, distance of each to a vertex of the surface

    Returns
    -------
    corners : (m, 3) float64
    faces : (k, 3) int64
    """
    vertices, triangles = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    origin = vertices.min(axis=0)
    cells = ((vertices - origin) / _CELL_MM).astype(int)
    reach = (bound + _longest_edge(vertices, triangles)) / _CELL_MM
    wanted = _cells_within((points - origin) / _CELL_MM, reach, cells.max(axis=0) + 1)
    faces = triangles[wanted[tuple(cells.T)][triangles].any(axis=1)]
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    return vertices[used], (np.cumsum(used) - 1)[faces]


def _longest_edge(vertices: np.ndarray, triangles: np.ndarray) -> float:
    corners = vertices[triangles]
    return float(np.sqrt(max(((corners[:, one] - corners[:, one - 1]) ** 2).sum(axis=1).max() for one in range(3))))


def _cells_within(points: np.ndarray, reach: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Cells of a grid, (shape) bool, that come within reach of any point along every axis; all in units of a cell."""
    wanted = np.zeros(shape, dtype=bool)
    cells, which = np.unique(np.floor(points).astype(int), axis=0, return_inverse=True)
    furthest = np.zeros(len(cells))
    np.maximum.at(furthest, which.ravel(), reach)
    low = np.maximum(np.floor(cells - furthest[:, None]), 0).astype(int)
    high = np.maximum(np.floor(cells + 1 + furthest[:, None]), 0).astype(int) + 1
    for (i, j, k), (last_i, last_j, last_k) in zip(low, high, strict=True):
        wanted[i:last_i, j:last_j, k:last_k] = True
    return wanted


@dataclass(frozen=True)
class FaceSurface:
    """A skin surface with the face region marked on it; built once, compared often (`mark_face`).

    Attributes
    ----------
    mesh : trimesh.Trimesh, the complete outer surface, native world RAS+ mm
    where : (n,) int64, its vertices inside the face region
    labels : (n,) int8, their parts (`region.part_of`)
    areas : (n,) float64, mm^2 of surface that each of them stands for
    """

    mesh: trimesh.Trimesh
    where: np.ndarray
    labels: np.ndarray
    areas: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """(n, 3) float64, the vertices inside the face region, RAS+ mm."""
        return np.asarray(np.asarray(self.mesh.vertices)[self.where])

    @cached_property
    def tree(self) -> cKDTree:
        """Search tree of the points."""
        return cKDTree(self.points)


def mark_face(mesh: trimesh.Trimesh, alignment: Alignment, view: Grid | None = None) -> FaceSurface:
    """Find the face region on a surface.

    Parameters
    ----------
    mesh : trimesh.Trimesh, native world, RAS+ mm
    alignment : Alignment of the head into the canonical frame
    view : Grid, optional
        Voxels of the image: vertices on its border, where the scan and not the head ends, are left out.
    """
    labels = part_of(mesh.vertices, alignment)
    if view is not None:
        labels[~inside_view(mesh.vertices, view)] = 0
    where = np.nonzero(labels)[0]
    return FaceSurface(mesh, where, labels[where], vertex_areas(mesh)[where])


def face_distances(recovered: FaceSurface, truth: FaceSurface) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances (mm) both ways: recovered face points to the true surface, true ones to the recovered surface.

    Each is positive where the point lies outside the other surface; (n_recovered,) and (n_truth,) float64.
    """
    return signed_distances(recovered.points, truth.mesh), signed_distances(truth.points, recovered.mesh)


def part_rows(
    recovered: FaceSurface, truth: FaceSurface, to_true: np.ndarray, to_recovered: np.ndarray
) -> list[PartDistances]:
    """Compare a recovered with the true skin surface, in the face and in each of its parts.

    Parameters
    ----------
    recovered, truth : FaceSurface, in the same native world, RAS+ mm
    to_true, to_recovered : (n_recovered,) and (n_truth,) float, mm, of `face_distances`

    Returns
    -------
    list of PartDistances, one per part of `region.PARTS`
        Where the true surface has no vertex in a part (outside the field of view) every figure is NaN. Where only the
        recovered surface has none (a face taken off deeper than the region reaches) ``to_true_mm`` is NaN, and the
        other figures come from the true face alone.
    """
    chosen = {part: (in_part(recovered.labels, part), in_part(truth.labels, part)) for part in PARTS}
    return [_of_part(part, recovered, truth, (to_true, to_recovered), where) for part, where in chosen.items()]


def removed_row(
    recovered: FaceSurface, truth: FaceSurface, distances: tuple[np.ndarray, np.ndarray], removed: np.ndarray
) -> PartDistances:
    """Compare the surfaces where a tool took the true skin: the row of the part `region.REMOVED`.

    A vertex of the recovered face belongs to the part when the nearest vertex of the true face does. So both surfaces
    are divided whole: each vertex of a face is of removed or of kept skin, and none is of both.

    Parameters
    ----------
    recovered, truth : FaceSurface, in the same native world, RAS+ mm
    distances : of `face_distances`
    removed : (n_truth,) bool, vertices of the true face whose skin was removed or replaced

    Returns
    -------
    PartDistances
        Every figure is NaN where no skin was removed.
    """
    ours = np.zeros(len(recovered.where), dtype=bool)
    if removed.any():
        ours = removed[truth.tree.query(recovered.points)[1]]
    return _of_part(REMOVED, recovered, truth, distances, (ours, removed))


def _of_part(
    part: str,
    recovered: FaceSurface,
    truth: FaceSurface,
    distances: tuple[np.ndarray, np.ndarray],
    where: tuple[np.ndarray, np.ndarray],
) -> PartDistances:
    """The row of the vertices of both faces that are chosen, (n_recovered,) and (n_truth,) bool."""
    (to_true, to_recovered), (ours, theirs) = distances, where
    figures = _figures(to_true[ours], recovered.areas[ours], to_recovered[theirs], truth.areas[theirs])
    return PartDistances(part=part, **figures, n_vertices=int(ours.sum() + theirs.sum()))


def weighted_quantile(values: np.ndarray, weights: np.ndarray, q: float) -> float:
    """Smallest value below or at which at least the share ``q`` of the total weight lies."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    index = int(np.searchsorted(cumulative, q * cumulative[-1] * (1 - 1e-12)))
    return float(values[order][min(index, len(values) - 1)])


def _figures(to_true: np.ndarray, ours: np.ndarray, to_recovered: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """The figures of one part; both directions signed, in mm, with the area of every point."""
    if not len(to_recovered):
        return dict.fromkeys(FIGURES, float("nan"))
    distances = np.abs(np.concatenate([to_true, to_recovered]))
    weights = np.concatenate([ours, theirs])
    backward = float(np.average(np.abs(to_recovered), weights=theirs))
    forward = float(np.average(np.abs(to_true), weights=ours)) if len(to_true) else float("nan")
    # Outside of one is inside of the other: without recovered points the sign comes from the true ones, turned round.
    signed = np.average(to_true, weights=ours) if len(to_true) else -np.average(to_recovered, weights=theirs)
    return {
        "masd_mm": (forward + backward) / 2 if len(to_true) else backward,
        "to_true_mm": forward,
        "to_recovered_mm": backward,
        "median_mm": weighted_quantile(distances, weights, 0.5),
        "p95_mm": weighted_quantile(distances, weights, 0.95),
        "hausdorff_mm": float(distances.max()),
        "signed_mean_mm": float(signed),
    }
