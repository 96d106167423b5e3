"""Is a planted phenotype found, and only where it was planted? `python -m benchmarks.planted_phenotype DATASET WORK`.

DATASET is made by `bids_refacer simulate` (T1w). Each head is brought to the canonical grid by its true pose, with its
true brain mask, and defaced there (`canonical_voxels`). Printed: radiodensity from facial voxels with age and sex
regressed out, for original and defaced images; what is attainable, which is the correlation of radiodensity with the
true density of the facial muscles; how often a permuted phenotype is significant over 20 seeds; and a target that is
age alone, once age is a covariate.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.canonical_voxels import TOOLS, save_voxels, voxels_of
from benchmarks.phenotype_rows import assess_all, comparisons, print_rows
from bids_refacer.dataset.simulated import SimulatedNames, truth_dir
from bids_refacer.muscle.validation import left_by_covariates
from bids_refacer.statistics.correlation import spearman
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan

SEEDS = 20
LEVEL = 0.05


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def prepared(dataset: Path, label: str, target: Path) -> dict[str, np.ndarray]:
    """Facial voxels of one participant, computed once."""
    if not target.exists():
        began = time.process_time()
        names = SimulatedNames(dataset, label)
        scan, brain = read_scan(names.image("T1w")), read_scan(names.truth("brain.nii.gz"))
        pose = np.array(json.loads(names.truth("head.json").read_text())["NativeToCanonical"])
        alignment = Alignment(pose, pose)
        values = alignment.to_canonical(scan.values, scan.affine, 2)
        mask = alignment.to_canonical(brain.values, brain.affine, 2) > 0.5
        save_voxels(target, voxels_of(values, mask, np.eye(4)))
        print(f"sub-{label}: {time.process_time() - began:.1f} s CPU of this process", flush=True)
    with np.load(target) as content:
        return dict(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="ridge")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    people = table(options.dataset / "participants.tsv")
    labels = [row["participant_id"].removeprefix("sub-") for row in people]
    rows = [prepared(options.dataset, label, options.work / f"{label}.npz") for label in labels]
    voxels = {kind: np.stack([row[kind] for row in rows]) for kind in ("original", *TOOLS)}
    truth = {
        row["participant_id"]: float(row["muscle_density"]) for row in table(truth_dir(options.dataset) / "truth.tsv")
    }
    muscle = np.array([truth[row["participant_id"]] for row in people])
    age = np.array([float(row["age"]) for row in people])
    design = np.column_stack([np.ones_like(age), age, [row["sex"] == "M" for row in people]])
    for site in ("abdomen", "thigh", "shin"):
        hu = np.array([float(row[f"muscle_radiodensity_{site}"]) for row in people])
        attainable = spearman(left_by_covariates(design, hu)[:, None], muscle[:, None])[0]
        print(f"{site}, {options.model}, face; attainable (true muscle density): rho {attainable:.2f}", flush=True)
        print_rows(assess_all(voxels, hu, design, "face", options.model), "HU")
    calibration(voxels, hu, design, options.model)
    found = assess_all(
        {"original": voxels["original"]}, age, design[:, [0, 2]], "face", options.model, permutations=200
    )
    print(f"age with sex as covariate: rho {found['original'].rho.estimate:.2f}")
    rng = np.random.default_rng(0)
    aged = age + rng.normal(0, 1, len(age))  # what the covariate leaves is noise: age itself would leave nothing
    found = assess_all({"original": voxels["original"]}, aged, design, "face", options.model, permutations=200)
    one = found["original"]
    print(
        f"age plus noise (1 year) with age and sex as covariates: rho {one.rho.estimate:.2f}, p {one.permutation_p:.2f}"
    )


def calibration(voxels: dict[str, np.ndarray], target: np.ndarray, design: np.ndarray, model: str) -> None:
    """Permuted phenotypes: how many p values are under the level."""
    permutation = {kind: 0 for kind in voxels}
    difference = {kind: 0 for kind in voxels if kind != "original"}
    for seed in range(SEEDS):
        rng = np.random.default_rng([9, seed])
        nothing = left_by_covariates(design, target)[rng.permutation(len(target))]
        found = assess_all(voxels, nothing, design, "face", model, seed=seed, permutations=99)
        for kind, one in found.items():
            permutation[kind] += one.permutation_p <= LEVEL
        for kind, p_value in comparisons(found).items():
            difference[kind] += p_value <= LEVEL
    print(f"permuted phenotype, {SEEDS} seeds, p <= {LEVEL}: prediction {permutation}, original against {difference}")


if __name__ == "__main__":
    main()
