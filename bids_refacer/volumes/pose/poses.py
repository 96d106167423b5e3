"""Which way a head is turned, by comparing the whole head with the average head in many orientations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from nibabel.affines import apply_affine
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from bids_refacer.volumes.grid import Grid, Volume, resample
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.templates import asset

_SPACING = 12.0
_SIDE = 30
_ORIENTATIONS = 600
"""No orientation is farther than about 20 degrees from one of so many that are spread evenly."""

_APART = 40.0
"""Degrees between candidates: the brain extractor finds brains of heads that are turned by half of this."""

_TISSUE, _MARGIN_MM, _TALLEST_MM = 0.15, 8.0, 250.0
"""Of a copy of a head: what counts as tissue, over the range of intensities, air around it, and from top to bottom."""

_SPIRAL = (np.sqrt(2.0), 1.533751168755204288118041)
"""Constants of the super-Fibonacci spiral (Alexa 2022, doi:10.1109/CVPR52688.2022.00811)."""


@dataclass(frozen=True)
class Pose:
    """A way of turning a head that may bring it upright.

    Attributes
    ----------
    turn : (4, 4) float64, native world -> a world (mm) in which the head is upright if the pose is right
    agreement : correlation with the average head in this pose, 0 to 1
    """

    turn: np.ndarray
    agreement: float

    @property
    def degrees(self) -> float:
        """By how much the head is turned."""
        return float(np.degrees(Rotation.from_matrix(self.turn[:3, :3]).magnitude()))

    @property
    def words(self) -> str:
        """Where the top of the head and the face point, by the image's header."""
        ways = ("right", "left"), ("front", "back"), ("top", "bottom")
        found = []
        for direction in (2, 1):
            pointing = self.turn[:3, :3].T[:, direction]
            axis = int(np.abs(pointing).argmax())
            found.append(ways[axis][0 if pointing[axis] > 0 else 1])
        return f"the top of the head points to the {found[0]} and the face to the {found[1]}"


def likely_poses(volume: Volume, most: int) -> list[Pose]:
    """The poses in which a head resembles the average head most, the best first, 40 degrees apart at least.

    Parameters
    ----------
    volume : intensities above air; a head, its brain, or what a defacer left of it
    most : how many poses
    """
    values, affine = volume.values, volume.affine
    bright = np.clip(values, 0, max(float(np.quantile(values[::2, ::2, ::2], 0.99)), 1e-6)).astype(np.float32)
    smooth = ndimage.gaussian_filter(bright, _SPACING / 2.5 / voxel_sizes(affine))
    step = np.maximum((_SPACING / 2 / voxel_sizes(affine)).astype(int), 1)
    coarse = Volume(smooth[:: step[0], :: step[1], :: step[2]], affine @ np.diag([*step, 1.0]))
    centre = apply_affine(coarse.affine, ndimage.center_of_mass(coarse.values))
    found = sorted(_compared(coarse, centre), key=lambda pose: -pose.agreement)
    chosen: list[Pose] = []
    for pose in found:
        if all(_degrees_between(pose, other) >= _APART for other in chosen):
            chosen.append(pose)
    return chosen[:most]


def upright(volume: Volume, turn: np.ndarray) -> Volume:
    """A copy of a head on the axes of a pose, cut to the head: much empty space misleads brain extractors.

    Parameters
    ----------
    volume : intensities above air
    turn : (4, 4) float, `Pose.turn`

    Returns
    -------
    float32, in the turned world; cubic voxels as fine as the image's, but not below 1 mm
    """
    smooth = ndimage.gaussian_filter(volume.values.astype(np.float32), 1.0)
    tissue = np.argwhere(smooth > _TISSUE * float(np.quantile(smooth[::2, ::2, ::2], 0.99)))
    places = apply_affine(turn @ volume.affine, tissue[:: max(len(tissue) // 100_000, 1)])
    low, high = np.quantile(places, 0.002, axis=0) - _MARGIN_MM, np.quantile(places, 0.998, axis=0) + _MARGIN_MM
    low[2] = max(low[2], high[2] - _TALLEST_MM)
    spacing = max(float(voxel_sizes(volume.affine).min()), 1.0)
    i, j, k = np.ceil((high - low) / spacing).astype(int)
    frame = np.diag([spacing] * 3 + [1.0])
    frame[:3, 3] = low + spacing / 2
    return Volume(resample(volume, Grid((int(i), int(j), int(k)), frame), np.linalg.inv(turn)), frame)


def _compared(smooth: Volume, centre: np.ndarray) -> Iterator[Pose]:
    grid, template = _template()
    for rotation in _rotations():
        turn = np.eye(4)
        turn[:3, :3] = rotation
        turn[:3, 3] = -rotation @ centre
        turned = resample(smooth, grid, np.linalg.inv(turn))
        size = float(np.linalg.norm(turned))
        if size == 0:
            continue
        match = fft.irfftn(template * np.conj(fft.rfftn(turned)), s=turned.shape)
        yield Pose(turn, float(match.max()) / size)


@cache
def _template() -> tuple[Grid, np.ndarray]:
    """A coarse grid around the origin, and there the transform of the average head, of unit norm."""
    frame = np.diag([_SPACING] * 3 + [1.0])
    frame[:3, 3] = -_SPACING * (_SIDE - 1) / 2
    grid = Grid((_SIDE, _SIDE, _SIDE), frame)
    head = asset("average_head.nii.gz")
    smooth = ndimage.gaussian_filter(head.values.astype(np.float32), _SPACING / 2.5 / voxel_sizes(head.affine))
    shift = np.eye(4)
    shift[:3, 3] = apply_affine(head.affine, ndimage.center_of_mass(smooth))
    moved = resample(Volume(smooth, head.affine), grid, shift)
    return grid, fft.rfftn(moved / np.linalg.norm(moved))


@cache
def _rotations() -> np.ndarray:
    """(n, 3, 3) float64, the identity and rotations spread evenly over all orientations."""
    place = np.arange(_ORIENTATIONS) + 0.5
    share, angle = place / _ORIENTATIONS, 2 * np.pi * place
    (first, second), (outer, inner) = (angle / constant for constant in _SPIRAL), (np.sqrt(share), np.sqrt(1 - share))
    parts = [outer * np.sin(first), outer * np.cos(first), inner * np.sin(second), inner * np.cos(second)]
    return np.concatenate([np.eye(3)[None], Rotation.from_quat(np.stack(parts, axis=1)).as_matrix()])


def _degrees_between(one: Pose, other: Pose) -> float:
    return float(np.degrees(Rotation.from_matrix(one.turn[:3, :3] @ other.turn[:3, :3].T).magnitude()))
