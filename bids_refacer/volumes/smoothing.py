"""Gaussian means within a mask, and linear interpolation axis by axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def masked_mean(
    values: np.ndarray, mask: np.ndarray, width: float | Sequence[float] | np.ndarray, least_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian mean of the values in a mask (normalised convolution: Knutsson & Westin 1993).

    Parameters
    ----------
    values : (..., i, j, k) float32, finite
    mask : float32, 0 or 1, of a shape that broadcasts with that of the values
    width : standard deviation in voxels, one for all axes or one each
    least_weight : where the mask has less weight than this, the mean falls to 0

    Returns
    -------
    mean : float32, of the shape of the values, everywhere
    weight : float32, of the shape of the mask: how much of the mask lies under the Gaussian, 0 to 1
    """
    weight = ndimage.gaussian_filter(mask, width)
    total = ndimage.gaussian_filter(values * mask, width)
    return total / np.maximum(weight, least_weight), weight


def interpolate_blocks(blocks: np.ndarray, step: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation of block means back to the voxels, axis by axis.

    Parameters
    ----------
    blocks : (a, b, c) float, mean of each block
    step : (3,) int, voxels in a block along each axis
    shape : (i, j, k), of the result

    Returns
    -------
    (i, j, k) float32, continued beyond the middles of the outermost blocks as it is there
    """
    sides = zip(shape, step, blocks.shape, strict=True)
    places = [np.clip((np.arange(size) + 0.5) / s - 0.5, 0, count - 1) for size, s, count in sides]
    return interpolate_axes(blocks, places).astype(np.float32)


def interpolate_axes(values: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    """Linear interpolation at the crossings of places along every axis: separable, one axis after the other.

    Parameters
    ----------
    values : (a, b, c) float
    places : for each axis (n,) float, in voxels, 0 to the side less 1

    Returns
    -------
    array with a side for the number of places of each axis
    """
    for axis, place in enumerate(places):
        side = values.shape[axis]
        low = np.minimum(place.astype(int), max(side - 2, 0))
        weight = (place - low).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
        above = np.minimum(low + 1, side - 1)
        values = values.take(low, axis) * (1 - weight) + values.take(above, axis) * weight
    return values
