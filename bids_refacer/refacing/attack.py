"""Defaced volume in, refaced volumes out: linear estimate, coarse stage, fine stage, composition in the native grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bids_refacer.refacing.average import average_in_native
from bids_refacer.refacing.canonical import Canonical, canonical_head
from bids_refacer.refacing.compose import compose
from bids_refacer.refacing.sampling import SamplingSettings, mean_sample, sample_cascade
from bids_refacer.refacing.typical import measures, unusual
from bids_refacer.refacing.unknown import unknown_region
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.volumes.grid import Alignment, Grid
from bids_refacer.volumes.intensity import brain_scale, from_model, to_model
from bids_refacer.volumes.nifti import Scan

Progress = Callable[[int, int, int], None]
"""Called with (sample, step, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class Refaced:
    """What the attack made; all arrays on the native grid, of the on-disk dtype of the defaced image.

    samples, mean (of the samples: `mean_sample`), average (population-average face); unknown (bool); details (for JSON)
    """

    samples: list[np.ndarray]
    mean: np.ndarray
    average: np.ndarray
    unknown: np.ndarray
    details: dict


def reface(
    scan: Scan,
    brain: np.ndarray,
    alignment: Alignment,
    model: AttackModel,
    settings: SamplingSettings,
    *,
    seeds: tuple[int, ...],
    zone: bool,
    progress: Progress,
) -> Refaced:
    """Paint the face back.

    Everything is computed from the defaced image: the original is not an argument.

    Parameters
    ----------
    scan : the defaced image
    brain : (i, j, k) bool, extracted from the defaced image
    alignment : of the defaced image
    seeds : one per sample; where one occurs for the second time, the sample is the other side of the first
        (`sample_cascade`, mirrored)
    zone : whether the tool replaced the face (then a public zone is unknown) instead of removing it

    Raises
    ------
    NothingRemovedError
        When no tissue is missing.
    """
    values, scale = scan.values, brain_scale(scan.values, brain)
    unknown = unknown_region(scan.stored, scan.affine, brain, alignment, zone=zone)
    head = to_canonical(values, scan.affine, unknown, scale, alignment, model)
    settings = replace(settings, alone=len(seeds) == 1)
    native = Grid(scan.stored.shape, scan.affine)
    target = unknown & (alignment.to_native(head.unknown.astype(np.float32), model.finest, native) > 0.5)

    def in_native(volume: np.ndarray) -> np.ndarray:
        painted = from_model(alignment.to_native(volume, model.finest, native, order=3, cval=-1.0), scale)
        return compose(scan, painted, target, ~unknown)

    drawn = []
    for number, seed in enumerate(seeds):
        mirrored = seeds[:number].count(seed) % 2 == 1
        drawn.append(sample_cascade(model, head, seed, settings, partial(progress, number), mirrored=mirrored))
    samples = [in_native(sample.volume) for sample in drawn]
    mean = samples[0] if len(seeds) == 1 else in_native(mean_sample(model, head, drawn, seeds[0], settings))
    typical = measures(head, alignment, model.prior, model.finest, model.coarsest)
    warnings = unusual(typical, model.ranges)
    average = compose(scan, average_in_native(native, alignment, scale), target, ~unknown)
    return Refaced(
        samples=samples,
        mean=mean,
        average=average,
        unknown=target,
        details={
            "BrainMedian": scale,
            "RegistrationScales": alignment.scales.round(4).tolist(),
            "UnknownVolume_ml": float(target.sum() * abs(np.linalg.det(scan.affine[:3, :3])) / 1000),
            "Measures": {name: round(value, 4) for name, value in typical.items()},
            **({"Warnings": warnings} if warnings else {}),
        },
    )


def to_canonical(
    values: np.ndarray,
    affine: np.ndarray,
    unknown: np.ndarray,
    scale: float,
    alignment: Alignment,
    model: AttackModel,
) -> Canonical:
    """The defaced head in the canonical frame, and the region to paint there; far constant voxels become known air."""
    spacing = model.finest
    seen = alignment.to_canonical(np.ones(values.shape, np.float32), affine, spacing) > 0.99
    known = seen & (alignment.to_canonical((~unknown).astype(np.float32), affine, spacing) > 0.99)
    canonical = alignment.to_canonical(to_model(values, scale), affine, spacing, cval=-1.0)
    return canonical_head(
        canonical, known, seen, model.prior, spacing=spacing, coarsest=model.coarsest, anchored=model.anchored
    )
