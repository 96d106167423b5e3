"""The training cache: heads on the canonical 2 mm grid, 8 bits a voxel, and the distance to their skin at 4 mm.

A file holds one head, uncompressed, and is mapped into memory: loader workers and the processes of a distributed run on
one machine share what they read, and thousands of heads need no memory of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_refacer.files import unfinished
from bids_refacer.refacing.prior import FIELD_SPACING as FIELD_SPACING
from bids_refacer.surfaces.skin_distance import skin_distance
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume
from bids_refacer.volumes.intensity import brain_scale, to_model

SPACING = 2
_GRID, _FIELD_GRID = CANONICAL[SPACING].shape, CANONICAL[FIELD_SPACING].shape
_RECORD = np.dtype(
    [
        *(("stored", np.uint8, _GRID), ("seen", bool, _GRID), ("brain", bool, _GRID)),
        *(("skin_mm", np.float16, _FIELD_GRID), ("rigid", np.float64, (4, 4)), ("affine", np.float64, (4, 4))),
    ]
)


@dataclass(frozen=True)
class Head:
    """One head in the canonical frame.

    Attributes
    ----------
    name : of the file that it came from, without suffix: participant, and session and run where there are any
    stored : (96, 128, 128) uint8, model intensities -1..1 as 0..255
    seen : (96, 128, 128) bool, inside the field of view
    brain : (96, 128, 128) bool
    skin_mm : (48, 64, 64) float16, signed distance to the skin, positive outside
    alignment : native <-> canonical
    """

    name: str
    stored: np.ndarray
    seen: np.ndarray
    brain: np.ndarray
    skin_mm: np.ndarray
    alignment: Alignment

    @property
    def participant(self) -> str:
        """Whose head it is; heads of several sessions share it."""
        return self.name.split("_", 1)[0]

    @property
    def values(self) -> np.ndarray:
        """(96, 128, 128) float32 model intensities."""
        return self.stored.astype(np.float32) * (2 / 255) - 1


def make_head(name: str, image: Volume, brain_mask: np.ndarray, alignment: Alignment) -> Head:
    """Bring a native image, float, with its brain mask (i, j, k) into the canonical frame."""
    values, affine = image.values, image.affine
    model = to_model(values, brain_scale(values, brain_mask))
    seen = alignment.to_canonical(Volume(np.ones(values.shape, np.float32), affine), SPACING) > 0.99
    canonical = np.where(seen, alignment.to_canonical(Volume(model, affine), SPACING, cval=-1.0), -1)
    stored = np.round((canonical + 1) * 127.5).astype(np.uint8)
    brain = alignment.to_canonical(Volume(brain_mask.astype(np.float32), affine), SPACING) > 0.5
    skin_mm = skin_distance(stored.astype(np.float32), SPACING, FIELD_SPACING).astype(np.float16)
    return Head(name, stored, seen, brain, skin_mm, alignment)


def head_file(folder: Path, name: str) -> Path:
    """Where the head of that name is in a cache."""
    return folder / f"{name}.npy"


def save_head(head: Head, folder: Path) -> None:
    """Write a head to `head_file`, atomically."""
    target = head_file(folder, head.name)
    alignment = head.alignment
    record = (head.stored, head.seen, head.brain, head.skin_mm, alignment.rigid, alignment.affine)
    with unfinished(target) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(record, _RECORD))


def load_head(path: Path) -> Head:
    """What `save_head` wrote, its volumes read from the disk when they are used; they cannot be written to.

    Raises
    ------
    OSError, ValueError
        When there is no such file, or it holds something else.
    """
    record = np.load(path, mmap_mode="r")
    if record.dtype != _RECORD or record.shape != ():
        raise ValueError("it is no cached head of this version")
    alignment = Alignment(np.array(record["rigid"]), np.array(record["affine"]))
    return Head(path.stem, record["stored"], record["seen"], record["brain"], record["skin_mm"], alignment)
