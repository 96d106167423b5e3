"""Which voxels a program removed or replaced, read off what it wrote.

Programs write floats, zero what is negative, mark removed voxels with NaN. All of that is undone, and reported: voxels
outside the region that a program removed or replaced keep the stored value of the input, bit for bit.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_refacer.defacers.tool import DefacerError
from bids_refacer.volumes.scan import Scan

_VISIBLE = 1e-3  # of the 99th percentile: darker voxels may have been rounded to zero, and say nothing
_MASK_AGREES = 0.99
_MOST_REPLACED = 0.8  # of the head's bright voxels: beyond, the tool changed the image and not the face


def removed_region(scan: Scan, output: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
    """The region that a removing program took: where it wrote zero or NaN.

    Where the input was zero already, the image does not show whether a voxel was removed. There the program's own mask
    answers, if it agrees with the image (either way round), and the nearest voxel that shows it, if it does not.

    Parameters
    ----------
    scan : the input
    output : (i, j, k) float64, from `output_grid.read_output`
    mask : (i, j, k) float64, the program's own mask, either way round

    Returns
    -------
    removed : (i, j, k) bool
    quirks : sentences about what had to be undone
    """
    values = scan.values
    taken = np.isnan(output) | (output == 0)
    visible = (values > _VISIBLE * np.percentile(values, 99)) | np.isnan(output)
    removed = _from_mask(mask, taken, visible)
    quirks = [] if mask is None or removed is not None else ["its mask does not agree with its image; not used"]
    if removed is None:
        removed = _from_nearest(taken, visible)
    if np.isnan(output).any():
        quirks.append("NaN written; zero here")
    return removed, quirks + _altered(values, output, ~removed)


def replaced_region(scan: Scan, output: np.ndarray, program: str) -> tuple[np.ndarray, list[str]]:
    """The region that a replacing program changed, its gaps closed; see `removed_region`.

    Every voxel that differs counts, noise in air as well: left as it was, it would draw the outline of the true face.
    Negative values that became zero are the exception: AFNI does that all over the image.

    Raises
    ------
    DefacerError
        When most of the image differs: then it does not show what was replaced.
    """
    values = scan.values.astype(np.float64)
    zeroed = (values < 0) & (output == 0)
    rounding = 1e-6 * np.abs(values).max() + (0.51 if (output == np.rint(output)).all() else 0.0)
    differs = np.isnan(output) | (np.abs(output - values) > rounding)
    bright = values > np.percentile(values, 99) / 4
    share = float((differs & bright).sum() / max(int(bright.sum()), 1))
    if share > _MOST_REPLACED:
        raise DefacerError(
            f"{scan.path}: {program} changed {100 * share:.0f} % of the head, so that its image does not show which "
            f"part it replaced; check its intensity scaling, or leave the tool out."
        )
    block = np.ones((3, 3, 3), dtype=bool)
    changed = differs & ~zeroed
    region = ndimage.binary_closing(np.pad(changed, 3), block, iterations=2)[3:-3, 3:-3, 3:-3] | changed
    return region, _altered(values, output, ~region)


def _from_mask(mask: np.ndarray | None, taken: np.ndarray, visible: np.ndarray) -> np.ndarray | None:
    """The program's mask as removed region, whichever way round it is; None when it contradicts the image."""
    if mask is None or not visible.any():
        return None
    inside = np.nan_to_num(mask) > 0.5
    for region in (inside, ~inside):
        if (region == taken)[visible].mean() >= _MASK_AGREES:
            return np.asarray(region | (taken & visible))
    return None


def _from_nearest(taken: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Every voxel that does not show whether it was removed takes the answer of the nearest one that does."""
    if not visible.any():
        return taken
    nearest = ndimage.distance_transform_edt(~visible, return_distances=False, return_indices=True)
    return np.asarray(taken[tuple(nearest)])


def _altered(values: np.ndarray, output: np.ndarray, kept: np.ndarray) -> list[str]:
    """What the program did to voxels that it should have kept."""
    quirks = []
    kept = kept & np.isfinite(output)
    zeroed = int((kept & (values < 0) & (output == 0)).sum())
    if zeroed:
        quirks.append(f"{zeroed} negative voxels outside the region zeroed; restored")
    size = 1e-3 * float(np.percentile(np.abs(values), 99))
    others = int((kept & (np.abs(output - values) > max(size, 0.51)) & ~((values < 0) & (output == 0))).sum())
    if others:
        quirks.append(f"{others} voxels outside the region changed; restored")
    return quirks
