"""The average face as a registration of the ORIGINAL puts it there: a baseline that knows the truth, and no attack."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from bids_refacer.refacing.compose import find_opening
from bids_refacer.refacing.drawing.paint import painted
from bids_refacer.refacing.drawing.template import Template
from bids_refacer.refacing.drawing.warp import MARGIN_MM, Target, fitted
from bids_refacer.refacing.fields import Fields, skin_field, tissue_field
from bids_refacer.refacing.prior import FIELD_SPACING
from bids_refacer.refacing.unknown import Level
from bids_refacer.surfaces.skin_distance import near_skin_distance
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.intensity import MODEL_AIR, brain_scale, to_model
from bids_refacer.volumes.scan import Scan

_SPACING = 2


@dataclass(frozen=True)
class Original:
    """An image with its face, which no attacker has.

    Attributes
    ----------
    image : before defacing
    brain : (i, j, k) bool, its brain
    alignment : of the image; its rigid part is used
    """

    image: Volume
    brain: np.ndarray
    alignment: Alignment


def fitted_average(original: Original, template: Template, scan: Scan, target: np.ndarray) -> Scan:
    """The defaced image with the template's face, warped onto the true one.

    This is what tools that replace a face put there: an average face, registered smoothly to the head with its face. No
    attack without the original need reach it.

    Parameters
    ----------
    scan : the defaced image, on the grid of the original
    target : (i, j, k) bool, to be replaced

    Returns
    -------
    the defaced image with its target replaced; equal to it elsewhere, bit for bit

    Raises
    ------
    SkinError
        When the original shows no head.
    """
    if not target.any():
        return scan
    scale = brain_scale(original.image.values, original.brain)
    level = _level(original, scale, target)
    skin, near = _skin(level)
    wanted = Target((level.values.clip(-1, 1) + 1) / 2, skin, near)
    coarse = level.at(FIELD_SPACING)
    fields = Fields(skin, tissue_field(coarse.values, skin, coarse.known | coarse.unknown))
    opening = find_opening(scan, target, ~target)
    face = painted(template, fitted(template, wanted), fields, opening.around, scan.grid, original.alignment)
    return replace(scan, stored=opening.filled(face * np.float32(scale)))


def _level(original: Original, scale: float, target: np.ndarray) -> Level:
    """The original in the canonical frame; `unknown` is where its face is to be replaced."""

    def moved(values: np.ndarray, cval: float = 0.0) -> np.ndarray:
        return original.alignment.to_canonical(Volume(values, original.image.affine), _SPACING, cval=cval)

    seen = moved(np.ones(target.shape, np.float32)) > 0.99
    replaced = seen & (moved(target.astype(np.float32)) > 0.01)
    values = moved(to_model(original.image.values, scale), cval=MODEL_AIR).astype(np.float32)
    return Level(values, seen & ~replaced, replaced, _SPACING)


def _skin(level: Level) -> tuple[np.ndarray, np.ndarray]:
    """The `skin` field of the original, exact where the second array, bool, says so: around the region."""
    values = (level.values.clip(-1, 1) + 1) * np.float32(127.5)
    unknown = level.at(FIELD_SPACING).unknown
    near = ndimage.distance_transform_edt(~unknown, sampling=FIELD_SPACING) <= MARGIN_MM
    return skin_field(near_skin_distance(values, _SPACING, FIELD_SPACING, also=near)), near
