"""Unknown regions as they occur: what the defacing tools remove, jittered, and random geometric cuts.

`draw_region` takes random numbers; the functions below it are deterministic. All masks live on the canonical 2 mm grid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from bids_refacer.training.data.heads import SPACING, Head
from bids_refacer.volumes.grid import CANONICAL, resample
from bids_refacer.volumes.templates import asset, pydeface_keep_mask

_GRID = CANONICAL[SPACING]
_WORLD = np.stack(np.meshgrid(*(np.arange(n) for n in _GRID.shape), indexing="ij"), -1) @ _GRID.affine[:3, :3].T
_WORLD = (_WORLD + _GRID.affine[:3, 3]).astype(np.float32)

KINDS = {"template": 0.36, "shear": 0.26, "skullstrip": 0.13, "zone": 0.1, "geometric": 0.15}
"""Share of each kind of region in training."""


def draw_region(head: Head, rng: np.random.Generator, kinds: Mapping[str, float] = KINDS) -> np.ndarray:
    """(96, 128, 128) bool: an unknown region for this head, of a random kind. The brain is never part of it.

    Parameters
    ----------
    kinds : kind -> its share; shares add up to 1
    """
    kind = rng.choice(list(kinds), p=list(kinds.values()))
    if kind == "skullstrip":
        return skullstrip_region(head, int(rng.integers(0, 2)))
    if kind == "template":
        region = template_region(head, _jitter(rng))
    elif kind == "shear":
        region = shear_region(head.brain, buffer=rng.uniform(3, 11), tilt=rng.normal(0, 0.05))
    elif kind == "zone":
        region = zone_region(head)
    else:
        region = _geometric(rng)
    return np.asarray(region & ~head.brain)


def skullstrip_region(head: Head, margin: int = 0) -> np.ndarray:
    """All but the brain, which is dilated by `margin` voxels."""
    return ~ndimage.binary_dilation(head.brain, iterations=margin) if margin else ~head.brain


def template_region(head: Head, jitter: np.ndarray | None = None) -> np.ndarray:
    """What pydeface and niimath remove: pydeface's face mask carried by the head's affine, (4, 4) `jitter` after it."""
    to_average = head.alignment.affine @ np.linalg.inv(head.alignment.rigid)
    jitter = np.eye(4) if jitter is None else jitter
    return resample(pydeface_keep_mask(), _GRID, jitter @ to_average, order=1, cval=1.0) < 0.5


def shear_region(brain: np.ndarray, buffer: float, tilt: float = 0.0) -> np.ndarray:
    """What quickshear removes (Schimke & Hale 2011): all in front of and below a plane under the frontal lobe.

    Parameters
    ----------
    brain : (96, 128, 128) bool, canonical 2 mm grid
    buffer : distance of the plane from the brain, in voxels of 2 mm
    tilt : added to the slope of the plane

    Returns
    -------
    (96, 128, 128) bool
    """
    from quickshear import convex_hull, edge_mask

    profile = edge_mask(brain[:, ::-1])  # P, S axes, as the package wants
    low = convex_hull(profile)
    slope = (low[1, 1] - low[1, 0]) / (low[0, 1] - low[0, 0])
    middle = low[0, 0]
    height = low[1, 0] + (np.arange(profile.shape[0]) - middle) * (slope + tilt) - buffer
    cut = (np.arange(profile.shape[1])[None] < height[:, None])[::-1]
    return np.broadcast_to(cut[None], _GRID.shape)


def zone_region(head: Head) -> np.ndarray:
    """The public face zone of replacing tools, carried by the head's affine."""
    to_average = head.alignment.affine @ np.linalg.inv(head.alignment.rigid)
    return resample(asset("face_zone.nii.gz"), _GRID, to_average, order=1) > 0.5


def _geometric(rng: np.random.Generator) -> np.ndarray:
    """A half-space below and before a random plane, an ellipsoid, or a box, somewhere on the face."""
    centre = rng.uniform([-40, 30, -120], [40, 110, 10]).astype(np.float32)
    kind = rng.integers(3)
    if kind == 0:
        pitch, yaw = rng.uniform(0, np.pi / 2), rng.normal(0, 0.3)
        normal = np.array([np.sin(yaw), np.cos(pitch), -np.sin(pitch)])
        return np.asarray((_WORLD - centre) @ normal.astype(np.float32) > 0)
    scaled = np.abs(_WORLD - centre) / rng.uniform(25, 80, 3).astype(np.float32)
    return np.asarray((scaled**2).sum(-1) < 1 if kind == 1 else scaled.max(-1) < 1)


def _jitter(rng: np.random.Generator) -> np.ndarray:
    """(4, 4) small affine: a template registration is never quite right."""
    angles, matrix = rng.normal(0, 0.03, 3), np.eye(4)
    x, y, z = angles
    matrix[:3, :3] += np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) + np.diag(rng.normal(0, 0.03, 3))
    matrix[:3, 3] = rng.normal(0, 3, 3)
    return matrix
