"""A head as one row of numbers: 4 mm voxels of the canonical frame, in units of its brain median, 8 bits each.

What group statistics need of an image, kept small (some 100 kB) so that they never need the image again.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_refacer.volumes.grid import Alignment, Volume, pool
from bids_refacer.volumes.intensity import CLIP, brain_scale
from bids_refacer.volumes.templates import asset
from bids_refacer.volumes.versioned import Shapes, read_versioned, write_versioned

VERSION = 1
ROIS = ("face", "head")
LEVELS = 255  # an 8-bit step is CLIP / 255, 1 % of the brain median: far below the noise of an image
_HEAD_LEVEL = 20  # of the average head (0 to 179): above it lies tissue of at least a few heads
_MARGIN_MM = 8.0  # heads differ from the average one by about as much


@cache
def head_roi() -> np.ndarray:
    """The voxels that are kept: where heads are, with a margin. (48, 64, 64) bool on the 4 mm canonical grid."""
    average = asset("average_head.nii.gz").values
    return _any_of_eight(_grown(average > _HEAD_LEVEL) | (asset("face_parts.nii.gz").values > 0))


@cache
def face_roi() -> np.ndarray:
    """Which kept voxels are facial: in the region where skin surfaces are compared, and not near the brain.

    Returns
    -------
    (n_voxels,) bool, in the order of `sample_voxels`
    """
    brain = _grown(asset("average_brain_mask.nii.gz").values > 0)
    return np.asarray(_any_of_eight((asset("face_parts.nii.gz").values > 0) & ~brain)[head_roi()])


def roi(name: str) -> np.ndarray:
    """(n_voxels,) bool: the kept voxels of one of `ROIS`."""
    return face_roi() if name == "face" else np.ones(int(head_roi().sum()), dtype=bool)


def to_lattice(voxels: np.ndarray, region: str) -> np.ndarray:
    """Rows of kept voxels as volumes: (n, n_voxels) uint8 -> (n, i, j, k) uint8.

    The box around one of `ROIS` on the 4 mm canonical grid; 0 in what does not belong to it.
    """
    inside = np.zeros(head_roi().shape, dtype=bool)
    inside[head_roi()] = roi(region)
    found = np.zeros((len(voxels), *inside.shape), dtype=np.uint8)
    found[:, inside] = voxels[:, roi(region)]
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(inside))
    return found[(slice(None),) + box]


def sample_voxels(image: Volume, brain_mask: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Voxels of a head in the canonical frame, rigidly aligned.

    Sampled at 2 mm and averaged over 2x2x2, as a 4 mm lattice alone would pick single voxels out of a fine image. The
    brain median is that of the image itself, over the voxels of the mask that it still has.

    Parameters
    ----------
    image : native intensities
    brain_mask : (i, j, k) bool, of the original
    alignment : Alignment of the original: the same for all images of a head, so that they differ by faces alone

    Returns
    -------
    (n_voxels,) uint8: 0 air, 255 `CLIP` brain medians and above

    Raises
    ------
    ValueError
        When nothing is left of the brain.
    """
    scale = brain_scale(image.values, brain_mask & (image.values > 0))
    fine = alignment.to_canonical(image, 2)
    coarse, _ = pool(fine, np.ones(fine.shape, dtype=bool))
    return np.asarray(np.rint(np.clip(coarse[head_roi()] / scale, 0, CLIP) * (LEVELS / CLIP)).astype(np.uint8))


def write_voxels(path: Path, voxels: np.ndarray) -> None:
    """Write what `sample_voxels` returned as ``.npz``; the same voxels give the same bytes."""
    write_versioned(path, VERSION, voxels=voxels)


def read_voxels(path: Path) -> np.ndarray:
    """Read what `write_voxels` wrote: (n_voxels,) uint8.

    Raises
    ------
    ImageError
        If the file cannot be read, holds no facial voxels, or those of another version.
    """
    shapes: Shapes = {"voxels": ((int(head_roi().sum()),), "u")}
    return read_versioned(path, VERSION, "facial voxels", shapes)["voxels"]


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask on the 2 mm grid and all within the margin."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=2.0) <= _MARGIN_MM)


def _any_of_eight(mask: np.ndarray) -> np.ndarray:
    """From 2 mm to 4 mm: a coarse voxel is in when any of its eight is."""
    i, j, k = (side // 2 for side in mask.shape)
    return np.asarray(mask.reshape(i, 2, j, 2, k, 2).any(axis=(1, 3, 5)))
