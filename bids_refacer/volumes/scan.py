"""An image as it is on disk, and its intensities measured from the air around the head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.volumes.content.air import Air, find_air
from bids_refacer.volumes.grid import Grid, Volume


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A three-dimensional NIfTI image as it is on disk.

    ``stored`` is ``(i, j, k)``, on-disk dtype and byte order, unscaled, read-only. ``slope`` and ``inter`` are 1.0 and
    0.0 when the header asks for no scaling. ``affine`` is ``(4, 4)`` float64, voxel -> RAS+ mm. ``header`` is
    untouched; its ``get_data_shape()`` is the on-disk shape, which may be ``(i, j, k, 1)``. Intensities are measured
    from ``air``, which is zero in most images.
    """

    path: Path
    stored: np.ndarray
    slope: float
    inter: float
    affine: np.ndarray
    header: nib.Nifti1Header

    @property
    def values(self) -> np.ndarray:
        """``(i, j, k)`` float32, ``stored * slope + inter`` less the level of the air; a new array at every call.

        Where that is not zero, nothing is darker than air: programs fill with the darkest value, and it has to be 0.
        """
        origin = self.inter - self.air.level
        if self.slope == 1.0 and origin == 0.0 and self.air.stored is None:
            return self.stored.astype(np.float32)
        values = (self.stored.astype(np.float64) * self.slope + origin).astype(np.float32)
        return values if self.air.stored is None else np.maximum(values, 0)

    @property
    def volume(self) -> Volume:
        """`values` with the affine; a new array at every call."""
        return Volume(self.values, self.affine)

    @cached_property
    def air(self) -> Air:
        """What stands for air in this image."""
        return find_air(self.stored, self.slope, self.inter)

    @property
    def fill(self) -> np.generic:
        """The stored value of removed voxels: air."""
        air = self.air.stored
        return to_stored(self, np.zeros(1))[0] if air is None else air

    @property
    def fill_value(self) -> float:
        """The scaled intensity of `fill`, as other programs read it."""
        return float(np.float32(float(self.fill) * self.slope + self.inter))

    @property
    def grid(self) -> Grid:
        """Its voxels in world space."""
        i, j, k = self.stored.shape
        return Grid((i, j, k), self.affine)


def to_stored(scan: Scan, values: np.ndarray) -> np.ndarray:
    """Values above air ``(i, j, k)`` -> the on-disk dtype of ``scan``; rounded and clipped for integer dtypes.

    Raises ValueError if a value is not finite: no integer means "not a number".
    """
    if not np.isfinite(values).all():
        raise ValueError(f"Values for {scan.path} hold NaN or infinity: they cannot be stored as {scan.stored.dtype}.")
    unscaled = (np.asarray(values, dtype=np.float64) - (scan.inter - scan.air.level)) / scan.slope
    dtype = scan.stored.dtype
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        return np.clip(unscaled, float(limits.min), float(limits.max)).astype(dtype)
    return np.clip(np.rint(unscaled), *_integer_limits(dtype)).astype(dtype)


def _integer_limits(dtype: np.dtype) -> tuple[float, float]:
    """Smallest and largest float64 that the integer dtype can hold (2**63 - 1 is no float64)."""
    limits = np.iinfo(dtype)
    high = float(limits.max)
    return float(limits.min), high if int(high) <= limits.max else float(np.nextafter(high, 0))
