"""Two verdicts on a defaced image: is a face left, and was brain cut? From original, defaced image and brain mask.

Face left: the share of the true skin (area) whose tissue is still there, unchanged, within 2 mm under the skin. Pieces
that float in the air count as well, and what another face was painted over does not. Brain cut: what is no
longer there of the brain mask. Theyers et al. 2021 (doi:10.3389/fpsyt.2021.617997) judge by the same two questions, by
eye; brainprep flags images of which more than 5 % of the brain was removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from bids_refacer.surfaces.region import PARTS, in_part, inside_view, part_of, vertex_areas
from bids_refacer.surfaces.skin import Skin, find_skin
from bids_refacer.surfaces.skin_left import Defacing, skin_left
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.masks import voxel_volume

JUDGED = ("nose", "eyes", "mouth", "chin")
"""Parts that decide. Ears, cheeks and forehead are measured too, but most tools leave them by design."""

MEASURED = (*PARTS, "ears")
EARS_MM = ((60.0, 110.0), (-45.0, 10.0), (-85.0, -15.0))
"""Box of an ear in the canonical frame: distance from the midplane, y, z; seen on real heads."""

EYE_MM, EYE_RADII_MM = (30.0, -37.0), (17.0, 10.0)
"""Ellipse of an eye with its lids in the canonical frame: distance from the midplane, and z. The part of `region` is
wider: it has the brow and the temple, which tools that remove the eyes may leave."""

GRADES = ("pass", "warn", "fail")


@dataclass(frozen=True)
class LostBrain:
    """What was removed or replaced of a brain: volume, share, and volume of the largest connected piece."""

    ml: float
    percent: float
    hole_ml: float


@dataclass(frozen=True)
class Tissues:
    """Volume of a brain, and the contrast of its tissues: (bright - middle) / mean of both, of three classes.

    The contrast is None where a brain has hardly any two voxels of different intensity.
    """

    volume_ml: float
    contrast: float | None


def face_left(defacing: Defacing, alignment: Alignment, skin: Skin | None = None) -> dict[str, float | None]:
    """Percentage of the true skin that is still there, for each of ``MEASURED``; None where the original shows none.

    Parameters
    ----------
    defacing : the original, the defaced image, and what was removed
    alignment : of the original
    skin : of the original; found when omitted

    Raises
    ------
    SkinError
        When the original shows no skin.
    """
    skin = find_skin(defacing.original) if skin is None else skin
    mesh = skin.mesh
    points = np.asarray(mesh.vertices)
    parts, eyes, ears = part_of(points, alignment), *_on_eyes_and_ears(points, alignment)
    seen = inside_view(points, defacing.original.grid) & ((parts > 0) | ears)
    where = np.nonzero(seen)[0]
    areas = vertex_areas(mesh)[where]
    left = skin_left(skin, defacing, where)
    chosen = {part: in_part(parts[where], part) for part in PARTS}
    chosen |= {"eyes": eyes[where] & chosen["face"], "ears": ears[where]}
    return {part: _percent(float(areas[on & left].sum()), float(areas[on].sum())) for part, on in chosen.items()}


def brain_cut(brain: Volume, removed: np.ndarray) -> LostBrain:
    """What was removed or replaced of a brain.

    Parameters
    ----------
    brain : bool, of the original
    removed : (i, j, k) bool
    """
    lost = brain.values & removed
    ml = voxel_volume(brain.affine) / 1000
    labels, count = ndimage.label(lost)
    largest = int(np.bincount(labels.ravel())[1:].max()) if count else 0
    return LostBrain(
        ml=round(float(lost.sum() * ml), 3),
        percent=round(100.0 * int(lost.sum()) / max(int(brain.values.sum()), 1), 4),
        hole_ml=round(float(largest * ml), 3),
    )


def brain_measures(image: Volume, brain: np.ndarray) -> Tissues:
    """Volume of a brain, and the contrast of its tissues.

    Parameters
    ----------
    image : above air
    brain : (i, j, k) bool, extracted from the same image
    """
    inside = image.values[brain]
    volume = round(float(brain.sum() * voxel_volume(image.affine) / 1000), 2)
    if np.unique(inside[::7]).size < 8:
        return Tissues(volume, None)
    low, high = np.percentile(inside, (0.5, 99.5))
    lower, upper = threshold_multiotsu(np.clip(inside, low, high), classes=3)
    middle, bright = inside[(inside > lower) & (inside <= upper)].mean(), inside[inside > upper].mean()
    return Tissues(volume, round(float(2 * (bright - middle) / (bright + middle)), 4))


def worst_part(left: Mapping[str, float | None]) -> tuple[str | None, float | None]:
    """The judged part of which most is left, and how much; (None, None) when the original shows none of them."""
    shares = {part: share for part in JUDGED if (share := left.get(part)) is not None}
    worst = max(shares, key=lambda part: shares[part]) if shares else None
    return worst, shares[worst] if worst else None


def grade(figure: float | None, limits: Sequence[float]) -> str | None:
    """Pass up to the first limit, warn up to the second, fail above; None without a figure."""
    return None if figure is None else GRADES[sum(figure > limit for limit in limits)]


LimitPairs = Sequence[Sequence[float]]
"""A pair each for the percentage of a face part that is left, of the brain that is gone, and for its hole in mL.

What is above the first is warned of, what is above the second fails.
"""


def verdict_json(
    left: Mapping[str, float | None], brain_percent: float | None, hole_ml: float | None, limits: LimitPairs
) -> dict[str, object]:
    """Both verdicts with the limits that they hold by; null where nothing was measured."""
    face, brain, hole = limits
    return {
        "Face": grade(worst_part(left)[1], face),
        "Brain": worse(grade(brain_percent, brain), grade(hole_ml, hole)),
        "FaceLeftLimits": list(face),
        "BrainCutLimits": list(brain),
        "BrainHoleLimits": list(hole),
    }


def worse(*grades: str | None) -> str | None:
    """The worst of several grades; None when there is none."""
    given = [word for word in grades if word is not None]
    return max(given, key=GRADES.index) if given else None


def _on_eyes_and_ears(points: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool each; eyes only together with `region.part_of`, which knows front from back."""
    x, y, z = apply_affine(alignment.rigid, points).T
    within = [(low <= value) & (value <= high) for value, (low, high) in zip((np.abs(x), y, z), EARS_MM, strict=True)]
    aside, up = (np.abs(x) - EYE_MM[0]) / EYE_RADII_MM[0], (z - EYE_MM[1]) / EYE_RADII_MM[1]
    return aside**2 + up**2 <= 1, within[0] & within[1] & within[2]


def _percent(part: float, whole: float) -> float | None:
    return round(100.0 * part / whole, 2) if whole > 0 else None
