"""Images that the audit did not judge: is a face in them, and does the mask of the audited image take it away?

The look is the audit's own: a rigid registration of heads, the skin of the image itself, the parts of the face that are
left of it. Series are looked at in their mean, and masked in every volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bids_refacer.audit.nodes.carry import carried, moved
from bids_refacer.audit.nodes.judge_carried import Findings
from bids_refacer.release.content.masks import mask_of
from bids_refacer.release.images.judged import Reference
from bids_refacer.surfaces.skin import Skin, SkinError, find_skin
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.surfaces.verdicts import face_left, grade, worst_part
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.masks import head_mask
from bids_refacer.volumes.nifti import read_scan, read_series
from bids_refacer.volumes.registration import RegistrationError, align_brain, align_heads, head_overlap
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.voxel_units import require_millimetres

NO_FACE = "Neither nose, eyes, mouth nor chin is in its field of view."


@dataclass(frozen=True)
class Seen:
    """What was seen in an image.

    Attributes
    ----------
    scan : as it is on disk, (i, j, k) or (i, j, k, n)
    removed : (i, j, k) bool, where the carried mask lies; None for an image that shows no face
    verdict : ``pass``, ``warn`` or ``fail``; None where nobody can say
    reason : a sentence for every other verdict than ``pass``, and for an image without a face
    """

    scan: Scan
    removed: np.ndarray | None
    verdict: str | None
    reason: str | None


def look(path: Path, reference: Reference, limits: tuple[float, float], tool: str) -> Seen:
    """Look for a face in an image, and at what a carried mask leaves of it.

    Parameters
    ----------
    path : of the image
    reference : an audited image of the same session
    limits : percent of a part of the face that may be left: more than the first warns, more than the second fails
    tool : whose mask is carried

    Raises
    ------
    ImageError
        When the image or the mask cannot be read.
    """
    scan = read_series(path)
    head = mean_of(scan)
    require_millimetres(head)
    fixed, brain = read_scan(reference.path), mask_of(reference.brain_mask)
    try:
        matrix = align_heads(head.volume, fixed.volume, brain)
        alignment = moved(align_brain(fixed.volume, brain), matrix)
        skin = find_skin(head.volume)
    except (RegistrationError, SkinError) as error:
        return Seen(scan, None, None, f"Not judged: {error}")
    nothing = np.zeros(head.stored.shape, dtype=bool)
    if worst_part(_left(head, nothing, alignment, skin))[1] is None:
        return Seen(scan, None, "pass", NO_FACE)
    removed = carried(str(reference.mask), head, matrix, continued=True)
    findings = _findings(head, fixed, reference, matrix, removed, _left(head, removed, alignment, skin))
    if sentence := findings.refusal(path.name, tool, limits[1]):
        return Seen(scan, removed, "fail", sentence)
    verdict = grade(worst_part(findings.face_left)[1], limits)
    return Seen(scan, removed, verdict, None if verdict == "pass" else "Facial skin is left, to look at.")


def mean_of(scan: Scan) -> Scan:
    """An image of one volume: itself, or the mean of a series."""
    if scan.stored.ndim == 3:
        return scan
    return replace(scan, stored=scan.stored.mean(axis=3, dtype=np.float32))


def masked(scan: Scan, removed: np.ndarray) -> np.ndarray:
    """Stored values with air in the place of what is removed, in every volume."""
    if scan.stored.ndim == 3:
        return np.where(removed, scan.fill, scan.stored).astype(scan.stored.dtype)
    fill = replace(scan, stored=scan.stored[..., 0]).fill
    return np.where(removed[..., None], fill, scan.stored).astype(scan.stored.dtype)


def _left(head: Scan, removed: np.ndarray, alignment: Alignment, skin: Skin) -> dict[str, float | None]:
    own = head.volume
    return face_left(Defacing(own, np.where(removed, 0, own.values), removed), alignment, skin)


def _findings(
    head: Scan,
    fixed: Scan,
    reference: Reference,
    matrix: np.ndarray,
    removed: np.ndarray,
    left: Mapping[str, float | None],
) -> Findings:
    """What shows that the mask was carried to the right place."""
    own = head_mask(head.volume)
    brain = carried(str(reference.brain_mask), head, matrix, continued=False)
    return Findings(
        head_overlap=head_overlap(head.volume, fixed.volume, matrix),
        brain_in_head=float((brain & own).sum() / max(int(brain.sum()), 1)) if brain.any() else 1.0,
        removed_of_head=int((removed & own).sum()),
        face_left=dict(left),
    )
