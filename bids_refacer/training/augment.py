"""Augmentation of canonical heads: random parameters are drawn in one function and applied in others.

Heads of another scanner differ in contrast, bias field, noise, sharpness and pose; a registration is never exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_refacer.volumes.grid import CANONICAL

Box = tuple[slice, slice, slice]


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
    """Random parameters; half of the draws leave intensities as they are."""
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


def apply_pose(
    volume: np.ndarray,
    spacing: int,
    draw: Augmentation,
    target: int,
    box: Box | None = None,
    order: int = 1,
    cval: float = 0.0,
    offset: float = 0.0,
) -> np.ndarray:
    """Mirror, rotate, scale and shift a canonical volume, sampled on (part of) a canonical grid.

    Parameters
    ----------
    volume : on the canonical grid of `spacing` mm
    target : spacing in mm of the grid to sample on
    box : part of that grid; all of it when omitted
    order : of the spline, 0 for labels
    offset : index at which the voxel 0 of the grid's centres lies in `volume` (0.5 for `Head.pairs` against its grid)

    Returns
    -------
    (i, j, k) of the dtype of the volume for order 0, float32 otherwise
    """
    shape = CANONICAL[target].shape
    box = box or (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    mirror = np.diag([-1.0 if draw.flip else 1.0, 1.0, 1.0])
    to_source = mirror @ draw.matrix * (target / spacing)
    first = np.array([part.start for part in box]) - (np.array(shape) - 1) / 2
    start = to_source @ first + mirror @ draw.shift / spacing + (np.array(volume.shape) - 1) / 2 + offset
    size = tuple(part.stop - part.start for part in box)
    source = volume if order == 0 else volume.astype(np.float32, copy=False)
    return ndimage.affine_transform(source, to_source, start, output_shape=size, order=order, cval=cval)


def size_factor(draw: Augmentation) -> float:
    """By how much lengths grow in `apply_pose`, on average over directions."""
    return float(abs(np.linalg.det(draw.matrix)) ** (-1 / 3))


def apply_intensity(
    values: np.ndarray, spacing: int, draw: Augmentation, gain: float | None, brain: np.ndarray | None, box: Box | None
) -> tuple[np.ndarray, float]:
    """Contrast, bias field, blur and Rician noise; then the brain median is brought back to where the frame has it.

    Parameters
    ----------
    values : (i, j, k) float32, model intensities -1..1, on `box` of the canonical grid of `spacing` mm
    gain : factor that brings the median back, from an earlier call; found in `brain` when None
    brain : (i, j, k) bool, needed when `gain` is None
    box : all of the grid when None

    Returns
    -------
    values : (i, j, k) float32
    gain : float
    """
    unit = (values + 1) / 2
    before = np.median(unit[brain]) if brain is not None and gain is None else 0.0
    unit = np.interp(unit, np.linspace(0, 1, len(draw.knots)), draw.knots).astype(np.float32)
    if draw.bias.any():
        unit = unit * np.exp(_bias(draw.bias, spacing, box))
    if draw.blur:
        unit = ndimage.gaussian_filter(unit, draw.blur / spacing)
    if draw.noise:
        rng = np.random.default_rng(draw.seed)
        level = draw.noise * (2 / spacing) ** 1.5  # pooled voxels are quieter
        real, imaginary = level * rng.standard_normal((2, *unit.shape), dtype=np.float32)
        unit = np.hypot(unit + real, imaginary)
    if gain is None:
        gain = float(before) / max(float(np.median(unit[brain])), 1e-3)
    return (np.clip(unit * gain, 0, 1) * 2 - 1).astype(np.float32), gain


def _bias(knots: np.ndarray, spacing: int, box: Box | None) -> np.ndarray:
    """Trilinear field through 3 x 3 x 3 values over the grid, float32."""
    shape = CANONICAL[spacing].shape
    box = box or (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    zoom = np.array(knots.shape) / np.array(shape)
    start = (np.array([part.start for part in box]) + 0.5) * zoom - 0.5
    size = tuple(part.stop - part.start for part in box)
    return ndimage.affine_transform(knots.astype(np.float32), zoom, start, output_shape=size, order=1, mode="nearest")
