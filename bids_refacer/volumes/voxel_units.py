"""Voxel sizes that are not in millimetres, as converters of microscopes and of other formats leave them."""

from __future__ import annotations

from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.masks import voxel_sizes
from bids_refacer.volumes.scan import Scan

LIMITS_MM = (0.02, 50.0)
"""Edges of a voxel of any image of a head; in micrometres or metres they lie far beyond."""

_UNITS = {"micron": "micrometres", "meter": "metres", "mm": "millimetres"}


def require_millimetres(scan: Scan) -> None:
    """Refuse an image whose voxel sizes cannot be millimetres. Raises ImageError, which has sizes and unit."""
    sizes = voxel_sizes(scan.affine)
    if sizes.min() >= LIMITS_MM[0] and sizes.max() <= LIMITS_MM[1]:
        return
    unit = scan.header.get_xyzt_units()[0]
    listed = " x ".join(f"{size:.4g}" for size in sizes)
    said = f"the unit in its header is {_UNITS[unit]}" if unit in _UNITS else "its header names no unit"
    likely = "micrometres" if sizes.max() > LIMITS_MM[1] else "metres"
    raise ImageError(
        f"{scan.path} has voxel sizes of {listed}, which are read as millimetres; {said}, and no head has such voxels "
        f"({likely} fit better): convert affine and voxel sizes in its header to millimetres."
    )
