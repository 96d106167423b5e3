"""Whether images are in register, by what their headers and sidecars show, and not by their names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_refacer.dataset.image_key import without_extension

SAME_PLACE_MM = 0.01
"""At the corners of the image: quaternions and matrices of 32 bits, and their texts in headers, differ by less."""

SAME_TIME_S = 1.0
"""Between the starts of two files of one acquisition; nobody is moved within it."""

_TIMES = ("AcquisitionDateTime", "AcquisitionTime")  # BIDS, and dcm2niix
_CLOCK = re.compile(r"(?:(\d{4}-?\d{2}-?\d{2})T)?(\d{1,2}):?(\d{2}):?(\d{2}(?:\.\d*)?)")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and when an image was taken: shape, affine (4, 4) into RAS+ mm, and times as its sidecar has them."""

    shape: tuple[int, ...]
    affine: np.ndarray
    times: dict[str, str]

    def agrees(self, other: Placement) -> bool:
        """Whether both have one grid in one place, and the same time of scan where both say it."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, length - 1) for length in self.shape[:3]])).reshape(3, -1).T
        one, two = (nib.affines.apply_affine(affine, corners) for affine in (self.affine, other.affine))
        if not np.abs(one - two).max() <= SAME_PLACE_MM:
            return False
        shared = set(self.times) & set(other.times)
        return all(_same_time(self.times[name], other.times[name]) for name in shared)


def read_placement(path: Path) -> Placement | None:
    """The placement of an image; None for a file that cannot be read, or is no volume."""
    try:
        image = nib.Nifti1Image.from_filename(path) if path.exists() else None
        if image is None or len(image.shape) < 3 or not np.isfinite(image.affine).all():
            return None
        shape, affine = tuple(int(length) for length in image.shape), np.asarray(image.affine, dtype=np.float64)
    except Exception:  # nibabel, gzip and zlib each have their own; the node that reads it says what is wrong
        return None
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return Placement(shape=shape, affine=affine, times=_times(path))


def are_in_register(one: Path, other: Path) -> bool:
    """Whether two images show by header and sidecar that they are on one grid, in one place, of one time."""
    first, second = read_placement(one), read_placement(other)
    return first is not None and second is not None and first.agrees(second)


def _times(image: Path) -> dict[str, str]:
    """Times in the sidecar of an image; empty without one."""
    try:
        content = json.loads(Path(f"{without_extension(str(image))}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = content if isinstance(content, dict) else {}
    return {name: str(known[name]) for name in _TIMES if known.get(name) not in (None, "")}


def _same_time(one: str, other: str) -> bool:
    first, second = _CLOCK.fullmatch(one.strip()), _CLOCK.fullmatch(other.strip())
    if first is None or second is None:
        return one == other
    same_day = (first[1] or "").replace("-", "") == (second[1] or "").replace("-", "")
    return same_day and abs(_seconds(first) - _seconds(second)) <= SAME_TIME_S


def _seconds(clock: re.Match[str]) -> float:
    return 3600 * int(clock[2]) + 60 * int(clock[3]) + float(clock[4])
