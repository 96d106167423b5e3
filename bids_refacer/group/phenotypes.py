"""Rows of the tables of phenotypes: what each type of image predicts, and what defacing takes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_refacer.group.models import CNN, RegionVoxels, model_names, prepare_models
from bids_refacer.group.outputs import Audit
from bids_refacer.group.phenotype_tables import DEFAULT_TARGETS, PhenotypeError, Phenotypes, read_phenotypes
from bids_refacer.group.voxels import ORIGINAL, Kind, load_voxels, voxel_paths
from bids_refacer.phenotypes.assessment import PERMUTATIONS, Assessment, assess, difference_p, permute
from bids_refacer.phenotypes.cross_validation import Folds, draw_folds, left_by_covariates
from bids_refacer.phenotypes.voxels import ROIS
from bids_refacer.settings import RunSettings
from bids_refacer.statistics.correlation import compare_dependent
from bids_refacer.statistics.paired import holm

Row = dict[str, Any]
LEAST = 10  # participants: fewer leave training sets in which any voxel fits

NOTHING = (
    f"No phenotype: the dataset has none of the columns {', '.join(DEFAULT_TARGETS)}; --target names others, "
    "--phenotype a table."
)


@dataclass(frozen=True)
class Problem:
    """One target of the participants who have everything.

    Attributes
    ----------
    people : sorted participants with the target, all covariates and an original image
    target : (n,) float64
    design : (n, c) float64, covariates with a column of ones
    permuted : (n, permutations) float64
    folds : Folds of these participants
    """

    people: list[str]
    target: np.ndarray
    design: np.ndarray
    permuted: np.ndarray
    folds: Folds


@dataclass(frozen=True)
class Result:
    """An assessment, and whom it is about: (n,) int, numbers of the problem's people."""

    members: np.ndarray
    found: Assessment | None


Key = tuple[str, str, str]
"""Target, region of interest, model."""


def phenotypes_of(settings: RunSettings) -> Phenotypes | None:
    """What is to be predicted; None when nothing was asked for and the dataset has nothing of the kind."""
    return read_phenotypes(settings.bids_dir, settings.phenotype, settings.target, settings.covariates)


def phenotype_tables(
    settings: RunSettings,
    audit: Audit,
    reasons: pd.DataFrame,
    phenotypes: Phenotypes | None,
    say: Callable[[str], None],
    permutations: int = PERMUTATIONS,
) -> dict[str, list[Row]]:
    """Tables group_phenotype and group_phenotype_predictions; empty when there is nothing to predict.

    A target that cannot be used is said, and the others are done.

    Raises
    ------
    PhenotypeError
        When columns were asked for and none of them can be used.
    """
    tables: dict[str, list[Row]] = {"group_phenotype": [], "group_phenotype_predictions": []}
    if phenotypes is None:
        say(NOTHING)
        return tables
    if cost := prepare_models(settings):
        say(cost)
    wrong: list[str] = []
    for suffix in sorted(audit.distances["suffix"].unique()):
        paths = voxel_paths(audit, reasons, suffix)
        problems = _problems(phenotypes, set(paths[ORIGINAL]), suffix, settings, permutations, audit, wrong)
        if not problems:
            continue
        results: dict[Key, dict[Kind, Result]] = {}
        for kind, files in paths.items():
            say(f"{suffix} {kind[0] or ''} {kind[1]}: predicting {', '.join(problems)}".replace("  ", " "))
            _assess_kind(kind, files, problems, results, settings)
        for key, of_key in results.items():
            about = dict(zip(("suffix", "target", "roi", "model"), (suffix, *key), strict=True))
            about["units"] = phenotypes.units[key[0]]
            tables["group_phenotype"] += _rows(about, of_key, settings.seed)
            tables["group_phenotype_predictions"] += _predictions(about, problems[key[0]], of_key)
    asked = bool(settings.target or settings.phenotype)
    if asked and not tables["group_phenotype"]:
        raise PhenotypeError(" ".join(wrong))
    for line in [*phenotypes.notes, *wrong]:
        say(line)
    return tables


def _problems(
    phenotypes: Phenotypes,
    imaged: set[str],
    suffix: str,
    settings: RunSettings,
    permutations: int,
    audit: Audit,
    wrong: list[str],
) -> dict[str, Problem]:
    """Targets that can be predicted; a sentence in `wrong` for each that cannot."""
    if not imaged:
        outputs = " and ".join(map(str, audit.outputs))
        wrong.append(f"No {suffix} image in {outputs} has facial voxels, from which phenotypes are predicted: run the "
                     "participant level again, with --keep-refaced.")  # fmt: skip
        return {}
    found = {}
    for name in phenotypes.targets:
        try:
            found[name] = _problem(phenotypes, name, imaged, suffix, settings.seed, permutations)
        except PhenotypeError as error:
            wrong.append(str(error))
    return found


def _problem(phenotypes: Phenotypes, name: str, imaged: set[str], suffix: str, seed: int, permutations: int) -> Problem:
    values = phenotypes.targets[name].dropna()
    complete = phenotypes.covariates.reindex(values.index).notna().all(axis=1)
    people = sorted(set(values.index[complete.to_numpy()]) & imaged)
    absent = sorted(set(values.index) - imaged)
    phenotypes.notes.append(
        f"{suffix} {name}: {len(people)} participants; with a value but without facial voxels: {len(absent)}"
        + (f" ({', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''})" if absent else "")
        + f", without all covariates: {int((~complete).sum())}."
    )
    if len(people) < LEAST:
        raise PhenotypeError(
            f"Only {len(people)} participants have a value in the column '{name}', all covariates and a {suffix} image "
            f"with results ({len(values)} have a value): at least {LEAST} are needed; run the participant level for "
            "more, or choose another --target."
        )
    target = values[people].to_numpy(dtype=np.float64)
    if np.ptp(target) == 0:
        raise PhenotypeError(f"The column '{name}' is {target[0]:g} for all {len(people)} participants with a {suffix} "
                             "image: nothing can be predicted; choose another --target.")  # fmt: skip
    covariates = phenotypes.covariates.reindex(people).to_numpy(dtype=np.float64)
    design = np.column_stack([np.ones(len(people)), covariates])
    if not left_by_covariates(design, target).any():
        raise PhenotypeError(f"The covariates ({', '.join(phenotypes.names)}) explain the column '{name}' completely: "
                             "nothing is left to predict; leave out a covariate with --covariates.")  # fmt: skip
    permuted = permute(design, target, seed, permutations)
    return Problem(people, target, design, permuted, draw_folds(len(people), seed))


def _assess_kind(
    kind: Kind,
    files: dict[str, list[Any]],
    problems: dict[str, Problem],
    results: dict[Key, dict[Kind, Result]],
    settings: RunSettings,
) -> None:
    """Every target, region and model on one type of image; its voxels are in memory only here."""
    wanted = {name for problem in problems.values() for name in problem.people}
    files = {name: paths for name, paths in files.items() if name in wanted}
    place = {name: number for number, name in enumerate(files)}
    voxels = load_voxels(files) if files else np.zeros((0, 0), dtype=np.uint8)
    for region in ROIS:
        own = RegionVoxels(voxels, region)
        for name, problem in problems.items():
            members = np.array([n for n, person in enumerate(problem.people) if person in place], dtype=np.int64)
            rows = [place[problem.people[member]] for member in members]
            for model in model_names(settings):
                found = None
                if len(members) >= LEAST:
                    folds, tries = problem.folds.of(members), problem.permuted.shape[1]
                    if model == CNN:
                        folds, tries = folds.once(), settings.cnn_permutations
                    found = assess(
                        own.learner(model, rows, settings), problem.design[members], problem.target[members],
                        problem.permuted[members, :tries], folds, seed=settings.seed,
                    )  # fmt: skip
                results.setdefault((name, region, model), {})[kind] = Result(members, found)


def _rows(about: Row, results: dict[Kind, Result], seed: int) -> list[Row]:
    """One row for each type of image; all but the original compared with it, Holm over them."""
    rows = [{**about, **_kind(kind), **_figures(result)} for kind, result in results.items()]
    original = results[ORIGINAL]
    others = [(row, result) for row, (kind, result) in zip(rows, results.items(), strict=True) if kind != ORIGINAL]
    for row, result in others:
        row |= _difference(original, result, seed)
    tested = [row for row, _ in others if "p_value" in row]
    for row, adjusted in zip(tested, holm(np.array([row["p_value"] for row in tested])), strict=True):
        row["p_holm"] = float(adjusted)
    return rows


def _kind(kind: Kind) -> Row:
    return {"tool": kind[0], "image_type": kind[1]}


def _figures(result: Result) -> Row:
    found = result.found
    if found is None:
        return {"n_participants": len(result.members)}
    return {
        "n_participants": len(result.members),
        "spearman_rho": found.rho.estimate,
        "rho_bootstrap_mean": found.rho_mean,
        "rho_ci_low": found.rho.low,
        "rho_ci_high": found.rho.high,
        "rho_calibrated_low": found.calibrated.low,
        "rho_calibrated_high": found.calibrated.high,
        "p_permutation": found.permutation_p,
        "n_permutations": len(found.null_rho),
        "rho_null_mean": float(found.null_rho.mean()),
        "rho_null_sd": float(found.null_rho.std()),
        "r2": found.r2,
        "mae": found.mae,
    }


def _difference(original: Result, other: Result, seed: int) -> Row:
    """Original minus other, on the participants who have both; observed values are those of the original's folds."""
    if original.found is None or other.found is None:
        return {}
    ours = np.flatnonzero(np.isin(original.members, other.members))
    first, observed = original.found.predicted[ours], original.found.observed[ours]
    test = compare_dependent(observed, first, other.found.predicted, seed)
    permutation = difference_p(original.found, other.found, test.difference.estimate)
    return {
        "n_pairs": test.n,
        "rho_difference": test.difference.estimate,
        "difference_ci_low": test.difference.low,
        "difference_ci_high": test.difference.high,
        "p_bootstrap": test.bootstrap_p,
        "statistic": test.z,
        "p_meng": test.p_value,
        "p_permutation_difference": permutation,
        # permutations are right where neither image predicts; where both do, neither is exact (docs/phenotype.md)
        "p_value": max(test.p_value, permutation),
        "p_wilcoxon_replicates": test.replicates_p,
    }


def _predictions(about: Row, problem: Problem, results: dict[Kind, Result]) -> Iterator[Row]:
    for kind, result in results.items():
        if result.found is None:
            continue
        for number, member in enumerate(result.members):
            yield {
                "participant_id": problem.people[member],
                **about,
                **_kind(kind),
                "observed": float(problem.target[member]),
                "observed_residual": float(result.found.observed[number]),
                "predicted_residual": float(result.found.predicted[number]),
            }


def phenotype_lines(rows: Sequence[Row]) -> list[str]:
    """For the terminal and group.md: the face, by ridge regression and the network; all else is in the table."""
    lines = []
    for row in rows:
        if row["roi"] != "face" or row["model"] not in ("ridge", CNN) or "spearman_rho" not in row:
            continue
        model = "by the network" if row["model"] == CNN else None
        words = " ".join(filter(None, (row["suffix"], row["tool"], row["image_type"], model)))
        few = np.isnan(row["rho_calibrated_low"])  # permutations
        kind, name = ("bootstrap", "ci") if few else ("calibrated", "calibrated")
        low, high = (row[f"rho_{name}_{end}"] for end in ("low", "high"))
        line = (
            f"{row['target']} from the face, {words}: rho {row['spearman_rho']:.2f} (95 % CI {low:.2f} to {high:.2f}, "
            f"{kind}), permutation p {row['p_permutation']:.2g}, n {row['n_participants']}"
        )
        if "p_holm" in row:
            line += f"; original minus this {row['rho_difference']:+.2f}, p (Holm) {row['p_holm']:.2g}"
        lines.append(line)
    return lines
