"""How often are two images called different that tell as much? `python -m benchmarks.equal_images [N [DATASETS]]`.

The worst case for tests that take predictions as given: both images show the same differences between N participants
(80), and muscle equally well, but each has noise of its own. In each of DATASETS (40), four targets of each strength
are predicted from both by ridge regression as at the group level; printed is the share with p <= 0.05 of Meng's test,
of the permutation test of the difference, and of the larger p, which is the group level's.
"""

from __future__ import annotations

import argparse

import numpy as np

from bids_refacer.phenotypes.cross_validation import cross_validate, draw_folds
from bids_refacer.phenotypes.models import Linear, linear_kernel, ridge_path
from bids_refacer.statistics.correlation import meng, spearman

STRENGTHS = (0.0, 0.5, 0.8)
"""Correlation of a target with muscle."""
TARGETS, PERMUTATIONS, VOXELS, SHOWING = 4, 99, 200, 60
LEVEL = 0.05


def p_values(count: int, strength: float, rng: np.random.Generator, seed: int) -> tuple[np.ndarray, float]:
    """(TARGETS, 2) p of Meng's test and of the permuted difference, for one dataset; and the mean rho."""
    muscle = rng.normal(size=count)
    shared = rng.normal(size=(count, 8)) @ rng.normal(size=(8, VOXELS))
    shared[:, :SHOWING] += 0.7 * muscle[:, None]
    target = strength * muscle[:, None] + np.sqrt(1 - strength**2) * rng.normal(size=(count, TARGETS))
    permuted = rng.permuted(np.repeat(rng.normal(size=(count, 1)), PERMUTATIONS, axis=1), axis=0)
    folds, columns = draw_folds(count, seed), np.column_stack([target, permuted])
    pairs = []
    for _ in range(2):
        kernel = linear_kernel(shared + rng.normal(0, 1.5, shared.shape))
        pairs.append(cross_validate(Linear(kernel, ridge_path), np.ones((count, 1)), columns, folds))
    rho = np.stack([spearman(*pair) for pair in pairs])
    between = spearman(pairs[0][1], pairs[1][1])
    change = rho[0] - rho[1]
    null = np.abs(change[TARGETS:] - change[TARGETS:].mean())
    reached = (null[None] >= np.abs(change[:TARGETS] - change[TARGETS:].mean())[:, None]).sum(axis=1)
    paired = [meng(rho[0, t], rho[1, t], between[t], count)[1] for t in range(TARGETS)]
    return np.column_stack([paired, (1 + reached) / (1 + PERMUTATIONS)]), float(rho[:, :TARGETS].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("participants", type=int, nargs="?", default=80, metavar="N")
    parser.add_argument("datasets", type=int, nargs="?", default=40, metavar="DATASETS")
    options = parser.parse_args()
    compare(options.participants, options.datasets)


def compare(count: int, datasets: int) -> None:
    for strength in STRENGTHS:
        rng = np.random.default_rng([3, int(100 * strength)])
        found = [p_values(count, strength, rng, seed) for seed in range(datasets)]
        p = np.concatenate([values for values, _ in found])
        shares = [(values <= LEVEL).mean() for values in (p[:, 0], p[:, 1], p.max(axis=1))]
        print(
            f"{count} participants, mean rho {np.mean([rho for _, rho in found]):.2f}, {len(p)} pairs, p <= {LEVEL}: "
            f"Meng {shares[0]:.3f}, permutation {shares[1]:.3f}, the larger p {shares[2]:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
