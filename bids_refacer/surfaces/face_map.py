"""The shape of a face as a picture of fixed size: what a face is looked up by in a crowd.

A skin surface in the canonical frame is unrolled onto a cylinder around the vertical axis of the head, and the distance
of the skin from that axis is kept at each place of a fixed grid, with gaps where there is no skin. Pictures of
two heads can be subtracted pixel by pixel, which searches a crowd thousands of times faster than distances between
surfaces. Faces are moved and turned by the alignment of the head alone, never scaled.

It is a cylinder and not a view from the front: on it, other faces differ more from a face than that face does from
itself when it is turned and moved a little (docs/group.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from nibabel.affines import apply_affine

from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.versioned import Shapes, read_versioned, write_versioned

STEP_MM = 2.0
AXIS_MM = (0.0, 0.0)  # x, y of the cylinder's axis in the canonical frame
RADIUS_MM = 90.0  # of the cylinder on which the grid is drawn: about the cheeks, where a step is then STEP_MM of skin
COLUMNS = 124  # from right to left: angles of +-79 degrees from straight ahead
ROWS = 92  # from below the chin, z = -140 mm, to the forehead, z = 44 mm
BOTTOM_MM = -140.0
VERSION = 1  # of the grid and of the projection: maps of different versions must not be compared


@dataclass(frozen=True)
class FaceMap:
    """What is stored of one face.

    Attributes
    ----------
    depth : (ROWS, COLUMNS) float32, mm from the axis; NaN where there is no skin
    rigid : (4, 4) float64, native world -> canonical world (RAS+ mm) of the head that the face is of
    """

    depth: np.ndarray
    rigid: np.ndarray


def map_face(face: trimesh.Trimesh, alignment: Alignment) -> FaceMap:
    """Unroll the face of a head.

    Parameters
    ----------
    face : trimesh.Trimesh, open surface of the face region (`region.face_patch`), native world RAS+ mm
    alignment : Alignment of the head; its rigid part alone is used
    """
    points = apply_affine(alignment.rigid, np.asarray(face.vertices))
    return FaceMap(depth_map(points, np.asarray(face.faces)), np.asarray(alignment.rigid, dtype=np.float64))


def depth_map(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Distance of the outermost skin from the axis, at each place of the grid.

    Parameters
    ----------
    points : (n, 3) float, canonical world, RAS+ mm
    faces : (m, 3) int, triangles

    Returns
    -------
    (ROWS, COLUMNS) float32
        mm; linear within each triangle in the coordinates of the grid, NaN where no triangle lies.
    """
    depth = np.full(ROWS * COLUMNS, -np.inf)
    if len(faces):
        _paint(depth, _unrolled(np.asarray(points, dtype=np.float64))[faces])
    return np.where(np.isfinite(depth), depth, np.nan).astype(np.float32).reshape(ROWS, COLUMNS)


def halved(depth: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 places over those with skin: (..., ROWS, COLUMNS) -> (..., ROWS / 2, COLUMNS / 2) float32."""
    blocks = depth.reshape(*depth.shape[:-2], ROWS // 2, 2, COLUMNS // 2, 2)
    known = np.isfinite(blocks)
    total = np.where(known, blocks, 0).sum((-3, -1))
    count = known.sum((-3, -1))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def write_face_map(path: Path, face: FaceMap) -> None:
    """Write a face map as ``.npz``; the same map gives the same bytes."""
    write_versioned(path, VERSION, depth=face.depth, rigid=face.rigid)


def read_face_map(path: Path) -> FaceMap:
    """Read what `write_face_map` wrote.

    Raises
    ------
    ImageError
        If the file cannot be read, holds no face map, or one of another version.
    """
    shapes: Shapes = {"depth": ((ROWS, COLUMNS), "f"), "rigid": ((4, 4), "f")}
    content = read_versioned(path, VERSION, "face maps", shapes)
    return FaceMap(content["depth"].astype(np.float32), content["rigid"].astype(np.float64))


def _unrolled(points: np.ndarray) -> np.ndarray:
    """(n, 3): column and row on the grid (fractions; 0 is the middle of the first), mm from the axis."""
    x, y = points[:, 0] - AXIS_MM[0], points[:, 1] - AXIS_MM[1]
    column = RADIUS_MM * np.arctan2(x, y) / STEP_MM + (COLUMNS - 1) / 2
    row = (points[:, 2] - BOTTOM_MM) / STEP_MM - 0.5
    return np.stack([column, row, np.hypot(x, y)], axis=1)


def _paint(depth: np.ndarray, corners: np.ndarray) -> None:
    """Write the largest depth of all triangles into the flat grid; ``corners`` is (m, 3 corners, 3)."""
    # A triangle right behind the axis has corners at both ends of the grid; it lies on neither.
    corners = corners[np.ptp(corners[:, :, 0], axis=1) < np.pi * RADIUS_MM / STEP_MM]
    low = np.ceil(corners[:, :, :2].min(axis=1)).astype(int)
    high = np.floor(corners[:, :, :2].max(axis=1)).astype(int)
    reach = (high - low).max(axis=0) + 1
    # Triangles are hardly larger than a place of the grid: few steps reach every place that any of them covers.
    for right in range(reach[0]):
        for up in range(reach[1]):
            place = low + (right, up)
            inside = (place <= high).all(1) & (place >= 0).all(1) & (place < (COLUMNS, ROWS)).all(1)
            at, value = _inside_triangles(place[inside], corners[inside])
            np.maximum.at(depth, at[:, 1] * COLUMNS + at[:, 0], value)


def _inside_triangles(place: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (k, 2) that lie in their triangles (k, 3, 3), and the depth there, by barycentric coordinates."""
    origin = corners[:, 0]
    first, second = corners[:, 1] - origin, corners[:, 2] - origin
    offset = place - origin[:, :2]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        a = (offset[:, 0] * second[:, 1] - offset[:, 1] * second[:, 0]) / area
        b = (first[:, 0] * offset[:, 1] - first[:, 1] * offset[:, 0]) / area
        hit = (area != 0) & (a >= -1e-9) & (b >= -1e-9) & (a + b <= 1 + 1e-9)
    return place[hit], (origin[:, 2] + a * first[:, 2] + b * second[:, 2])[hit]
