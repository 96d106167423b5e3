"""Rows of the tables of phenotypes, and the sentences about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bids_refacer.dataset.rows.group_people import PhenotypeRow, PredictionRow
from bids_refacer.group.models import CNN, ORIGINAL, ImageKind
from bids_refacer.phenotypes.assessment import Assessment, difference_p
from bids_refacer.phenotypes.cross_validation import Folds
from bids_refacer.statistics.correlation import compare_dependent
from bids_refacer.statistics.paired import holm


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
    """An assessment, None for too few participants, and whom it is about: (n,) int, numbers of the problem's people."""

    members: np.ndarray
    assessment: Assessment | None


def phenotype_rows(about: PhenotypeRow, results: Mapping[ImageKind, Result], seed: int) -> list[PhenotypeRow]:
    """One row for each type of image; all but the original compared with it, Holm over them.

    Parameters
    ----------
    about : the row without figures: kind of image, target, region and model
    results : of each type of image, the original among them
    seed : of the bootstrap
    """
    original, rows = results[ORIGINAL], []
    for kind, result in results.items():
        row = _with_figures(replace(about, tool=kind.tool, image_type=kind.image_type), result)
        rows.append(row if kind == ORIGINAL else _with_difference(row, original, result, seed))
    tested = [number for number, row in enumerate(rows) if row.p_value is not None]
    adjusted = holm(np.array([rows[number].p_value for number in tested], dtype=np.float64))
    for number, p_value in zip(tested, adjusted, strict=True):
        rows[number] = replace(rows[number], p_holm=float(p_value))
    return rows


def _with_figures(row: PhenotypeRow, result: Result) -> PhenotypeRow:
    row, found = replace(row, n_participants=len(result.members)), result.assessment
    if found is None:
        return row
    return replace(
        row,
        spearman_rho=found.rho.estimate,
        rho_bootstrap_mean=found.rho_mean,
        rho_ci_low=found.rho.low,
        rho_ci_high=found.rho.high,
        rho_calibrated_low=found.calibrated.low,
        rho_calibrated_high=found.calibrated.high,
        p_permutation=found.permutation_p,
        n_permutations=len(found.null_rho),
        rho_null_mean=float(found.null_rho.mean()),
        rho_null_sd=float(found.null_rho.std()),
        r2=found.r2,
        mae=found.mae,
    )


def _with_difference(row: PhenotypeRow, original: Result, other: Result, seed: int) -> PhenotypeRow:
    """The row with original minus other, on the participants who have both.

    Observed values are those of the original's folds.
    """
    if original.assessment is None or other.assessment is None:
        return row
    ours = np.flatnonzero(np.isin(original.members, other.members))
    first, observed = original.assessment.predicted[ours], original.assessment.observed[ours]
    test = compare_dependent(observed, first, other.assessment.predicted, seed)
    permutation = difference_p(original.assessment, other.assessment, test.difference.estimate)
    return replace(
        row,
        n_pairs=test.n,
        rho_difference=test.difference.estimate,
        difference_ci_low=test.difference.low,
        difference_ci_high=test.difference.high,
        p_bootstrap=test.bootstrap_p,
        statistic=test.z,
        p_meng=test.p_value,
        p_permutation_difference=permutation,
        # permutations are right where neither image predicts; where both do, neither is exact (docs/phenotype.md)
        p_value=max(test.p_value, permutation),
        p_wilcoxon_replicates=test.replicates_p,
    )


def prediction_rows(
    about: PhenotypeRow, problem: Problem, results: Mapping[ImageKind, Result]
) -> Iterator[PredictionRow]:
    """One row for each participant and type of image; `about` as in `phenotype_rows`."""
    for (tool, image_type), result in results.items():
        if result.assessment is None:
            continue
        for number, member in enumerate(result.members):
            yield PredictionRow(
                participant_id=problem.people[member],
                suffix=about.suffix,
                target=about.target,
                units=about.units,
                roi=about.roi,
                model=about.model,
                tool=tool,
                image_type=image_type,
                observed=float(problem.target[member]),
                observed_residual=float(result.assessment.observed[number]),
                predicted_residual=float(result.assessment.predicted[number]),
            )


def phenotype_lines(rows: Sequence[PhenotypeRow]) -> list[str]:
    """For the terminal and group.md: the face, by ridge regression and the network; all else is in the table."""
    shown = [row for row in rows if row.roi == "face" and row.model in ("ridge", CNN) and row.spearman_rho is not None]
    return [_line(row) for row in shown]


def _line(row: PhenotypeRow) -> str:
    model = "by the network" if row.model == CNN else None
    words = " ".join(filter(None, (row.suffix, row.tool, row.image_type, model)))
    low, high, kind = row.interval
    line = (
        f"{row.target} from the face, {words}: rho {row.spearman_rho:.2f} (95 % CI {low:.2f} to {high:.2f}, "
        f"{kind}), permutation p {row.p_permutation:.2g}, n {row.n_participants}"
    )
    if row.p_holm is not None:
        line += f"; original minus this {row.rho_difference:+.2f}, p (Holm) {row.p_holm:.2g}"
    return line
