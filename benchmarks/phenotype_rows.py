"""Assess phenotypes on facial voxels in memory, with the functions of the group level; prints a table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bids_refacer.phenotypes.assessment import PERMUTATIONS, Assessment, assess, difference_p, permute
from bids_refacer.phenotypes.cross_validation import draw_folds
from bids_refacer.phenotypes.models import MODELS, Linear, linear_kernel
from bids_refacer.phenotypes.network import Network
from bids_refacer.phenotypes.voxels import roi, to_lattice
from bids_refacer.statistics.correlation import compare_dependent
from bids_refacer.statistics.paired import Interval, holm


def kernels(voxels: Mapping[str, np.ndarray], region: str) -> dict[str, np.ndarray]:
    """Type of image -> inner products of its voxels, from (n, v) uint8 voxels; the original is the key "original"."""
    return {kind: linear_kernel(rows[:, roi(region)]) for kind, rows in voxels.items()}


def assess_all(
    found: Mapping[str, np.ndarray],
    target: np.ndarray,
    design: np.ndarray,
    model: str,
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> dict[str, Assessment]:
    """Type of image -> what is predicted from its `kernels`."""
    permuted, folds = permute(design, target, seed, permutations), draw_folds(len(target), seed)
    return {
        kind: assess(Linear(kernel, MODELS[model]), design, target, permuted, folds, seed=seed)
        for kind, kernel in found.items()
    }


@dataclass(frozen=True)
class Difference:
    """Original minus another image: rho with its paired bootstrap interval, and three p values, Holm over the images.

    `p` is the one of the group level: the larger of Meng's test and the permutation test, before Holm.
    """

    rho: Interval
    p_meng: float
    p_permutation: float
    p: float


def comparisons(found: Mapping[str, Assessment]) -> dict[str, Difference]:
    """Type of image -> the original against it."""
    original = found["original"]
    others = [kind for kind in found if kind != "original"]
    tests = [compare_dependent(original.observed, original.predicted, found[kind].predicted, seed=0) for kind in others]
    paired = np.array([test.p_value for test in tests])
    permuted = np.array(
        [difference_p(original, found[k], t.difference.estimate) for k, t in zip(others, tests, strict=True)]
    )
    columns = zip(*map(holm, (paired, permuted, np.maximum(paired, permuted))), strict=True)
    rows = [Difference(test.difference, *map(float, column)) for test, column in zip(tests, columns, strict=True)]
    return dict(zip(others, rows, strict=True))


def print_rows(found: Mapping[str, Assessment], unit: str) -> None:
    """A line for each image: n, rho (bootstrap interval; calibrated), p, R2, error; what is lost, with p (Holm)."""
    against = comparisons(found)
    for kind, one in found.items():
        rho, wide = one.rho, one.calibrated
        lost = "- | - | - | -"
        if kind in against:
            that = against[kind]
            lost = f"{that.rho.estimate:.2f} ({that.rho.low:.2f} to {that.rho.high:.2f}) | {that.p_meng:.3f} | "
            lost += f"{that.p_permutation:.3f} | {that.p:.3f}"
        print(
            f"| {kind} | {len(one.observed)} | {rho.estimate:.2f} ({rho.low:.2f} to {rho.high:.2f}; "
            f"{wide.low:.2f} to {wide.high:.2f}) | {one.permutation_p:.3f} | {one.r2:.2f} | {one.mae:.1f} {unit} | "
            f"{lost} |",
            flush=True,
        )


def print_network(
    voxels: np.ndarray, kernel: np.ndarray, region: str, target: np.ndarray, design: np.ndarray, *, seed: int = 0
) -> None:
    """The network beside ridge regression, in the same folds (one cross-validation, without permutations).

    Parameters
    ----------
    voxels : (n, v) uint8, of one type of image
    kernel : (n, n) float, of `kernels` for it and the region
    region : of `facial_voxels.ROIS`
    target : (n,) float
    design : (n, c) float, covariates with a column of ones
    """
    folds, permuted = draw_folds(len(target), seed).once(), permute(design, target, seed, 1)
    began = time.process_time()
    linear = assess(Linear(kernel, MODELS["ridge"]), design, target, permuted, folds, seed=seed)
    found = assess(Network(to_lattice(voxels, region), seed), design, target, permuted, folds, seed=seed)
    test = compare_dependent(found.observed, found.predicted, linear.predicted, seed=seed)
    print(
        f"{region}, network: rho {found.rho.estimate:.2f}, R2 {found.r2:.2f}, MAE {found.mae:.1f}; ridge in the same "
        f"folds {linear.rho.estimate:.2f}, {linear.r2:.2f}, {linear.mae:.1f}; difference of rho "
        f"{test.difference.estimate:+.2f} ({test.difference.low:.2f} to {test.difference.high:.2f}), Meng's p "
        f"{test.p_value:.3f}; {time.process_time() - began:.0f} s CPU",
        flush=True,
    )
