"""Which of the true skin a defacing tool left: its tissue is still there, unchanged, within 2 mm under the skin."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from bids_refacer.surfaces.skin import Skin
from bids_refacer.volumes.grid import Volume

DEPTHS_MM = (0.5, 1.0, 1.5, 2.0)
UNCHANGED = 0.1
"""Largest change of an intensity, over the intensity, that still shows the same tissue."""

_FEWEST = 4000  # vertices that stand for a face


@dataclass(frozen=True)
class Defacing:
    """What a tool made of an original, on one grid and intensity scale.

    Attributes
    ----------
    original : before
    defaced : (i, j, k) float, after
    removed : (i, j, k) bool, what the tool says that it removed or replaced: an average face resembles every face
    """

    original: Volume
    defaced: np.ndarray
    removed: np.ndarray


def skin_left(skin: Skin, defacing: Defacing, where: np.ndarray) -> np.ndarray:
    """Which of the true skin is left: at some depth under it, original and defaced image have the same tissue.

    Pieces that float in the air count as left; what another face was painted over does not.

    Parameters
    ----------
    skin : of the original
    defacing : original, defaced image, and what was removed
    where : (n,) int, vertices of the skin

    Returns
    -------
    (n,) bool
    """
    points, normals = np.asarray(skin.mesh.vertices)[where], np.asarray(skin.mesh.vertex_normals)[where]
    images = (defacing.original.values, np.where(defacing.removed, np.nan, defacing.defaced), skin.level)
    to_voxel = np.linalg.inv(defacing.original.affine)
    left = np.zeros(len(points), dtype=bool)
    for depth in DEPTHS_MM:
        under = apply_affine(to_voxel, points - depth * normals)
        before, after, level = (
            ndimage.map_coordinates(image, under.T, order=1, mode="nearest", output=np.float32) for image in images
        )
        left |= (before > level) & (np.abs(after - before) <= UNCHANGED * np.abs(before))
    return left


def as_text(removed: np.ndarray) -> str:
    """Which of the true face's vertices were removed, (n,) bool, in short: their number, and a bit for some of them.

    What two tools removed of one face can be compared by it (`removed_dice`). Vertices of a face lie about evenly, so
    that every so many of them stand for all.
    """
    some = removed[:: _step(len(removed))]
    return f"{len(removed)}:{base64.b64encode(np.packbits(some).tobytes()).decode('ascii')}"


def removed_dice(one: str, other: str) -> float | None:
    """Dice of the skin that two tools removed of one face, from `as_text`; None where it is not one face."""
    found, compared = _bits(one), _bits(other)
    if found is None or compared is None or one.partition(":")[0] != other.partition(":")[0]:
        return None
    total = int(found.sum()) + int(compared.sum())
    return 2 * int((found & compared).sum()) / total if total else None


def _step(number: int) -> int:
    return max(1, number // _FEWEST)


def _bits(text: str) -> np.ndarray | None:
    number, _, bits = text.partition(":")
    try:
        count = len(range(0, int(number), _step(int(number))))
        return np.unpackbits(np.frombuffer(base64.b64decode(bits, validate=True), dtype=np.uint8), count=count) > 0
    except (ValueError, binascii.Error):
        return None
