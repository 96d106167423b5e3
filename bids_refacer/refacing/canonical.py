"""A defaced head in the canonical frame, as the networks are given it: by an attack and by training alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from bids_refacer.refacing.conditioning import anchored_fields, image_of, linear_fields, pyramid
from bids_refacer.refacing.fields import skin_field
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.unknown import paint_region
from bids_refacer.surfaces.canonical import near_skin_distance

_GREY = 127.5  # model intensities -1..1 as 0..255, the scale of the training cache


@dataclass(frozen=True)
class Canonical:
    """A defaced head on a canonical grid, all (i, j, k).

    values : float32 model intensities, used where known; -1 where removed
    known, unknown : bool, both False outside the field of view; `unknown` is to be painted
    fields : (1, 2, i, j, k) `linear_fields` or `anchored_fields`, over which the first stage draws a residual
    left_open : (1, 2, i, j, k) share of the fields' variance that the skin beside the region leaves open; None: all
    """

    values: np.ndarray
    known: np.ndarray
    unknown: np.ndarray
    fields: Tensor
    left_open: Tensor | None = None


def completed(values: np.ndarray, unknown: np.ndarray, fields: Tensor, spacing: int, coarsest: int) -> np.ndarray:
    """(i, j, k) float32, 0 to 255: model intensities with the image of fields where voxels are unknown."""
    image = image_of(fields, coarsest, spacing)[0, 0].numpy()
    return (np.where(unknown, image, values).clip(-1, 1) + 1) * _GREY


def canonical_head(
    values: np.ndarray,
    known: np.ndarray,
    seen: np.ndarray,
    prior: LinearPrior,
    *,
    spacing: int,
    coarsest: int,
    anchored: bool,
    shares: bool = True,
) -> Canonical:
    """The region to paint and the linear estimate of it; far removed voxels become known air.

    The region lies near tissue that is expected and missing. Expected by the linear estimate, never by the truth: a
    region that follows the true skin at a distance tells where it lies, and a network would learn to read that.

    Parameters
    ----------
    values : (i, j, k) float32 model intensities on the canonical grid of `spacing` mm, used where `known`
    known, seen : (i, j, k) bool, what was not removed, and what is inside the field of view
    coarsest : mm, of the grid of the fields
    anchored : whether the estimate is moved to agree with the skin beside the region
    shares : whether `Canonical.left_open` is asked for; training has no use for it

    Raises
    ------
    NothingRemovedError
        When no tissue is missing.
    """
    coarse = pyramid(values, known, seen & ~known, spacing, coarsest)[coarsest]
    fields = linear_fields(prior, coarse)
    expected = fields[0, 0].numpy() < 0
    paint = paint_region(~known, seen, np.kron(expected, np.ones((coarsest // spacing,) * 3, bool)), spacing)
    image = np.where(known, values, -1).astype(np.float32)
    level = pyramid(image, seen & ~paint, paint, spacing, coarsest)[coarsest]
    if not anchored:
        return Canonical(image, seen & ~paint, paint, linear_fields(prior, level))
    # the skin of the head completed by the image of the linear fields: so that the surface of the cut, and the air
    # spaces which it opened, are not taken for skin
    skin = skin_field(near_skin_distance(completed(image, paint, fields, spacing, coarsest), spacing, coarsest))
    return Canonical(image, seen & ~paint, paint, *anchored_fields(prior, level, skin, shares=shares))
