"""Augmentation of canonical heads: random parameters are drawn in one function and applied in others.

Heads of another scanner differ in contrast, bias field, noise, sharpness and pose; a registration is never exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_refacer.volumes.grid import CANONICAL

UNCHANGED_SHARE = 0.5
"""Share of the draws that mirror at most. Augmentation makes most of the linear estimate's error (docs/training.md): a
network that sees nothing else learns to mend augmentation."""


@dataclass(frozen=True)
class Augmentation:
    """Parameters of one draw.

    Attributes
    ----------
    flip : mirror left and right
    matrix : (3, 3) float, small rotation and scaling about the centre of the grid
    shift : (3,) float, mm
    knots : (k,) float, a monotone intensity curve over the range 0..1
    bias : (3, 3, 3) float, logarithm of a smooth multiplicative field
    blur : float, standard deviation in mm
    noise : float, standard deviation in a voxel of 2 mm, in units of the full intensity range
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
    """Random parameters; `UNCHANGED_SHARE` of the draws mirror at most, half of the others leave intensities alone."""
    if rng.random() < UNCHANGED_SHARE:
        return unchanged(flip=bool(rng.random() < 0.5))
    x, y, z = rng.normal(0, 0.02, 3)
    rotation = np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]])
    matrix = rotation @ np.diag(1 + rng.normal(0, 0.02, 3))
    plain = rng.random() < 0.5
    steps = np.full(8, 1 / 8) if plain else rng.gamma(8, 1, 8)
    gamma = 1.0 if plain else np.exp(rng.normal(0, 0.2))
    knots = np.concatenate([[0], np.cumsum(steps) / steps.sum()]) ** gamma
    return Augmentation(
        flip=bool(rng.random() < 0.5),
        matrix=matrix,
        shift=rng.normal(0, 1.4, 3),
        knots=knots,
        bias=np.zeros((3, 3, 3)) if plain else rng.normal(0, 0.12, (3, 3, 3)),
        blur=0.0 if rng.random() < 0.7 else rng.uniform(0, 1.4),
        noise=0.0 if plain else abs(rng.normal(0, 0.03)),
        seed=int(rng.integers(2**32)),
    )


def unchanged(flip: bool) -> Augmentation:
    """A head as it is, or mirrored."""
    return Augmentation(flip, np.eye(3), np.zeros(3), np.linspace(0, 1, 9), np.zeros((3, 3, 3)), 0.0, 0.0, 0)


def apply_pose(
    volume: np.ndarray,
    spacing: int,
    draw: Augmentation,
    target: int,
    order: int = 1,
    cval: float = 0.0,
) -> np.ndarray:
    """Mirror, rotate, scale and shift a canonical volume, sampled on a canonical grid.

    Parameters
    ----------
    volume : on the canonical grid of `spacing` mm
    target : spacing in mm of the grid to sample on
    order : of the spline, 0 for labels

    Returns
    -------
    (i, j, k) of the dtype of the volume for order 0, float32 otherwise
    """
    shape = CANONICAL[target].shape
    source = volume if order == 0 else volume.astype(np.float32, copy=False)
    if spacing == target and (draw.matrix == np.eye(3)).all() and not draw.shift.any():  # half of all draws
        return np.ascontiguousarray(source[::-1] if draw.flip else source)
    mirror = np.diag([-1.0 if draw.flip else 1.0, 1.0, 1.0])
    to_source = mirror @ draw.matrix * (target / spacing)
    start = to_source @ ((1 - np.array(shape)) / 2) + mirror @ draw.shift / spacing + (np.array(volume.shape) - 1) / 2
    return np.asarray(ndimage.affine_transform(source, to_source, start, output_shape=shape, order=order, cval=cval))


def size_factor(draw: Augmentation) -> float:
    """By how much lengths grow in `apply_pose`, on average over directions."""
    return float(abs(np.linalg.det(draw.matrix)) ** (-1 / 3))


def apply_intensity(values: np.ndarray, spacing: int, draw: Augmentation, brain: np.ndarray) -> np.ndarray:
    """Contrast, bias field, blur and Rician noise; then the brain median is brought back to where the frame has it.

    Parameters
    ----------
    values : (i, j, k) float32, model intensities -1..1, on the canonical grid of `spacing` mm
    brain : (i, j, k) bool

    Returns
    -------
    (i, j, k) float32
    """
    unit = (values + 1) / 2
    before = float(np.median(unit[brain]))
    unit = np.interp(unit, np.linspace(0, 1, len(draw.knots)), draw.knots).astype(np.float32)
    if draw.bias.any():
        unit = unit * np.exp(_bias(draw.bias, values.shape))
    if draw.blur:
        unit = ndimage.gaussian_filter(unit, draw.blur / spacing)
    if draw.noise:
        rng = np.random.default_rng(draw.seed)
        level = draw.noise * (2 / spacing) ** 1.5  # pooled voxels are quieter
        real, imaginary = level * rng.standard_normal((2, *unit.shape), dtype=np.float32)
        unit = np.hypot(unit + real, imaginary)
    gain = before / max(float(np.median(unit[brain])), 1e-3)
    return np.asarray((np.clip(unit * gain, 0, 1) * 2 - 1).astype(np.float32))


def _bias(knots: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Trilinear field through 3 x 3 x 3 values over a grid, float32."""
    zoom = np.array(knots.shape) / np.array(shape)
    start = 0.5 * zoom - 0.5
    return np.asarray(
        ndimage.affine_transform(knots.astype(np.float32), zoom, start, output_shape=shape, order=1, mode="nearest")
    )
