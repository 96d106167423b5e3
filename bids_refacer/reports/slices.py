"""Slices of volumes in planes of the head, as pictures for a page."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from bids_refacer.reports.page import data_uri
from bids_refacer.surfaces.region import ASSET, in_part
from bids_refacer.surfaces.verdicts import EYE_MM
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.templates import asset

STEP_MM = 0.8
NEAR_BRAIN_MM = 8.0
"""How far from the brain a shareable picture shows what was removed: not as far as the skin."""

REMOVED, CUT = (255, 176, 0), (255, 64, 64)


@dataclass(frozen=True)
class Plane:
    """A rectangle in the canonical frame.

    Attributes
    ----------
    name, words : of the picture
    right, down : (3,) unit vectors of its axes
    origin : (3,) mm, its upper left corner
    shape : rows and columns, of `STEP_MM`
    """

    name: str
    words: str
    origin: tuple[float, float, float]
    right: tuple[int, int, int]
    down: tuple[int, int, int]
    shape: tuple[int, int]

    def points(self, step_mm: float = STEP_MM) -> np.ndarray:
        """(rows, columns, 3) canonical world, RAS+ mm; `step_mm` from pixel to pixel."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]] * step_mm
        return np.array(self.origin) + rows[..., None] * np.array(self.down) + columns[..., None] * np.array(self.right)


def face_planes() -> tuple[Plane, ...]:
    """A profile, and cuts through eyes and mouth. Left of a person is right in the picture, as radiologists have it."""
    parts = asset(ASSET)
    middle = np.argwhere(in_part(parts.values, "mouth")).mean(axis=0)
    mouth = middle @ parts.affine[:3, :3].T + parts.affine[:3, 3]

    def axial(name: str, words: str, z: float) -> Plane:
        return Plane(name, words, (95.0, 125.0, z), (-1, 0, 0), (0, -1, 0), (294, 238))

    return (
        Plane("profile", "middle of the head, from the side", (0.0, 130.0, 95.0), (0, -1, 0), (0, 0, -1), (300, 300)),
        axial("eyes", "through the eyes", EYE_MM[1]),
        axial("mouth", "through the mouth", float(mouth[2])),
    )


def brain_planes(centre: np.ndarray) -> tuple[Plane, ...]:
    """Three cuts through a point, as large as a brain."""
    x, y, z = (float(value) for value in centre)
    size = (200, 240)
    return (
        Plane("sagittal", "sagittal", (x, y + 96, z + 80), (0, -1, 0), (0, 0, -1), size),
        Plane("axial", "axial", (x + 80, y + 96, z), (-1, 0, 0), (0, -1, 0), (240, 200)),
        Plane("coronal", "coronal", (x + 80, y, z + 80), (-1, 0, 0), (0, 0, -1), (200, 200)),
    )


def cut(volume: Volume, rigid: np.ndarray, plane: Plane, order: int = 1) -> np.ndarray:
    """Values in a plane.

    Parameters
    ----------
    volume : in native world
    rigid : (4, 4) float, native world -> canonical world
    plane : Plane
    order : 1 linear, 0 nearest

    Returns
    -------
    (rows, columns) float32; 0 outside the volume
    """
    return values_at(volume, rigid, plane.points(), order)


def values_at(volume: Volume, rigid: np.ndarray, points: np.ndarray, order: int = 1) -> np.ndarray:
    """The same at any points, (..., 3) canonical world, RAS+ mm: (...) float32."""
    to_voxel = np.linalg.inv(rigid @ volume.affine)
    voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    return ndimage.map_coordinates(
        volume.values.astype(np.float32), np.moveaxis(voxels, -1, 0), order=order, mode="constant"
    )


def picture(plane: np.ndarray, low: float, high: float) -> str:
    """A grey picture as a data URI; `low` is black, `high` white."""
    grey = np.clip(255 * (plane - low) / max(high - low, 1e-6), 0, 255).astype(np.uint8)
    return _jpeg(Image.fromarray(grey))


def outline(mask: np.ndarray) -> str:
    """The border of a mask, (rows, columns) bool, as a transparent picture."""
    border = mask & ~ndimage.binary_erosion(mask, iterations=2, border_value=1)
    layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
    layer[border] = (*REMOVED, 255)
    return _png(Image.fromarray(layer))


def brain_picture(values: np.ndarray, brain: np.ndarray, removed: np.ndarray, high: float) -> str:
    """A slice of the brain alone, with what was removed there and nearby in colour.

    Parameters
    ----------
    values : (rows, columns) float, of the defaced image
    brain, removed : (rows, columns) bool
    high : intensity that is white
    """
    grey = np.where(brain, np.clip(255 * values / max(high, 1e-6), 0, 255), 0)
    colour = np.repeat(grey[..., None], 3, axis=-1)
    near = ndimage.distance_transform_edt(~brain, sampling=STEP_MM) <= NEAR_BRAIN_MM if brain.any() else brain
    for where, shade, weight in ((removed & near & ~brain, REMOVED, 0.55), (removed & brain, CUT, 0.85)):
        colour[where] = (1 - weight) * colour[where] + weight * np.array(shade)
    return _jpeg(Image.fromarray(colour.astype(np.uint8)))


def window(values: np.ndarray, brain: np.ndarray | None) -> float:
    """Intensity that is shown white: among the brightest of the brain, or of the head."""
    inside = values[brain] if brain is not None and brain.any() else values[values > 0]
    return float(np.percentile(inside[:: max(len(inside) // 100_000, 1)], 98.5)) if len(inside) else 1.0


def _jpeg(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return data_uri(content.getvalue(), "image/jpeg")


def _png(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return data_uri(content.getvalue(), "image/png")
