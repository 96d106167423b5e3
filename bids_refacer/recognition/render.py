"""Heads as pictures: shaded, in perspective, by the same cameras and lights for everyone.

Surfaces are drawn in the canonical frame (RAS+ mm): each triangle that faces the camera is cut into pixels, and the one
that is nearest to the camera gives the pixel its shade.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIZE = 320  # pixels: a face is some 150 of them wide, which both detectors find
TARGET_MM = (0.0, 40.0, -45.0)  # that cameras look at, canonical frame: behind the bridge of the nose
DISTANCE_MM = 800.0  # of the camera from there
FIELD_MM = 290.0  # side of what is seen at that distance
SKIN = (225.0, 172.0, 145.0)  # red, green, blue of skin in full light
AMBIENT = 0.35  # share of the light that comes from everywhere
LIGHTS = {"gallery": (20.0, 25.0), "probe": (-35.0, 10.0)}
"""Where each light stands: degrees to the head's left, degrees up. Faces are looked up under another than their own."""
_YAWS, _PITCHES = (0.0, -20.0, 20.0, -40.0, 40.0), (0.0, 12.0, -12.0)
MOST_VIEWS = len(_YAWS) * len(_PITCHES)


@dataclass(frozen=True)
class Surface:
    """A head.

    Attributes
    ----------
    points : (n, 3) float, canonical world, RAS+ mm
    triangles : (m, 3) int, wound so that normals point outward
    """

    points: np.ndarray
    triangles: np.ndarray


def cameras(count: int) -> list[tuple[float, float]]:
    """Where cameras stand: degrees to the head's left, degrees up; the nearest to straight ahead first."""
    places = [(yaw, pitch) for pitch in _PITCHES for yaw in _YAWS]
    order = sorted(range(len(places)), key=lambda number: (round(np.hypot(*places[number])), number))
    return [places[number] for number in order[:count]]


def render(head: Surface, views: int, light: str) -> np.ndarray:
    """Draw a head.

    Parameters
    ----------
    head : Surface
    views : number of cameras
    light : of `LIGHTS`

    Returns
    -------
    (views, SIZE, SIZE, 3) uint8, red first; black where there is no head
    """
    normals = _normals(head)
    toward = _direction(*LIGHTS[light])
    shade = AMBIENT + (1 - AMBIENT) * np.clip(normals @ toward, 0, 1)
    return np.stack([_picture(head, shade, *place) for place in cameras(views)])


def _direction(left: float, up: float) -> np.ndarray:
    """Unit vector from the head: degrees to its left (-x) of straight ahead (+y), degrees up (+z)."""
    across, above = np.deg2rad([left, up])
    return np.array([-np.sin(across) * np.cos(above), np.cos(across) * np.cos(above), np.sin(above)])


def _normals(head: Surface) -> np.ndarray:
    """Unit normal of each vertex, the mean of its triangles' by their areas: (n, 3)."""
    corners = head.points[head.triangles]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(head.points, dtype=np.float64)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(head.triangles[:, corner], area[:, axis], minlength=len(total))
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))


def _picture(head: Surface, shade: np.ndarray, left: float, up: float) -> np.ndarray:
    """One view: (SIZE, SIZE, 3) uint8."""
    toward = _direction(left, up)
    across = np.cross((0.0, 0.0, 1.0), toward)
    across /= np.linalg.norm(across)  # from the left of the picture to its right
    axes = np.stack([across, np.cross(toward, across), toward])
    seen = (head.points - TARGET_MM) @ axes.T
    depth = DISTANCE_MM - seen[:, 2]
    scale = SIZE / FIELD_MM * DISTANCE_MM / depth
    places = np.stack([seen[:, 0] * scale, -seen[:, 1] * scale], axis=1) + (SIZE - 1) / 2
    corners = np.concatenate([places, depth[:, None], shade[:, None]], axis=1)[head.triangles]
    pixels, values = _nearest(_facing(corners))
    flat = np.zeros(SIZE * SIZE)
    flat[pixels] = values
    return np.asarray(np.rint(np.clip(flat[:, None] * SKIN, 0, 255)).astype(np.uint8).reshape(SIZE, SIZE, 3))


def _facing(corners: np.ndarray) -> np.ndarray:
    """Triangles that face the camera; rows of the picture run down, which turns the winding round."""
    one, other = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    return np.asarray(corners[one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0] < 0])


def _nearest(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that triangles cover, and the shade there of the nearest.

    Parameters
    ----------
    corners : (m, 3, 4) float: column, row, mm from the camera, shade

    Returns
    -------
    pixels : (p,) int, some of them several times, the nearest last
    values : (p,) float
    """
    low = np.ceil(corners[:, :, :2].min(axis=1)).astype(int)
    high = np.floor(corners[:, :, :2].max(axis=1)).astype(int)
    pixels, depths, values = [], [], []
    span = high - low
    for right in range(int(span[:, 0].max(initial=-1)) + 1):
        for down in range(int(span[:, 1].max(initial=-1)) + 1):
            some = np.flatnonzero((span[:, 0] >= right) & (span[:, 1] >= down))
            place = low[some] + (right, down)
            some, place = (part[((place >= 0) & (place < SIZE)).all(axis=1)] for part in (some, place))
            hit, depth, shade = _inside(place, corners[some])
            pixels.append(place[hit, 1] * SIZE + place[hit, 0])
            depths.append(depth)
            values.append(shade)
    if not pixels:
        return np.zeros(0, dtype=int), np.zeros(0)
    order = np.argsort(-np.concatenate(depths), kind="stable")
    return np.concatenate(pixels)[order], np.concatenate(values)[order]


def _inside(place: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which places (k, 2) lie in their triangles (k, 3, 4), and depth and shade there, by barycentric coordinates."""
    origin = corners[:, 0]
    first, second = corners[:, 1] - origin, corners[:, 2] - origin
    offset = place - origin[:, :2]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    a = (offset[:, 0] * second[:, 1] - offset[:, 1] * second[:, 0]) / area
    b = (first[:, 0] * offset[:, 1] - first[:, 1] * offset[:, 0]) / area
    hit = (a >= -1e-9) & (b >= -1e-9) & (a + b <= 1 + 1e-9)
    inner = origin[hit, 2:] + a[hit, None] * first[hit, 2:] + b[hit, None] * second[hit, 2:]
    return hit, inner[:, 0], inner[:, 1]
