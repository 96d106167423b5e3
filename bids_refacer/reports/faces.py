"""Faces as pictures and as small meshes for the page's own viewer: a software renderer for skin surfaces."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np
import trimesh
from PIL import Image
from scipy.spatial import cKDTree

from bids_refacer.reports.page import data_uri

VIEWS = {"front": 0.0, "three-quarter": 40.0, "profile": 90.0}
"""Degrees that the head is turned to its left."""

SIZE = (250, 220)  # rows, columns of a picture
SCALE = 1.05  # pixels for each mm
CENTRE_MM = np.array([0.0, 45.0, -48.0])  # of the face, in the canonical frame
BACKGROUND = (34, 38, 44)
SKIN = (226, 214, 204)
MAP = "RdBu_r"  # red: the recovered face lies outside the true one, blue: inside; told apart by colour-blind readers
LIMIT_MM = 5.0
"""End of the colour scale of distances: the same on every page, so that colours can be compared."""
CELL_MM = 2.2  # of the meshes for the viewer
OVAL_MM = (80.0, 91.0)  # half width and half height of what is drawn whole, around the centre
OVAL_EDGE = 0.14  # share of the oval over which a face fades out
OVAL_INSIDE = 0.6  # within this share of the oval, an edge is that of a hole, which is shown as it is
BACK_MM = -10.0  # from the centre; the face region ends behind it
EDGE_MM = 8.0  # from where the surface ends: the border of the face region is a staircase of voxels


@dataclass(frozen=True)
class Face:
    """A skin surface in the canonical frame: (n, 3) float mm, (m, 3) int."""

    points: np.ndarray
    triangles: np.ndarray

    @cached_property
    def normals(self) -> np.ndarray:
        """Outward unit normals of the vertices, weighted by area: (n, 3) float64."""
        a, b, c = (self.points[self.triangles[:, corner]] for corner in range(3))
        triangle_normals = np.cross(b - a, c - a)
        corners, count = self.triangles.ravel(), len(self.points)
        total = np.stack([np.bincount(corners, np.repeat(column, 3), count) for column in triangle_normals.T], axis=1)
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)

    @cached_property
    def opacity(self) -> np.ndarray:
        """How much of a vertex is drawn, (n,) float64, 0 to 1: a face fades where it ends and outside of an oval."""
        away = self.points - CENTRE_MM
        from_middle = np.hypot(*(away[:, [0, 2]] / OVAL_MM).T)
        whole = np.clip((1 - from_middle) / OVAL_EDGE, 0, 1)
        ends = self._border()
        ends = ends[(from_middle[ends] > OVAL_INSIDE) | (away[ends, 1] < BACK_MM)]
        if len(ends):
            whole = np.minimum(whole, cKDTree(self.points[ends]).query(self.points)[0] / EDGE_MM)
        return np.asarray(whole**2 * (3 - 2 * whole), dtype=np.float64)  # smooth at both ends

    def _border(self) -> np.ndarray:
        """Vertices of edges that only one triangle has: (k,) int."""
        edges = np.sort(self.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        single, count = np.unique(edges, axis=0, return_counts=True)
        return np.unique(single[count == 1])


def in_frame(mesh: trimesh.Trimesh, rigid: np.ndarray) -> Face:
    """A surface in native world coordinates, brought into the canonical frame."""
    return Face(np.asarray(mesh.vertices) @ rigid[:3, :3].T + rigid[:3, 3], np.asarray(mesh.faces))


def signed_distance(truth: Face, recovered: Face, distance: np.ndarray) -> np.ndarray:
    """Distances on the true face with a sign: positive where the recovered face lies outside it.

    Parameters
    ----------
    truth, recovered : Face
    distance : (n,) float, mm, absolute, of each true vertex (``*_distance.shape.gii``)

    Returns
    -------
    (n,) float64, mm
    """
    if not len(recovered.points):
        return -np.asarray(distance, dtype=np.float64)  # nothing is left: the skin lies deeper
    nearest = recovered.points[cKDTree(recovered.points).query(truth.points)[1]]
    outside = np.einsum("ij,ij->i", nearest - truth.points, truth.normals) >= 0
    return np.where(outside, distance, -distance)


def colours(values: np.ndarray, limit: float = LIMIT_MM) -> np.ndarray:
    """Colours of signed distances from -limit to limit, mm: (n, 3) float, 0 to 255."""
    return 255 * matplotlib.colormaps[MAP](0.5 + 0.5 * np.clip(values / limit, -1, 1))[:, :3]


def render(face: Face, view: str, shades: np.ndarray | None = None) -> str:
    """A picture of a face as a data URI.

    Parameters
    ----------
    face : Face
    view : one of `VIEWS`
    shades : (n, 3) float, 0 to 255, colours of the vertices; the colour of skin where None
    """
    image = np.empty((*SIZE, 3))
    image[:] = BACKGROUND
    if len(face.triangles):
        where, colour = _visible(face, VIEWS[view], np.full((len(face.points), 3), SKIN) if shades is None else shades)
        image.reshape(-1, 3)[where] = colour
    content = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(content, "JPEG", quality=88)
    return data_uri(content.getvalue(), "image/jpeg")


def _visible(face: Face, degrees: float, shades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat places of the picture that show skin, and the colour there: the nearest of samples of all triangles."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    points, upright = (face.points - CENTRE_MM) @ turn.T, face.normals @ turn.T
    light = np.array([0.35, 0.85, 0.4]) / np.linalg.norm([0.35, 0.85, 0.4])
    opacity = face.opacity[:, None]
    lit = opacity * shades * (0.28 + 0.72 * np.clip(upright @ light, 0, 1))[:, None] + (1 - opacity) * BACKGROUND
    screen = np.stack([SIZE[1] / 2 - SCALE * points[:, 0], SIZE[0] / 2 - SCALE * points[:, 2], points[:, 1]], axis=1)
    triangles = face.triangles[(upright[face.triangles, 1] > -0.3).any(axis=1)]
    corners = np.concatenate([screen, lit], axis=1).astype(np.float32)[triangles]
    extent = np.ptp(corners[:, :, :2], axis=1).max(axis=1)
    steps = np.clip(np.ceil(1.6 * extent), 1, 12).astype(int)
    samples = np.concatenate([_samples(corners[steps == count], count) for count in np.unique(steps)])
    column, row = np.rint(samples[:, 0]).astype(int), np.rint(samples[:, 1]).astype(int)
    inside = (row >= 0) & (row < SIZE[0]) & (column >= 0) & (column < SIZE[1])
    where, samples = (row * SIZE[1] + column)[inside], samples[inside]
    nearest = np.full(SIZE[0] * SIZE[1], -np.inf, dtype=np.float32)
    np.maximum.at(nearest, where, samples[:, 2])
    seen = samples[:, 2] == nearest[where]
    return where[seen], samples[seen, 3:]


def _samples(corners: np.ndarray, count: int) -> np.ndarray:
    """Points of triangles, (m, 3 corners, c) -> (m k, c), `count` steps along each side."""
    first, second = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
    kept = first + second <= count
    a, b = first[kept] / count, second[kept] / count
    weights = np.stack([1 - a - b, a, b], axis=1).astype(np.float32)
    return np.matmul(weights, corners).reshape(-1, corners.shape[2])


def simplified(face: Face, values: np.ndarray | None = None, cell_mm: float = CELL_MM) -> tuple[Face, np.ndarray]:
    """A coarser mesh: vertices of one cell become one.

    Parameters
    ----------
    face : Face
    values : (n, c) float of the vertices, averaged alike
    cell_mm : edge of a cell

    Returns
    -------
    face : Face
    values : (n', c) float
    """
    values = np.zeros((len(face.points), 0)) if values is None else values
    cells = np.floor(face.points / cell_mm).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    cell = cell.ravel()
    count = np.bincount(cell)[:, None]
    both = np.concatenate([face.points, values], axis=1)
    means = np.stack([np.bincount(cell, column) for column in both.T], axis=1) / count
    triangles = cell[face.triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (a != c)]
    return Face(means[:, :3], triangles), means[:, 3:]


def packed(face: Face, values: dict[str, np.ndarray] | None = None) -> dict[str, object]:
    """A mesh for the viewer: 0.01 mm as 16-bit numbers, opacity in 255ths, base64.

    `values` are (n,) float mm for the vertices of `face`, which is simplified here.
    """
    names = list(values or {})
    small, means = simplified(face, np.stack([face.opacity, *((values or {})[name] for name in names)], axis=1))
    if len(small.points) > 65535:
        small, means = simplified(small, means, 2 * CELL_MM)
    return {
        "points": _base64(np.round(100 * (small.points - CENTRE_MM)).clip(-32767, 32767).astype("<i2")),
        "triangles": _base64(small.triangles.astype("<u2")),
        "opacity": _base64(np.round(255 * means[:, 0]).clip(0, 255).astype("u1")),
        "values": {
            name: _base64(np.round(100 * column).clip(-32767, 32767).astype("<i2"))
            for name, column in zip(names, means.T[1:], strict=True)
        },
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()
