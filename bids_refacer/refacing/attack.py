"""Defaced volume in, refaced volumes out: estimate, coarse stage, fine stage, composition in the native grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from nibabel.affines import apply_affine

from bids_refacer.refacing.compose import average_in_native, find_opening
from bids_refacer.refacing.defaced_head import DefacedHead, estimated_head
from bids_refacer.refacing.drawing.head import HeadDrawing
from bids_refacer.refacing.drawing.template import face_template
from bids_refacer.refacing.range_check import UNLIKE_TRAINING, measures, unusual
from bids_refacer.refacing.sampling import Cascade, Sample, SampleSeed, SamplingSettings
from bids_refacer.refacing.unknown import Level, unknown_region
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.grid import CANONICAL, Alignment, Grid, Volume, bounding_box
from bids_refacer.volumes.intensity import MODEL_AIR, brain_scale, from_model, to_model
from bids_refacer.volumes.masks import voxel_volume
from bids_refacer.volumes.scan import Scan

Progress = Callable[[int, int, int], None]
"""Called with (sample, step, steps in all)."""


@dataclass(frozen=True)
class DefacedImage:
    """All that an attacker has of an image; the original is not part of it.

    Attributes
    ----------
    scan : the defaced image
    brain : (i, j, k) bool, extracted from the defaced image
    alignment : of the defaced image
    """

    scan: Scan
    brain: np.ndarray
    alignment: Alignment

    @property
    def native(self) -> Grid:
        """The voxels of the image."""
        return self.scan.grid


@dataclass(frozen=True, kw_only=True)
class Refaced:
    """What the attack made; all arrays on the native grid.

    Attributes
    ----------
    samples : (i, j, k) arrays of the on-disk dtype of the defaced image
    mean : the same, of the mean of the samples (`Cascade.mean`)
    average : the same, with the population-average face
    unknown : (i, j, k) bool, what was painted
    details : plain types, for JSON
    """

    samples: list[np.ndarray]
    mean: np.ndarray
    average: np.ndarray
    unknown: np.ndarray
    details: dict[str, Any]


def reface(
    image: DefacedImage,
    model: AttackModel,
    settings: SamplingSettings,
    *,
    seeds: Sequence[SampleSeed],
    zone: bool,
    progress: Progress,
) -> Refaced:
    """Paint the face back.

    Parameters
    ----------
    seeds : one per sample
    zone : whether the tool replaced the face (then a public zone is unknown) instead of removing it

    Raises
    ------
    NothingRemovedError
        When no tissue is missing.
    """
    scale = brain_scale(image.scan.values, image.brain)
    unknown = unknown_region(image.scan, image.brain, image.alignment, zone=zone)
    head = canonical_head(image, unknown, scale, model)
    cascade = Cascade(model, replace(settings, alone=len(seeds) == 1))
    target = _target(image, unknown, head.unknown, model.finest)
    opening = find_opening(image.scan, target, ~unknown)
    drawing = HeadDrawing(face_template(), head, target, image.native, image.alignment)

    def composed(sample: Sample) -> np.ndarray:
        if cascade.paints:
            values = native_intensities(image, sample.volume, model.finest, scale, opening.around)
        else:
            values = drawing.of(sample.fields) * np.float32(scale)
        return opening.filled(values)

    drawn = [cascade.sample(head, seed, partial(progress, number)) for number, seed in enumerate(seeds)]
    samples = [composed(sample) for sample in drawn]
    mean = samples[0] if len(drawn) == 1 else composed(cascade.mean(head, drawn, SampleSeed(seeds[0].seed)))
    if cascade.paints:
        average = average_in_native(image.native, image.alignment, scale, opening.around)
    else:
        average = drawing.average() * np.float32(scale)
    return Refaced(
        samples=samples,
        mean=mean,
        average=opening.filled(average),
        unknown=target,
        details={
            "BrainMedian": scale,
            "RegistrationScales": image.alignment.scales.round(4).tolist(),
            "UnknownVolume_ml": float(target.sum() * voxel_volume(image.scan.affine) / 1000),
            **_judged(head, image.alignment, model),
        },
    )


def canonical_head(image: DefacedImage, unknown: np.ndarray, scale: float, model: AttackModel) -> DefacedHead:
    """The defaced head in the canonical frame, and the region to paint there.

    Parameters
    ----------
    unknown : (i, j, k) bool, on the native grid
    scale : median of the brain, native intensities
    """
    scan, spacing = image.scan, model.finest

    def moved(volume: np.ndarray, cval: float = 0.0) -> np.ndarray:
        return image.alignment.to_canonical(Volume(volume, scan.affine), spacing, cval=cval)

    seen = moved(np.ones(unknown.shape, np.float32)) > 0.99
    known = seen & (moved((~unknown).astype(np.float32)) > 0.99)
    values = moved(to_model(scan.values, scale), cval=MODEL_AIR)
    return estimated_head(Level(values, known, seen & ~known, spacing), model.prior, model.estimate)


def _target(image: DefacedImage, unknown: np.ndarray, region: np.ndarray, spacing: int) -> np.ndarray:
    """(i, j, k) bool, the unknown voxels of the image in a region: bool on the canonical grid of `spacing` mm."""
    to_voxel = np.linalg.inv(image.native.affine) @ np.linalg.inv(image.alignment.rigid) @ CANONICAL[spacing].affine
    sides = [(part.start, part.stop - 1) for part in bounding_box(region, 1)]
    corners = apply_affine(to_voxel, np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 3))
    low, high = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
    box = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    near = np.zeros_like(unknown)
    near[box] = unknown[box]
    inside = image.alignment.to_native(region.astype(np.float32), spacing, image.native, where=near)
    return np.asarray(near & (inside > 0.5))


def native_intensities(
    image: DefacedImage, volume: np.ndarray, spacing: int, scale: float, where: np.ndarray | None = None
) -> np.ndarray:
    """A painted head in the native image; by cubic interpolation, as linear would blur the face.

    Parameters
    ----------
    volume : float model intensities on the canonical grid of `spacing` mm
    scale : median of the brain, native intensities
    where : (i, j, k) bool, the voxels that are wanted; all when omitted. What is elsewhere means nothing then

    Returns
    -------
    (i, j, k) float32, native intensities
    """
    moved = image.alignment.to_native(volume, spacing, image.native, order=3, cval=MODEL_AIR, where=where)
    return from_model(moved, scale)


def _judged(head: DefacedHead, alignment: Alignment, model: AttackModel) -> dict[str, Any]:
    """Whether the head is like those of training, for the details."""
    measured = measures(head, alignment, model.prior)
    outside = unusual(measured, model.ranges)
    rounded = {name: round(value, 4) for name, value in measured.items()}
    return {"Measures": rounded, **({"Warnings": [UNLIKE_TRAINING], "OutsideTraining": outside} if outside else {})}
