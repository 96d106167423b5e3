"""Augmentation of canonical heads: random parameters are drawn in one function and applied in another.

Heads of another scanner differ in contrast, bias field, noise, sharpness and pose; a registration is never exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Augmentation:
    """Parameters of one draw.

    Attributes
    ----------
    flip : mirror left and right
    matrix : (3, 3) float, small rotation and scaling about the centre of the grid
    shift : (3,) float, voxels
    knots : (k,) float, a monotone intensity curve over the range 0..1
    bias : (3, 3, 3) float, logarithm of a smooth multiplicative field
    blur : float, standard deviation in voxels
    noise : float, standard deviation in model intensities
    seed : seed of the noise field
    """

    flip: bool
    matrix: np.ndarray
    shift: np.ndarray
    knots: np.ndarray
    bias: np.ndarray
    blur: float
    noise: float
    seed: int


def draw_augmentation(rng: np.random.Generator) -> Augmentation:
    """Random parameters; a third of the draws leave intensities as they are."""
    x, y, z = rng.normal(0, 0.02, 3)
    rotation = np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]])
    matrix = rotation @ np.diag(1 + rng.normal(0, 0.02, 3))
    plain = rng.random() < 0.34
    steps = np.full(8, 1 / 8) if plain else rng.gamma(6, 1, 8)
    gamma = 1.0 if plain else np.exp(rng.normal(0, 0.25))
    knots = np.concatenate([[0], np.cumsum(steps) / steps.sum()]) ** gamma
    return Augmentation(
        flip=bool(rng.random() < 0.5),
        matrix=matrix,
        shift=rng.normal(0, 0.7, 3),
        knots=knots,
        bias=np.zeros((3, 3, 3)) if plain else rng.normal(0, 0.12, (3, 3, 3)),
        blur=0.0 if rng.random() < 0.7 else rng.uniform(0, 0.7),
        noise=0.0 if plain else abs(rng.normal(0, 0.03)),
        seed=int(rng.integers(2**32)),
    )


def apply_pose(volume: np.ndarray, draw: Augmentation, cval: float) -> np.ndarray:
    """Mirror, rotate, scale and shift (i, j, k); linear for floats, nearest for labels (integers)."""
    volume = volume[::-1] if draw.flip else volume
    centre = (np.array(volume.shape) - 1) / 2
    offset = centre - draw.matrix @ centre + draw.shift
    order = 1 if volume.dtype.kind == "f" else 0
    return ndimage.affine_transform(volume, draw.matrix, offset, order=order, cval=cval)


def apply_intensity(values: np.ndarray, brain: np.ndarray, draw: Augmentation) -> np.ndarray:
    """Contrast, bias field, blur and Rician noise; then the brain median is brought back to where the frame has it.

    Parameters
    ----------
    values : (i, j, k) float32, model intensities -1..1
    brain : (i, j, k) bool
    """
    unit = (values + 1) / 2
    before = np.median(unit[brain])
    unit = np.interp(unit, np.linspace(0, 1, len(draw.knots)), draw.knots).astype(np.float32)
    if draw.bias.any():
        zoom = np.array(values.shape) / 3
        unit = unit * np.exp(ndimage.zoom(draw.bias.astype(np.float32), zoom, order=1, grid_mode=True, mode="nearest"))
    if draw.blur:
        unit = ndimage.gaussian_filter(unit, draw.blur)
    if draw.noise:
        rng = np.random.default_rng(draw.seed)
        real, imaginary = draw.noise * rng.standard_normal((2, *unit.shape), dtype=np.float32)
        unit = np.hypot(unit + real, imaginary)
    unit = unit * (before / max(float(np.median(unit[brain])), 1e-3))
    return (np.clip(unit, 0, 1) * 2 - 1).astype(np.float32)
