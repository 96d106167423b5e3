"""Which tools remove the same: `python -m benchmarks.same_cut WORK_DIR IMAGE ...`, after `benchmarks.defacers`.

For each pair of tools, over heads: Dice of the facial skin that was removed (what the app compares:
`surfaces.skin_left`) and of all voxels of the head that were removed; mean, and the smallest.
WORK_DIR is that of `benchmarks.defacers`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.attack import prepare
from benchmarks.defacers import TOOLS
from bids_refacer.surfaces.score import original_skin, true_face
from bids_refacer.surfaces.skin_left import Defacing, skin_left
from bids_refacer.volumes.masks import head_mask
from bids_refacer.volumes.nifti import read_scan

Pair = tuple[str, str]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Of two (n,) bool; NaN where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def overlaps(image: Path, folder: Path, tools: list[str]) -> dict[Pair, tuple[float, float]]:
    """Dice of removed facial skin and of removed head voxels, of each pair of tools that did this head."""
    scan = read_scan(image)
    _, alignment = prepare(scan, folder)
    skin, head = original_skin(scan.volume), head_mask(scan.volume)
    face = true_face(skin, scan.grid, alignment).surface.where
    removed: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for tool in tools:
        if (folder / tool / "mask.nii.gz").is_file():
            mask = read_scan(folder / tool / "mask.nii.gz").stored > 0
            defacing = Defacing(scan.volume, read_scan(folder / tool / "defaced.nii.gz").values, mask)
            removed[tool] = ~skin_left(skin, defacing, face), mask & head
    return {
        pair: (dice(removed[pair[0]][0], removed[pair[1]][0]), dice(removed[pair[0]][1], removed[pair[1]][1]))
        for pair in combinations(removed, 2)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    options = parser.parse_args()
    found: dict[Pair, list[tuple[float, float]]] = defaultdict(list)
    for image in options.images:
        for pair, values in overlaps(image, options.work_dir / image.name.split("_")[0], options.tools).items():
            found[pair].append(values)
    print("| tools | heads | Dice of removed facial skin (smallest) | Dice of removed head voxels (smallest) |")
    print("|---|---|---|---|")
    for pair, values in sorted(found.items(), key=lambda item: -np.mean([value[0] for value in item[1]])):
        cells = [f"{np.mean(column):.3f} ({min(column):.3f})" for column in zip(*values, strict=True)]
        print(f"| {pair[0]}, {pair[1]} | {len(values)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
