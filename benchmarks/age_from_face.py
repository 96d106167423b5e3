"""Age from facial voxels of real heads: `python -m benchmarks.age_from_face CACHE PARTICIPANTS WORK`.

CACHE is the cache of `bids_refacer train BIDS_DIR OUT --prepare-only --keep-cut-faces --max-dental-void-cm2 99`
(OUT/cache; so that nobody is left out): heads on the canonical 2 mm grid with their brain masks and alignments, where
the tools' regions are removed (`canonical_voxels`). WORK keeps facial voxels, which show the faces: not for sharing; a
run that is stopped goes on. Sex is regressed out. The table of docs/phenotype.md is what is printed.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from benchmarks.canonical_voxels import TOOLS, save_voxels, voxels_of
from benchmarks.phenotype_rows import assess_all, kernels, print_network, print_rows
from bids_refacer.phenotypes.models import MODELS
from bids_refacer.phenotypes.voxels import ROIS
from bids_refacer.training.data.heads import load_head
from bids_refacer.volumes.intensity import CLIP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("participants", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--regions", nargs="+", default=ROIS, choices=ROIS)
    parser.add_argument("--models", nargs="+", default=tuple(MODELS), choices=tuple(MODELS))
    parser.add_argument("--cnn", action="store_true", help="also the network, on originals, beside ridge regression")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with options.participants.open() as file:
        rows = {row["participant_id"]: row for row in csv.DictReader(file, delimiter="\t")}
    known = {name for name, row in rows.items() if "n/a" not in (row["age"], row["sex"])}
    heads = [path for path in sorted(options.cache.glob("*.npy")) if path.stem in known]
    voxel_files = [options.work / f"{path.stem}.npz" for path in heads]
    for path, target in zip(heads, voxel_files, strict=True):
        if target.exists():
            continue
        began = time.process_time()
        head = load_head(path)
        to_average = head.alignment.affine @ np.linalg.inv(head.alignment.rigid)
        save_voxels(target, voxels_of((head.values + 1) * (CLIP / 2), head.brain, to_average))
        print(f"{path.stem}: {time.process_time() - began:.1f} s CPU of this process", flush=True)
    age = np.array([float(rows[path.stem]["age"]) for path in heads])
    male = np.array([rows[path.stem]["sex"] == "M" for path in heads], float)
    design = np.column_stack([np.ones_like(male), male])
    files = [np.load(path) for path in voxel_files]
    voxels = {kind: np.stack([file[kind] for file in files]) for kind in ("original", *TOOLS)}
    print(f"{len(age)} participants of {age.min():.0f} to {age.max():.0f} years (standard deviation {age.std():.1f})")
    for region in options.regions:
        found = kernels(voxels, region)
        for model in options.models:
            print(f"{region}, {model}", flush=True)
            print_rows(assess_all(found, age, design, model), "years")
        if options.cnn:
            print_network(voxels["original"], found["original"], region, age, design)


if __name__ == "__main__":
    main()
