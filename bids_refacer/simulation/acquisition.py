"""How a head is imaged: contrast, voxels, field of view, pose in the scanner, noise and bias field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_refacer.simulation.anatomy import FIELD, Anatomy
from bids_refacer.simulation.contrast import to_contrast
from bids_refacer.simulation.model import HeadModel
from bids_refacer.volumes.grid import CANONICAL, Grid, Volume, resample
from bids_refacer.volumes.intensity import CLIP

CENTRE_MM = np.array([0.0, 16.0, -24.0])
"""Middle of the canonical box, which holds a whole head with its neck."""
TILT_DEG, SHIFT_MM = 4.0, 3.0
"""Standard deviations of the head's pose in the scanner."""
BRAIN_MEDIAN = 400.0
"""Of the stored values, of all contrasts' white and grey matter in T1w."""
_MIDDLE = 0.7  # squared radius of about a head, in half sides of the box
_AIR_MM = 6.0  # beyond it nothing is computed but noise


@dataclass(frozen=True)
class Protocol:
    """What the user chooses.

    Attributes
    ----------
    resolution_mm : edge of the voxels
    field_of_view_mm : left-right, back-front, down-up
    noise : standard deviation of the noise, in brain medians
    bias : standard deviation of the logarithm of the bias field
    """

    resolution_mm: float = 2.0
    field_of_view_mm: tuple[float, float, float] = (192.0, 256.0, 256.0)
    noise: float = 0.03
    bias: float = 0.1


@dataclass(frozen=True)
class Session:
    """A head in the scanner: the voxel grid, and the rigid map from native to canonical world, (4, 4)."""

    grid: Grid
    to_canonical: np.ndarray


def draw_session(protocol: Protocol, rng: np.random.Generator) -> Session:
    """A random pose of a head in the scanner."""
    sides = [max(round(length / protocol.resolution_mm), 2) for length in protocol.field_of_view_mm]
    affine = np.diag([protocol.resolution_mm] * 3 + [1.0])
    affine[:3, 3] = -(np.array(sides) - 1) / 2 * protocol.resolution_mm
    x, y, z = np.radians(rng.normal(0, TILT_DEG, 3))
    pose = np.eye(4)
    for turn, (a, b) in ((x, (1, 2)), (y, (2, 0)), (z, (0, 1))):
        step = np.eye(4)
        step[[a, a, b, b], [a, b, a, b]] = np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)
        pose = step @ pose
    pose[:3, 3] = CENTRE_MM + rng.normal(0, SHIFT_MM, 3)
    return Session(Grid((sides[0], sides[1], sides[2]), affine), pose)


def acquire(
    model: HeadModel, anatomy: Anatomy, session: Session, protocol: Protocol, contrast: str, rng: np.random.Generator
) -> np.ndarray:
    """An image of a head: (i, j, k) int16 on the session's grid.

    Tissue is looked up where each voxel's content lies in the average head; the skin covers voxels in part; bias field
    and Rician noise (Gudbjartsson and Patz 1995) come last.
    """
    voxels, at = _source(model, anatomy, session)
    tissue = _lookup(model.tissue_mean, at * 2 + 0.5, order=3) + _lookup(anatomy.tissue, at)
    tissue = np.clip(tissue + _lookup(anatomy.texture, at * 2 + 0.5), 0, 1) * CLIP
    brain = np.clip(0.5 - _lookup(model.brain_mm, at) / 4, 0, 1)
    signal = to_contrast(tissue, brain, _lookup(model.eyes, at), contrast)
    signal *= np.clip(0.5 - _lookup(model.skin_mm, at) / protocol.resolution_mm, 0, 1)
    image = np.zeros(session.grid.shape, np.float32)
    image[voxels] = signal * np.exp(protocol.bias * _bias(session.grid.shape, rng)[voxels])
    if protocol.noise:
        real, imaginary = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(protocol.noise)
        image = np.hypot(image + real, imaginary)
    return np.asarray(np.rint(np.clip(image * BRAIN_MEDIAN, 0, np.iinfo(np.int16).max)).astype(np.int16))


def true_brain(model: HeadModel, anatomy: Anatomy, session: Session) -> np.ndarray:
    """(i, j, k) bool: the brain on the session's grid."""
    voxels, at = _source(model, anatomy, session)
    brain = np.zeros(session.grid.shape, bool)
    brain[voxels] = _lookup(model.brain_mm, at) < 0
    return brain


def _source(model: HeadModel, anatomy: Anatomy, session: Session) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Voxels of the head, and their (3, n) places in the average head, in voxels of the 4 mm grid."""
    canonical = CANONICAL[FIELD]
    places = np.indices(canonical.shape, dtype=np.float32)
    distance = _lookup(model.skin_mm, places.reshape(3, -1) + anatomy.inverse.reshape(3, -1) / FIELD)
    near = resample(
        Volume(distance.reshape(canonical.shape), canonical.affine),
        session.grid,
        session.to_canonical,
        cval=2 * _AIR_MM,
    )
    voxels = np.nonzero(near < _AIR_MM)
    matrix = np.linalg.inv(canonical.affine) @ session.to_canonical @ session.grid.affine
    at = (matrix[:3, :3] @ np.stack(voxels) + matrix[:3, 3:]).astype(np.float32)
    return voxels, at + np.stack([_lookup(v, at) for v in anatomy.inverse]) / FIELD


def _lookup(values: np.ndarray, at: np.ndarray, order: int = 1) -> np.ndarray:
    return np.asarray(ndimage.map_coordinates(values, at, order=order, mode="nearest", output=np.float32))


def _bias(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """(i, j, k) float32: a random quadratic of the place, mean 0 and standard deviation 1 in the middle of the box.

    It does not depend on the head, or its scale would tell of a face after the face is gone.
    """
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in shape), indexing="ij", sparse=True)
    terms = (x, y, z, x * y, y * z, z * x, x**2, y**2, z**2)
    field = sum((w * term for w, term in zip(rng.standard_normal(9), terms, strict=True)), np.zeros(shape, np.float32))
    middle = field[x**2 + y**2 + z**2 < _MIDDLE]
    return np.asarray(((field - middle.mean()) / max(float(middle.std()), 1e-6)).astype(np.float32))
