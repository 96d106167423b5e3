"""The template's displacement to a head: demons between the skin and the tissue of both.

Demons move every voxel along the slope of the head that is drawn, by as much as the template differs there (Thirion
1998, Med Image Anal 2:243). Steps are smoothed, and so is their sum: the map is smooth, and never folds (`unfolded`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_refacer.refacing.conditioning import doubled
from bids_refacer.refacing.defaced_head import DefacedHead, completed
from bids_refacer.refacing.drawing.displacement import finer, halved, sampled, smoothed, unfolded
from bids_refacer.refacing.drawing.template import Template
from bids_refacer.refacing.fields import SKIN_LIMIT, SKIN_UNIT_MM, Fields, skin_field
from bids_refacer.refacing.prior import FIELD_SPACING
from bids_refacer.surfaces.skin_distance import skin_distance_at
from bids_refacer.volumes.smoothing import masked_mean

MARGIN_MM = 20.0
"""The template is fitted to the head as far as this around the unknown region."""
WEIGHTS = np.array([1.0, 6.0], np.float32)
"""Of the squared differences of intensity (0 to 1) and of the skin field (units of 16 mm)."""
SCHEDULE = ((6, 4, 2.0), (8, 4, 1.4), (6, 2, 1.4))
"""(steps, spacing of the images in mm, smoothing of a step in voxels of the field)."""
ELASTIC, EVERY = 0.8, 4
"""Smoothing of the whole displacement, in voxels of the field, once in so many steps."""
STEP_MM = 3.0
_BAND = 0.85  # of the reach of the skin field: voxels farther from the skin than this have no part in the fit
RING_MM, MOST_STEP_MM = 8.0, 8.0
FADE_MM, AVERAGE_FADE_MM = 12.0, 4.0
"""A step at the cut fades with the depth below it. The average face must not learn more from the cut than that it is no
ridge: its distance hardly changes (docs/model-card.md)."""
CARRY_MM = 5.0


@dataclass(frozen=True)
class Target:
    """What the template is fitted to.

    Attributes
    ----------
    image : (96, 128, 128) float32, 0 to 1, the completed head
    skin : (48, 64, 64) float32, `skin` field of the completed head
    near : (48, 64, 64) bool, where both are known and wanted
    """

    image: np.ndarray
    skin: np.ndarray
    near: np.ndarray

    def at(self, spacing: int) -> tuple[np.ndarray, np.ndarray]:
        """(2, i, j, k) float32 channels on the grid of 2 or 4 mm, and the voxels that count."""
        if spacing == FIELD_SPACING:
            channels = np.stack([halved(self.image), self.skin / SKIN_LIMIT])
            return channels.astype(np.float32), self.near & (np.abs(channels[1]) < _BAND)
        channels = np.stack([self.image, doubled(self.skin) / SKIN_LIMIT]).astype(np.float32)
        return channels, np.kron(self.near, np.ones((2, 2, 2), bool)) & (np.abs(channels[1]) < _BAND)


def target_of(head: DefacedHead, fields: Fields) -> Target:
    """The head completed by fields, as far as it has to be drawn.

    Raises
    ------
    SkinError
        When the completed image shows no head.
    """
    unknown = head.level.at(FIELD_SPACING).unknown
    image = completed(head.level, fields)
    near = ndimage.distance_transform_edt(~unknown, sampling=FIELD_SPACING) <= MARGIN_MM
    near &= np.abs(fields.skin) < SKIN_LIMIT
    measured = skin_distance_at(image, head.level.spacing, near, FIELD_SPACING)
    return Target(image / 255, np.where(near, skin_field(measured), fields.skin), near)


def fitted(template: Template, target: Target) -> np.ndarray:
    """(3, 48, 64, 64) float32 mm: what is drawn at y lies at y + u(y) in the template."""
    moved = np.zeros((3, *target.skin.shape), np.float32)
    for steps, spacing, width in SCHEDULE:
        fixed, where = target.at(spacing)
        moving = np.stack([template.images[spacing], template.skins[spacing] / SKIN_LIMIT])
        force = _Force(fixed, moving, where, spacing)
        for step in range(steps):
            moved = moved + smoothed(force(moved), width)
            if step % EVERY == EVERY - 1 or step == steps - 1:
                moved = smoothed(moved, ELASTIC)
    return unfolded(moved)


class _Force:
    """Where the voxels of a mask want to move, for channels (2, i, j, k) of the head and of the template."""

    def __init__(self, fixed: np.ndarray, moving: np.ndarray, mask: np.ndarray, spacing: int) -> None:
        self.mask, self.spacing, self.moving = mask, spacing, moving
        self.places = np.stack(np.nonzero(mask)).astype(np.float32)
        self.fixed = fixed[:, mask]
        self.slopes = np.stack([np.stack(np.gradient(channel, spacing))[:, mask] for channel in fixed])
        self.steepness = np.einsum("cdn,c->n", self.slopes**2, WEIGHTS) + np.float32(1e-6)

    def __call__(self, displacement: np.ndarray) -> np.ndarray:
        """(3, 48, 64, 64) mm: the step that each voxel asks for at a displacement."""
        fine = displacement if self.spacing == FIELD_SPACING else finer(displacement)
        found = sampled(self.moving, self.places + fine[:, self.mask] / self.spacing)
        difference = self.fixed - found
        strength = self.steepness + WEIGHTS @ difference**2 / STEP_MM**2
        step = np.zeros(fine.shape, np.float32)
        step[:, self.mask] = np.einsum("cn,cdn,c->dn", difference, self.slopes, WEIGHTS) / strength
        return step if self.spacing == FIELD_SPACING else halved(step)


def met(
    displacement: np.ndarray, template: Template, target: Target, head: DefacedHead, fade_mm: float = FADE_MM
) -> np.ndarray:
    """A displacement whose skin meets the known skin at the cut: what is wrong there is carried inwards and fades.

    Parameters
    ----------
    displacement : (3, 48, 64, 64) mm; zero for a template that is only moved with the head
    fade_mm : depth below the cut at which 1/e of a step is left

    Returns
    -------
    (3, 48, 64, 64) float32 mm
    """
    level = head.level.at(FIELD_SPACING)
    depth = ndimage.distance_transform_edt(level.unknown, sampling=FIELD_SPACING)
    reach = ndimage.distance_transform_edt(~level.unknown, sampling=FIELD_SPACING)
    ring = level.known & target.near & (reach <= RING_MM) & (np.abs(target.skin) * SKIN_UNIT_MM < RING_MM)
    if not ring.any():
        return displacement.astype(np.float32)
    normal = np.stack(np.gradient(target.skin))
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-3)
    fade = np.exp(-((depth / fade_mm) ** 2)) * (reach <= RING_MM)
    for _ in range(2):
        places = np.indices(ring.shape).reshape(3, -1) + displacement.reshape(3, -1) / FIELD_SPACING
        found = sampled(template.fields.skin[None], places).reshape(ring.shape)
        gap = np.clip((target.skin - found) * SKIN_UNIT_MM, -MOST_STEP_MM, MOST_STEP_MM).astype(np.float32)
        carried, _ = masked_mean(gap * ring, ring.astype(np.float32), CARRY_MM / FIELD_SPACING, 1e-3)
        displacement = displacement + carried * fade * normal
    return unfolded(displacement)
