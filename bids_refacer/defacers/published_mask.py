"""The mask that is published of a program's result: it must not draw the face that the program took away.

Where air holds one constant value, an image does not show how far the true face reached into it, but what a program
changed does: the true face where it sticks out of the new one. So a published mask has all such air in front of the
region, up to the border of the image. Which air that is, anybody can see in the defaced image.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from bids_refacer.defacers.tool import DefaceResult
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.masks import constant_fill, head_mask, voxel_volume
from bids_refacer.volumes.scan import Scan

_PLANE_MM = 10.0
"""The plane behind which air is left alone lies at a multiple of this, so that its place says nothing of a face."""


def with_published_mask(scan: Scan, result: DefaceResult, *, replaces: bool) -> DefaceResult:
    """The result with a mask that owes its shape in constant air to the defaced image alone.

    Parameters
    ----------
    scan : the original
    result : of a program; outside its `removed`, voxels are those of the original
    replaces : whether the program put another face there: then voxels that it left as they were are no part of it
    """
    changed = result.stored != scan.stored
    if not changed.any():
        return result
    air = _constant_air(scan, result.stored)
    mask = ((changed if replaces else result.removed) & ~air) | (air & _in_front(Volume(changed, scan.affine)))
    if replaces:  # intensities of two faces are equal here and there
        block = np.ones((3, 3, 3), dtype=bool)
        mask |= ndimage.binary_closing(np.pad(mask, 3), block, iterations=2)[3:-3, 3:-3, 3:-3]
    return replace(result, published=mask)


def _constant_air(scan: Scan, defaced: np.ndarray) -> np.ndarray:
    """(i, j, k) bool: voxels outside the defaced head that belong to solid air of one value."""
    fill, solid = constant_fill(defaced, voxel_volume(scan.affine))
    outside = ~head_mask(replace(scan, stored=defaced).volume)  # intensities above the air of the defaced image
    return np.asarray(ndimage.binary_propagation(solid & outside, mask=(defaced == fill) & outside))


def _in_front(changed: Volume) -> np.ndarray:
    """(i, j, k) bool: voxels that do not lie behind (world y, mm) the hindmost changed one."""
    y = apply_affine(changed.affine, np.moveaxis(np.indices(changed.values.shape, dtype=np.float32), 0, -1))[..., 1]
    return np.asarray(y >= _PLANE_MM * np.floor(y[changed.values].min() / _PLANE_MM))
