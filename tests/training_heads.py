"""Heads, a prior and tiny stages to train on in tests."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from tiny_models import prior_around

from bids_refacer.diffusion.cascade import COARSE, FINE
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.training.data.heads import FIELD_SPACING, SPACING, Head, make_head
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume, pool
from bids_refacer.volumes.templates import asset

SHAPE = CANONICAL[SPACING].shape
FIELD_SHAPE = CANONICAL[FIELD_SPACING].shape
TINY = {"channels": (8, 16), "blocks": 1, "embedding": 16, "attention": False}
TINY_COARSE = replace(COARSE, network=replace(COARSE.network, **TINY))
TINY_FINE = replace(FINE, network=replace(FINE.network, **TINY))


@cache
def average_heads() -> list[Head]:
    """The average head, and the same 4 % narrower with a field of view that ends above the neck."""
    values, affine = asset("average_head.nii.gz").values, asset("average_head.nii.gz").affine
    brain = asset("average_brain_mask.nii.gz").values > 0
    first = make_head("avg", Volume(values.astype(np.float32), affine), brain, Alignment(np.eye(4), np.eye(4)))
    narrow = np.diag([0.96, 1, 1, 1]) @ affine
    second = make_head(
        "narrow", Volume(values[:, :, 20:].astype(np.float32), _cut(narrow, 20)), brain[:, :, 20:], first.alignment
    )
    return [first, second]


def _cut(affine: np.ndarray, slices: int) -> np.ndarray:
    moved = affine.copy()
    moved[:3, 3] += slices * affine[:3, 2]
    return moved


@cache
def small_prior() -> LinearPrior:
    """Two modes around the average head."""
    head = average_heads()[0]
    return prior_around(pool(head.values, head.seen)[0])
