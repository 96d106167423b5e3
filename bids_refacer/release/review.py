"""The sheet of images that a person has to look at: what is left of each head, from outside and in cuts.

It may show faces, so that it stays with the audit's identifiable data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bids_refacer.dataset.rows.release import ReviewRow
from bids_refacer.release.images.looking import mean_of
from bids_refacer.release.images.making import in_parallel
from bids_refacer.reports import faces, slices
from bids_refacer.reports.page import write_page
from bids_refacer.surfaces.skin import SkinError, find_skin
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.masks import head_mask
from bids_refacer.volumes.nifti import read_series
from bids_refacer.volumes.templates import asset

_WIDTH = 200  # of a picture, pixels
_LEAD = (
    "In these images, facial skin is left or a little brain is missing. Look at each, write release or hold back into "
    "the column decision of review.tsv, and your initials; then run the release again with --review-list review.tsv."
)


@dataclass(frozen=True, kw_only=True)
class ImageToReview:
    """An image on the sheet: its path in the dataset, why to look, and the file that would be released."""

    name: str
    reason: str
    file: Path


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image as the page shows it; `problem` is why there is no picture."""

    name: str
    reason: str
    file: str
    pictures: tuple[tuple[str, str], ...] = ()
    problem: str | None = None


def write_sheet(path: Path, rows: Sequence[ReviewRow], files: Sequence[Path], nprocs: int) -> None:
    """Write the sheet; `files` are what would be released, one for each row. It belongs beside identifiable data."""
    waiting = [
        ImageToReview(name=row.image, reason=row.reason or "", file=file) for row, file in zip(rows, files, strict=True)
    ]
    shown = sorted(in_parallel(show, waiting, nprocs), key=lambda one: one.name)
    anchors = [(f"image-{number}", one.name) for number, one in enumerate(shown, start=1)]
    values = {"title": "Images to look at", "private": True, "sections": anchors, "lead": _LEAD}
    write_page(path, "review.html.j2", {**values, "images": shown, "width": _WIDTH})


def show(image: ImageToReview) -> Shown:
    """The pictures of one image: its skin from three sides, and three cuts through the place of the face."""
    about: dict[str, Any] = {"name": image.name, "reason": image.reason, "file": str(image.file)}
    try:
        volume = mean_of(read_series(image.file)).volume
        rigid = _roughly(volume)
        skin = faces.in_frame(find_skin(volume).mesh, rigid)
    except (ImageError, SkinError) as error:
        return Shown(**about, problem=f"No picture: {error}")
    outside = [(faces.render(skin, view), f"skin, {view}") for view in faces.VIEWS]
    white = slices.window(volume.values, None)
    cuts = [(slices.picture(slices.cut(volume, rigid, plane), 0, white), plane.words) for plane in slices.face_planes()]
    return Shown(**about, pictures=(*outside, *cuts))


def _roughly(volume: Volume) -> np.ndarray:
    """(4, 4) native world -> canonical world: a shift of the middle of the head, which is enough to look at it."""
    rigid = np.eye(4)
    rigid[:3, 3] = _average_middle() - _middle(volume)
    return rigid


@cache
def _average_middle() -> np.ndarray:
    return _middle(asset("average_head.nii.gz"))


def _middle(volume: Volume) -> np.ndarray:
    """(3,) middle of the part of the head that is 150 mm below its top, RAS+ mm: necks differ in length."""
    voxels = np.argwhere(head_mask(volume))
    points = voxels @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return np.asarray(points[points[:, 2] > points[:, 2].max() - 150].mean(axis=0))
