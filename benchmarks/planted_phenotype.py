"""Is a planted phenotype found, and only where it was planted?

    python -m benchmarks.planted_phenotype WORK --participants 60 --seed 20

Heads are those of `bids_refacer simulate --participants N --seed S` (T1w, 2 mm), made in memory. Each is brought to the
canonical grid by its true pose, with its true brain mask, and defaced there (`canonical_voxels`); WORK keeps its facial
voxels, and a run that is stopped goes on. Printed:

- radiodensity of each site from facial voxels, age and sex regressed out, for original and defaced images; what is
  attainable is the correlation of radiodensity with the true density of the facial muscles;
- the power of fewer or as many participants: how often radiodensities drawn anew on the same heads are found in the
  original and, after Holm, less well in every defaced image that keeps nothing of the planted tissue;
- how often a permuted phenotype is significant over 20 seeds;
- a target that is age alone, once age is a covariate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.canonical_voxels import TOOLS, save_voxels, voxels_of
from benchmarks.phenotype_rows import assess_all, comparisons, kernels, print_network, print_rows
from bids_refacer.cli.simulate import parse_args
from bids_refacer.cli.simulate_run import participant_of
from bids_refacer.phenotypes.assessment import Assessment
from bids_refacer.phenotypes.cross_validation import left_by_covariates
from bids_refacer.settings import SimulateSettings
from bids_refacer.simulation.acquisition import acquire, true_brain
from bids_refacer.simulation.model import head_model
from bids_refacer.simulation.people import RADIODENSITY_HU, SITES
from bids_refacer.statistics.correlation import spearman
from bids_refacer.volumes.grid import Alignment, Volume

SEEDS = 20
LEVEL = 0.05
REMOVES_ALL = ("quickshear_10mm", "pydeface", "skullstrip")
"""Tools that leave next to nothing of the planted tissue; quickshear's 20 mm leave some."""


def prepare(settings: SimulateSettings, number: int, target: Path) -> None:
    """Facial voxels of one participant, and who it is."""
    began, model = time.process_time(), head_model()
    drawn = participant_of(settings, model, number)
    image = acquire(model, drawn.anatomy, drawn.session, drawn.protocol, "T1w", drawn.image_rngs["T1w"])
    brain = true_brain(model, drawn.anatomy, drawn.session).astype(np.float32)
    alignment, affine = Alignment(drawn.session.to_canonical, drawn.session.to_canonical), drawn.session.grid.affine
    found = voxels_of(
        alignment.to_canonical(Volume(image, affine), 2),
        alignment.to_canonical(Volume(brain, affine), 2) > 0.5,
        np.eye(4),
    )
    person = drawn.person
    about = [person.age, float(person.male), person.muscle, *(person.radiodensity[site] for site in SITES)]
    save_voxels(target, {**found, "person": np.array(about)})
    print(f"participant {number}: {time.process_time() - began:.1f} s CPU of this process", flush=True)


def power(found: dict[str, np.ndarray], people: np.ndarray, counts: Sequence[int], rho: float, model: str) -> None:
    """Radiodensities drawn anew: how often everything that should be found is found, and what intervals hold."""
    for count in counts:
        own = {kind: kernel[:count, :count] for kind, kernel in found.items() if kind in ("original", *REMOVES_ALL)}
        age, male, muscle = people[:count, :3].T
        design, told = np.column_stack([np.ones(count), age, male]), 0
        mean, spread = RADIODENSITY_HU["thigh"]
        original: list[Assessment] = []
        defaced: list[Assessment] = []
        attainable: list[float] = []
        for seed in range(SEEDS):
            rest = np.random.default_rng([7, seed]).standard_normal(len(people))[:count]
            target = mean - age / 4 + spread * (rho * muscle + np.sqrt(1 - rho**2) * rest)
            rows = assess_all(own, target, design, model, seed=seed, permutations=199)
            told += max(one.p for one in comparisons(rows).values()) <= LEVEL
            original.append(rows["original"])
            defaced += [rows[kind] for kind in REMOVES_ALL]
            attainable.append(float(spearman(left_by_covariates(design, target)[:, None], muscle[:, None])[0]))
        detected = sum(one.calibrated.low > 0 and one.permutation_p <= LEVEL for one in original)
        found_rho = np.array([one.rho.estimate for one in original])
        print(
            f"{count} participants, {SEEDS} draws: found in the original {detected}, told from every defaced image "
            f"{told}; rho {found_rho.mean():.2f} (SD {found_rho.std(ddof=1):.2f}), attainable {np.mean(attainable):.2f}"
        )
        for kind, name in (("calibrated", "calibrated"), ("bootstrap", "rho")):
            ours, theirs = ([getattr(one, name) for one in group] for group in (original, defaced))
            reached = sum(one.low <= most <= one.high for one, most in zip(ours, attainable, strict=True))
            own_mean = sum(one.low <= found_rho.mean() <= one.high for one in ours)
            print(
                f"  {kind} interval of the original holds the attainable in {reached}, the mean rho in {own_mean}; of "
                f"{len(theirs)} defaced images, above 0 {sum(one.low > 0 for one in theirs)}, "
                f"below 0 {sum(one.high < 0 for one in theirs)}",
                flush=True,
            )


def calibration(found: dict[str, np.ndarray], target: np.ndarray, design: np.ndarray, model: str) -> None:
    """Permuted phenotypes: how many p values are under the level."""
    permutation = {kind: 0 for kind in found}
    difference = {kind: 0 for kind in found if kind != "original"}
    for seed in range(SEEDS):
        rng = np.random.default_rng([9, seed])
        nothing = left_by_covariates(design, target)[rng.permutation(len(target))]
        rows = assess_all(found, nothing, design, model, seed=seed, permutations=99)
        for kind, one in rows.items():
            permutation[kind] += one.permutation_p <= LEVEL
        for kind, other in comparisons(rows).items():
            difference[kind] += other.p <= LEVEL
    print(f"permuted phenotype, {SEEDS} seeds, p <= {LEVEL}: prediction {permutation}, original against {difference}")


def covariate(kernel: np.ndarray, age: np.ndarray, male: np.ndarray, model: str) -> None:
    """A target that is age, without and with age as a covariate."""
    ones, only = np.ones_like(age), {"original": kernel}
    one = assess_all(only, age, np.column_stack([ones, male]), model, permutations=200)["original"]
    print(f"age with sex as covariate: rho {one.rho.estimate:.2f}, p {one.permutation_p:.3f}")
    aged = age + np.random.default_rng(0).normal(0, 1, len(age))  # of age itself the covariate would leave nothing
    one = assess_all(only, aged, np.column_stack([ones, age, male]), model, permutations=200)["original"]
    print(
        f"age plus noise (1 year) with age and sex as covariates: rho {one.rho.estimate:.2f} "
        f"({one.rho.low:.2f} to {one.rho.high:.2f}), p {one.permutation_p:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--participants", type=int, default=60)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--rho", type=float, default=0.5)
    parser.add_argument("--effect", type=float, default=1.0, help="as of simulate's --muscle-effect")
    parser.add_argument("--model", default="ridge")
    parser.add_argument("--power", type=int, nargs="*", default=[], metavar="N", help="numbers of participants to try")
    parser.add_argument("--cnn", action="store_true", help="also the network, on originals, beside ridge regression")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    said = {
        "participants": options.participants,
        "seed": options.seed,
        "rho": options.rho,
        "muscle-effect": options.effect,
    }
    words = [word for name, value in said.items() for word in (f"--{name}", str(value))]
    settings = parse_args([str(options.work / "never written"), *words])
    paths = [
        options.work / f"{options.seed}-{options.rho:g}-{options.effect:g}-{n + 1}.npz"
        for n in range(options.participants)
    ]
    for number, path in enumerate(paths, start=1):
        if not path.exists():
            prepare(settings, number, path)
    files = [np.load(path) for path in paths]
    people = np.stack([file["person"] for file in files])
    voxels = {kind: np.stack([file[kind] for file in files]) for kind in ("original", *TOOLS)}
    found = kernels(voxels, "face")
    age, male, muscle = people[:, :3].T
    design = np.column_stack([np.ones_like(age), age, male])
    for site, hu in zip(SITES, people[:, 3:].T, strict=True):
        attainable = spearman(left_by_covariates(design, hu)[:, None], muscle[:, None])[0]
        print(f"{site}, {options.model}, face; attainable (true muscle density): rho {attainable:.2f}", flush=True)
        print_rows(assess_all(found, hu, design, options.model), "HU")
        if options.cnn:
            print_network(voxels["original"], found["original"], "face", hu, design)
    known = assess_all({"original": found["original"]}, muscle, design, options.model, permutations=99)["original"]
    print(f"muscle density itself from the original: rho {known.rho.estimate:.2f}", flush=True)
    covariate(found["original"], age, male, options.model)
    calibration(found, people[:, 4], design, options.model)
    power(found, people, options.power, options.rho, options.model)


if __name__ == "__main__":
    main()
