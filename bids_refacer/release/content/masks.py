"""Masks of what was removed, and what lies under them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_mask


def mask_of(path: Path) -> np.ndarray:
    """The mask of what was removed from an image, (i, j, k) bool. Raises ImageError when it cannot be read."""
    try:
        return read_mask(path).values
    except Exception as error:  # nibabel, gzip and zlib each have their own
        raise ImageError(f"The mask {path} cannot be read ({error}).") from error


def has_one_value(values: np.ndarray) -> bool:
    """Whether all values are the same."""
    return values.size == 0 or bool((values == values.flat[0]).all())
