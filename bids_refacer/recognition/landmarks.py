"""Five points of a face by regression trees (Kazemi and Sullivan 2014, doi:10.1109/CVPR.2014.241), as dlib has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def place_points(
    image: np.ndarray, box: tuple[float, float, float, float], trees: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Corners of the eyes and the base of the nose.

    Parameters
    ----------
    image : (rows, columns, 3) uint8
    box : left, top, right, bottom of the face, pixels
    trees : arrays of the prefix ``points``

    Returns
    -------
    (5, 2) float64
        Pixels, x before y: outer and inner corner of the eye on the right of the picture, the same of the other eye,
        base of the nose.
    """
    grey = image.mean(axis=2)
    left, top, right, bottom = box
    corner, size = np.array([left, top]), np.array([right - left, bottom - top])
    start = trees["points.start"].reshape(-1, 2).astype(np.float64)
    shape = start.copy()
    cascade = zip(
        *(trees[f"points.{name}"] for name in ("anchors", "offsets", "pairs", "thresholds", "leaves")), strict=True
    )
    for anchors, offsets, pairs, thresholds, leaves in cascade:
        turned = offsets @ _turn(start, shape).T
        values = _sampled(grey, corner + (shape[anchors] + turned) * size)
        chosen = leaves[np.arange(len(leaves)), _leaf(values, pairs, thresholds)]
        shape = shape + chosen.astype(np.float64).sum(axis=0).reshape(-1, 2)
    return np.asarray(corner + shape * size)


def _leaf(values: np.ndarray, pairs: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The leaf that each tree ends in: (trees,) int."""
    trees, splits = np.arange(len(pairs)), pairs.shape[1]
    at = np.zeros(len(pairs), dtype=int)
    for _ in range((splits + 1).bit_length() - 1):
        first, second = pairs[trees, at].T
        is_left = values[first] - values[second] > thresholds[trees, at]
        at = 2 * at + np.where(is_left, 1, 2)
    return np.asarray(at - splits)


def _sampled(grey: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Grey values at places (n, 2), x before y; 0 outside of the picture."""
    x, y = np.floor(places + 0.5).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < grey.shape[1]) & (y < grey.shape[0])
    values = np.zeros(len(places))
    values[inside] = grey[y[inside], x[inside]]
    return values


def _turn(start: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Rotation and scale (2, 2) of the similarity that takes one set of points to another."""
    return similarity(start, shape)[:, :2]


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity transform nearest to mapping points to points (Umeyama 1991, doi:10.1109/34.88573).

    Parameters
    ----------
    source, target : (n, 2) float

    Returns
    -------
    (2, 3) float64, rotation times scale, and the shift
    """
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    one, other = (source - centre) @ [1, 1j], (target - goal) @ [1, 1j]
    factor = (np.conj(one) @ other) / (np.conj(one) @ one)  # in the plane, a similarity is a complex factor
    matrix = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([matrix, goal - matrix @ centre])


def chip(image: np.ndarray, to_image: np.ndarray, size: int) -> np.ndarray:
    """Cut an aligned square out of a picture, linear between pixels, black outside.

    Parameters
    ----------
    image : (rows, columns, 3) uint8
    to_image : (2, 3) float, pixels of the square -> pixels of the picture, x before y
    size : side of the square, pixels

    Returns
    -------
    (size, size, 3) uint8
    """
    y, x = np.mgrid[:size, :size]
    at_x, at_y = (row[0] * x + row[1] * y + row[2] for row in to_image)
    left, top = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
    padded = np.pad(image.astype(np.float32), ((1, 2), (1, 2), (0, 0)))
    inside = (left >= -1) & (top >= -1) & (left < image.shape[1]) & (top < image.shape[0])
    left, top = np.where(inside, left, -1), np.where(inside, top, -1)
    right_share, low_share = (at_x - np.floor(at_x))[..., None], (at_y - np.floor(at_y))[..., None]
    above = padded[top + 1, left + 1] * (1 - right_share) + padded[top + 1, left + 2] * right_share
    below = padded[top + 2, left + 1] * (1 - right_share) + padded[top + 2, left + 2] * right_share
    found = (above * (1 - low_share) + below * low_share) * inside[..., None]
    return np.asarray(np.clip(np.rint(found), 0, 255).astype(np.uint8))
