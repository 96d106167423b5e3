"""The training cache: heads on the canonical 2 mm grid, 8 bits a voxel, and the distance to their skin at 4 mm."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_refacer.surfaces.canonical import skin_distance
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.intensity import brain_scale, to_model

SPACING = 2
FIELD_SPACING = 4


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


def make_head(name: str, values: np.ndarray, affine: np.ndarray, brain_mask: np.ndarray, alignment: Alignment) -> Head:
    """Bring a native image, (i, j, k) float with its affine and brain mask, into the canonical frame."""
    model = to_model(values, brain_scale(values, brain_mask))
    seen = alignment.to_canonical(np.ones(values.shape, np.float32), affine, SPACING) > 0.99
    canonical = np.where(seen, alignment.to_canonical(model, affine, SPACING, cval=-1.0), -1)
    stored = np.round((canonical + 1) * 127.5).astype(np.uint8)
    brain = alignment.to_canonical(brain_mask.astype(np.float32), affine, SPACING) > 0.5
    skin_mm = skin_distance(stored.astype(np.float32), SPACING, FIELD_SPACING).astype(np.float16)
    return Head(name, stored, seen, brain, skin_mm, alignment)


def save_head(head: Head, folder: Path) -> None:
    """Write a head to `folder/<name>.npz`, atomically."""
    target = folder / f"{head.name}.npz"
    temporary = target.with_suffix(".tmp.npz")
    masks = np.packbits(np.stack([head.seen, head.brain]))
    rigid, affine = head.alignment.rigid, head.alignment.affine
    np.savez_compressed(temporary, stored=head.stored, masks=masks, skin_mm=head.skin_mm, rigid=rigid, affine=affine)
    os.replace(temporary, target)


def load_head(path: Path) -> Head:
    """Read what `save_head` wrote."""
    shape = CANONICAL[SPACING].shape
    with np.load(path) as content:
        masks = np.unpackbits(content["masks"]).astype(bool).reshape(2, *shape)
        alignment = Alignment(content["rigid"], content["affine"])
        return Head(path.stem, content["stored"], masks[0], masks[1], content["skin_mm"], alignment)
