"""Assess phenotypes on facial voxels in memory, with the functions of the group level; prints a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bids_refacer.muscle.assessment import PERMUTATIONS, Assessment, assess, difference_p, permute
from bids_refacer.muscle.models import MODELS, Linear, linear_kernel
from bids_refacer.muscle.validation import draw_folds
from bids_refacer.statistics.correlation import compare_dependent
from bids_refacer.statistics.paired import holm
from bids_refacer.volumes.facial_voxels import roi


def kernels(voxels: Mapping[str, np.ndarray], region: str) -> dict[str, np.ndarray]:
    """Type of image -> inner products of its voxels, from (n, v) uint8 voxels; the original is the key "original"."""
    return {kind: linear_kernel(rows[:, roi(region)]) for kind, rows in voxels.items()}


def assess_all(
    found: Mapping[str, np.ndarray], target: np.ndarray, design: np.ndarray, model: str, *,
    seed: int = 0, permutations: int = PERMUTATIONS,
) -> dict[str, Assessment]:  # fmt: skip
    """Type of image -> what is predicted from its `kernels`."""
    permuted, folds = permute(design, target, seed, permutations), draw_folds(len(target), seed)
    return {
        kind: assess(Linear(kernel, MODELS[model]), design, target, permuted, folds, seed=seed)
        for kind, kernel in found.items()
    }


def comparisons(found: Mapping[str, Assessment]) -> dict[str, float]:
    """Type of image -> p of the original against it, the larger of both tests, Holm over the types."""
    original = found["original"]
    others = [kind for kind in found if kind != "original"]
    p_values = []
    for kind in others:
        other = found[kind]
        paired = compare_dependent(original.observed, original.predicted, other.predicted, seed=0)
        p_values.append(max(paired.p_value, difference_p(original, other, original.rho.estimate - other.rho.estimate)))
    return dict(zip(others, holm(np.array(p_values)), strict=True))


def print_rows(found: Mapping[str, Assessment], unit: str) -> None:
    """One line for each type of image."""
    against = comparisons(found)
    for kind, one in found.items():
        rho = one.rho
        p_difference = f"{against[kind]:.3f}" if kind in against else "-"
        print(
            f"| {kind} | {len(one.observed)} | {rho.estimate:.2f} ({rho.low:.2f} to {rho.high:.2f}) | "
            f"{one.permutation_p:.3f} | {one.r2:.2f} | {one.mae:.1f} {unit} | {p_difference} |",
            flush=True,
        )
