"""A head as two smooth fields on a coarse grid, which stand for an image (`refacing.conditioning.render`).

On a 4 mm grid the two keep a skin more exactly than intensities pooled over the same voxels. An error of a field moves
the skin a little, where an error of intensities leaves speckle in the air.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from bids_refacer.volumes.smoothing import masked_mean

SKIN_UNIT_MM = 8.0
SKIN_LIMIT = 2.0
INSIDE_MM = 2.0
"""Voxels deeper than this under the skin are taken for tissue without air in them."""
_NO_TISSUE_NEAR = -0.2
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Fields:
    """The two fields of a head, or two quantities that belong to them (errors, shares of their variance).

    Attributes
    ----------
    skin : (i, j, k) float32, signed distance to the skin, POSITIVE OUTSIDE, in units of `SKIN_UNIT_MM` (8 mm), cut off
        at `SKIN_LIMIT` units
    tissue : (i, j, k) float32, model intensity of the tissue, carried on smoothly into the air: without partial volume
    """

    skin: np.ndarray
    tissue: np.ndarray

    def __add__(self, other: Fields) -> Fields:
        return Fields(self.skin + other.skin, self.tissue + other.tissue)

    def __sub__(self, other: Fields) -> Fields:
        return Fields(self.skin - other.skin, self.tissue - other.tissue)

    def within_limits(self) -> Fields:
        """Values cut off at the limits of each field."""
        return Fields(np.clip(self.skin, -SKIN_LIMIT, SKIN_LIMIT), np.clip(self.tissue, -1, 1))


def to_torch(content: np.ndarray | Fields) -> Tensor:
    """The form that networks take: (i, j, k) -> (1, 1, i, j, k); fields -> (1, 2, i, j, k), skin first; float32."""
    parts = (content.skin, content.tissue) if isinstance(content, Fields) else (content,)
    return torch.from_numpy(np.stack([np.asarray(part, dtype=np.float32) for part in parts]))[None]


def from_torch(fields: Tensor) -> Fields:
    """The inverse of `to_torch` for fields, (1, 2, i, j, k), on any device."""
    skin, tissue = fields[0].cpu().numpy()
    return Fields(skin, tissue)


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
    near, far = (_tissue_mean(values, inside, width) for width in (1.0, 4.0))
    share = np.clip(ndimage.gaussian_filter(inside, 1.0) / 0.2, 0, 1)
    return np.where(inside > 0, values, share * near + (1 - share) * far).astype(np.float32)


def _tissue_mean(values: np.ndarray, inside: np.ndarray, width: float) -> np.ndarray:
    """Gaussian mean of the values inside, width in voxels; a middling tissue where none is near."""
    mean, weight = masked_mean(values, inside, width, _LEAST_WEIGHT)
    return np.where(weight > _LEAST_WEIGHT, mean, _NO_TISSUE_NEAR)


def skin_certain(skin: np.ndarray, seen: np.ndarray, spacing: float) -> np.ndarray:
    """(i, j, k) bool: voxels nearer to the skin than to the border of what is seen of the head.

    Beyond that border the skin may be anywhere; where the view cuts the head, the surface is a lid and no skin. The lid
    lies up to a voxel inside the view: as much is allowed for.
    """
    if seen.all():
        return seen
    reach = ndimage.distance_transform_edt(seen, sampling=spacing)
    return np.asarray(seen & (np.abs(skin) * SKIN_UNIT_MM + spacing <= reach))
