"""A defaced head in the canonical frame, as the networks are given it: by an attack and by training alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bids_refacer.refacing.conditioning import image_of
from bids_refacer.refacing.estimate import Estimate, kriged_fields, linear_fields
from bids_refacer.refacing.fields import Fields, skin_field
from bids_refacer.refacing.prior import FIELD_SPACING, LinearPrior
from bids_refacer.refacing.unknown import Level, paint_region
from bids_refacer.surfaces.skin_distance import near_skin_distance
from bids_refacer.volumes.intensity import MODEL_AIR

_GREY = 127.5  # model intensities -1..1 as 0..255, the scale of the training cache


@dataclass(frozen=True)
class DefacedHead:
    """A defaced head, the region to paint, and the estimate of its fields.

    Attributes
    ----------
    level : the head on a canonical grid; `unknown` is to be painted, values are -1 where removed
    fields : the estimate on the prior's grid, over which the first stage draws a residual
    left_open : share of the estimate's variance that the skin beside the region leaves open; None: all
    """

    level: Level
    fields: Fields
    left_open: Fields | None = None

    @property
    def values(self) -> np.ndarray:
        """(i, j, k) float32 model intensities, used where known."""
        return self.level.values

    @property
    def known(self) -> np.ndarray:
        """(i, j, k) bool, False outside the field of view."""
        return self.level.known

    @property
    def unknown(self) -> np.ndarray:
        """(i, j, k) bool, to be painted; False outside the field of view."""
        return self.level.unknown


def completed(level: Level, fields: Fields) -> np.ndarray:
    """(i, j, k) float32, 0 to 255: model intensities with the image of fields where voxels are unknown."""
    image = image_of(fields, level.spacing)
    return (np.where(level.unknown, image, level.values).clip(-1, 1) + 1) * _GREY


def estimated_head(seen: Level, prior: LinearPrior, estimate: Estimate, *, shares: bool = True) -> DefacedHead:
    """The region to paint and the estimate of its fields; far removed voxels become known air.

    The region lies near tissue that is expected and missing. Expected by the linear estimate, never by the truth: a
    region that follows the true skin at a distance tells where it lies, and a network would learn to read that.

    Parameters
    ----------
    seen : known is what was not removed, unknown all else in the field of view
    estimate : whether the fields are also moved to agree with the skin beside the region
    shares : whether to compute `DefacedHead.left_open`; training has no use for it

    Raises
    ------
    NothingRemovedError
        When no tissue is missing.
    """
    fields = linear_fields(prior, seen.at(FIELD_SPACING))
    level = _narrowed(seen, fields.skin < 0)
    if estimate == "linear":
        return DefacedHead(level, linear_fields(prior, level.at(FIELD_SPACING)))
    # The skin of the head completed by the image of the linear fields: neither the surface of the cut nor the air
    # spaces that it opened are then taken for skin.
    skin = skin_field(near_skin_distance(completed(level, fields), level.spacing, FIELD_SPACING))
    return DefacedHead(level, *kriged_fields(prior, level.at(FIELD_SPACING), skin, shares=shares))


def _narrowed(seen: Level, expected: np.ndarray) -> Level:
    """The region to paint alone is unknown; `expected` is (i, j, k) bool, inside the head, on the prior's grid."""
    view = seen.known | seen.unknown
    finer = np.kron(expected, np.ones((FIELD_SPACING // seen.spacing,) * 3, bool))
    paint = paint_region(~seen.known, view, finer, seen.spacing)
    values = np.where(seen.known, seen.values, MODEL_AIR).astype(np.float32)
    return replace(seen, values=values, known=view & ~paint, unknown=paint)
