"""A head as two smooth fields on a coarse grid, which stand for an image (`refacing.conditioning.render`).

`skin` is the signed distance to the skin, POSITIVE OUTSIDE, in units of `SKIN_UNIT_MM`, cut off at `SKIN_LIMIT` units.
`tissue` is the model intensity of the tissue there, carried on smoothly into the air: without partial volume.
On a 4 mm grid the two keep a skin to within 0.1 mm, where intensities pooled over the same voxels lose twice as much;
and an error of a field moves the skin a little, where an error of intensities leaves speckle in the air.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SKIN_UNIT_MM = 8.0
SKIN_LIMIT = 2.0
INSIDE_MM = 2.0
"""Voxels deeper than this under the skin are taken for tissue without air in them."""
_NO_TISSUE_NEAR = -0.2


def skin_field(distance_mm: np.ndarray) -> np.ndarray:
    """Signed distances in mm, positive outside -> the `skin` field, float32."""
    return np.clip(distance_mm / SKIN_UNIT_MM, -SKIN_LIMIT, SKIN_LIMIT).astype(np.float32)


def tissue_field(values: np.ndarray, skin: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The `tissue` field of a head.

    Parameters
    ----------
    values : (i, j, k) float, model intensities
    skin : (i, j, k) float, the `skin` field on the same grid
    seen : (i, j, k) bool, inside the field of view

    Returns
    -------
    (i, j, k) float32, equal to `values` deeper than 2 mm inside the head, elsewhere the mean of the tissue around
    """
    inside = ((skin < -INSIDE_MM / SKIN_UNIT_MM) & seen).astype(np.float32)
    near, far = (_mean_of(values, inside, width) for width in (1.0, 4.0))
    share = np.clip(ndimage.gaussian_filter(inside, 1.0) / 0.2, 0, 1)
    return np.where(inside > 0, values, share * near + (1 - share) * far).astype(np.float32)


def _mean_of(values: np.ndarray, mask: np.ndarray, width: float) -> np.ndarray:
    """Gaussian mean of the values in a mask; a middling tissue where none is near."""
    weight = ndimage.gaussian_filter(mask, width)
    total = ndimage.gaussian_filter(values * mask, width)
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), _NO_TISSUE_NEAR)


def skin_certain(skin: np.ndarray, seen: np.ndarray, spacing: float) -> np.ndarray:
    """(i, j, k) bool: voxels nearer to the skin than to the border of what is seen of the head.

    Beyond that border the skin may be anywhere; where the view cuts the head, the surface is a lid and no skin. The lid
    lies up to a voxel inside the view: as much is allowed for.
    """
    if seen.all():
        return seen
    reach = ndimage.distance_transform_edt(seen, sampling=spacing)
    return seen & (np.abs(skin) * SKIN_UNIT_MM + spacing <= reach)
