"""The brain mask, from a network that also knows brains whose face or skull is gone; and whether there is a face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from scipy.stats import ks_2samp

from bids_refacer.volumes.grid import Alignment, Grid, Volume, resample
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.masks import head_mask, voxel_volume
from bids_refacer.volumes.pose.brain_agreement import overlaps_upright, turned_degrees
from bids_refacer.volumes.pose.poses import Pose
from bids_refacer.volumes.pose.upright import MOST_DEGREES, misoriented, turned_brain
from bids_refacer.volumes.registration import align_brain

BRAIN_ML = (500.0, 2500.0)
"""From an infant's to beyond the largest adult's; a mask outside this range is not a brain."""

LEAST_CONTRAST = 0.15
"""The network marks a plausible volume in pure noise too, where there is hardly any contrast (docs/tools.md)."""

_NO_CONTRAST = "a region that looks like its surroundings"

BRAIN_ONLY_RATIO = 1.4
"""Head over brain volume: 1 for skull-stripped images, more than 2 for heads, defaced ones too (docs/tools.md)."""

NOSE_BOX = Grid((16, 16, 24), np.array([[2.0, 0, 0, -15], [0, 2, 0, 91], [0, 0, 2, -83], [0, 0, 0, 1]]))
"""Where the average head has its nose: x -16..16, y 90..122, z -84..-36 mm."""

LEAST_NOSE_ML = 1.0
"""Tissue in that box; heads have more, defaced ones hardly any (docs/tools.md)."""


@dataclass(frozen=True)
class FoundBrain:
    """A brain mask, and how it was found.

    Attributes
    ----------
    mask : (i, j, k) bool
    degrees : by how much the head is turned, where its brain was only found in a copy that was turned upright
    """

    mask: np.ndarray
    degrees: float | None = None

    @property
    def details(self) -> dict[str, object]:
        """What the sidecar of the mask says besides; empty for a head that is upright."""
        if self.degrees is None:
            return {}
        warning = (
            f"The head is tilted by {self.degrees:.0f} degrees: its brain was found in a copy that was turned upright; "
            f"look at the brain mask, and at what tools do that take the head for upright."
        )
        return {"TiltDegrees": round(self.degrees), "Warnings": [warning]}


def extract_brain(volume: Volume, *, num_threads: int | None = None, name: str | Path = "The image") -> np.ndarray:
    """The mask that `find_brain` finds; see there for arguments and errors."""
    return find_brain(volume, num_threads=num_threads, name=name).mask


def find_brain(volume: Volume, *, num_threads: int | None = None, name: str | Path = "The image") -> FoundBrain:
    """Brain mask by deepbet (Fisch et al. 2024, doi:10.1016/j.compbiomed.2024.108845), on the CPU.

    Works on whole heads, defaced heads and skull-stripped brains in any orientation that the header describes. A mask
    that disagrees with the average brain is doubted; the brain is then sought in turned copies of the head.

    Parameters
    ----------
    volume : intensities above air
    num_threads : torch threads while it runs; torch's own choice when omitted
    name : what to call the image in errors

    Raises
    ------
    ImageError
        When there is no brain in the image, one of an impossible volume or shape, or only one that is turned so far
        that the orientation in the header must be wrong.
    """
    mask = _deepbet(volume, num_threads)
    doubt = _doubt(volume, mask)
    if doubt is None and (overlaps_upright(Volume(mask, volume.affine)) or turned_degrees(volume, mask) is not None):
        return FoundBrain(mask)

    def extract(turned: Volume) -> np.ndarray | None:
        found = _deepbet(turned, num_threads)
        return None if _doubt(turned, found) else found

    found = None if doubt == _NO_CONTRAST else turned_brain(volume, extract)
    if found and found.degrees > MOST_DEGREES:
        raise ImageError(f"{name}: {orientation_sentence(found.pose)}")
    if found:
        return FoundBrain(found.mask, found.degrees)
    if doubt is not None:
        raise ImageError(
            f"{name}: no brain found (the extractor marked {doubt}): "
            f"check that the image shows a whole head and that its voxel sizes are right, or exclude it."
        )
    raise ImageError(
        f"{name}: the brain that was found, {_volume_ml(Volume(mask, volume.affine)):.0f} mL, disagrees with the "
        f"average brain in shape, and no other pose of the head shows a better one: turn the image upright, check its "
        f"orientation and voxel sizes, or exclude it."
    )


def orientation_sentence(pose: Pose) -> str:
    """What is wrong with the header of a head that is in this pose, and what to do."""
    return (
        f"by its header, {pose.words}, so that the image is turned or mirrored: correct the orientation in the header "
        f"(sform and qform), or convert the image again from its source."
    )


def _doubt(volume: Volume, mask: np.ndarray) -> str | None:
    """What the extractor marked, when that is no brain."""
    volume_ml = _volume_ml(Volume(mask, volume.affine))
    if volume_ml == 0:
        return "nothing"
    if not BRAIN_ML[0] <= volume_ml <= BRAIN_ML[1]:
        return f"a region of {volume_ml:.0f} mL"
    return _NO_CONTRAST if _contrast(volume.values, mask) < LEAST_CONTRAST else None


def _volume_ml(mask: Volume) -> float:
    return float(mask.values.sum() * voxel_volume(mask.affine) / 1000)


def _contrast(values: np.ndarray, mask: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance, 0 to 1, between intensities in the mask and in the rest of its bounding box."""
    where = np.argwhere(mask)
    box = tuple(slice(low, high + 1) for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))
    around = values[box][~mask[box]]
    return float(ks_2samp(values[mask][::20], around[::20]).statistic) if around.size >= 20 else 0.0


def _deepbet(volume: Volume, num_threads: int | None) -> np.ndarray:
    """(i, j, k) bool; all False when the network sees no brain."""
    import deepbet
    import torch

    before = torch.get_num_threads()
    try:
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        image = nib.Nifti1Image(np.asarray(volume.values, dtype=np.float32), volume.affine)
        _, mask, _ = deepbet.BrainExtraction(no_gpu=True).run(image)
    except (AssertionError, ValueError):
        # Its two ways to say that not one voxel is brain: an assertion on the bounding box, argmax of nothing.
        return np.zeros(volume.values.shape, dtype=bool)
    finally:
        torch.set_num_threads(before)
    return np.asarray(mask.dataobj) > 0


def image_kind(
    volume: Volume, brain_mask: np.ndarray, alignment: Alignment | None = None
) -> Literal["head", "brain-only", "no face"]:
    """Whether there is something to deface: a head with a face, a skull-stripped brain, or a head without a face.

    Parameters
    ----------
    volume : scaled intensities
    brain_mask : (i, j, k) bool, not empty
    alignment : of this image; computed from the brain when omitted

    Raises
    ------
    RegistrationError
        When the alignment has to be computed and cannot be.
    """
    head = head_mask(volume) | brain_mask
    if head.sum() < BRAIN_ONLY_RATIO * brain_mask.sum():
        return "brain-only"
    to_average = (alignment or align_brain(volume, brain_mask)).affine
    nose = resample(Volume(head.astype(np.float32), volume.affine), NOSE_BOX, np.linalg.inv(to_average))
    return "head" if nose.sum() * voxel_volume(NOSE_BOX.affine) / 1000 >= LEAST_NOSE_ML else "no face"


def require_face(
    volume: Volume, brain_mask: np.ndarray, alignment: Alignment | None = None, *, name: str | Path = "The image"
) -> None:
    """Raise ImageError, a sentence, unless `image_kind` finds a head with a face."""
    kind = image_kind(volume, brain_mask, alignment)
    if kind == "brain-only":
        raise ImageError(
            f"{name} is already skull-stripped: it has no face, so there is nothing to deface; "
            f"give the image as it came from the scanner, or exclude this one."
        )
    if kind == "no face":
        if pose := misoriented(volume):
            raise ImageError(f"{name}: {orientation_sentence(pose)}")
        raise ImageError(
            f"{name} has no face (there is no tissue where the nose should be), so there is nothing to deface; "
            f"give the image from before defacing or cropping, or exclude this one."
        )
