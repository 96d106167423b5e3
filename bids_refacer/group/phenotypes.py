"""Phenotypes are predicted from each type of image, to see what defacing takes away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from bids_refacer.dataset.rows.group_people import PhenotypeRow, PredictionRow
from bids_refacer.group.models import (
    CNN,
    ORIGINAL,
    ImageKind,
    Paths,
    RegionVoxels,
    load_voxels,
    model_names,
    prepare_models,
    voxel_paths,
)
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.group.phenotype_rows import Problem, Result, phenotype_rows, prediction_rows
from bids_refacer.group.phenotype_tables import DEFAULT_TARGETS, PhenotypeError, Phenotypes, read_phenotypes
from bids_refacer.phenotypes.assessment import PERMUTATIONS, assess, permute
from bids_refacer.phenotypes.cross_validation import draw_folds, left_by_covariates
from bids_refacer.phenotypes.voxels import ROIS
from bids_refacer.settings import RunSettings
from bids_refacer.wording import counted

LEAST = 10  # participants: fewer leave training sets in which any voxel fits

NOTHING = (
    f"No phenotype: the dataset has none of the columns {', '.join(DEFAULT_TARGETS)}; --target names others, "
    "--phenotype a table."
)


class Prediction(NamedTuple):
    """What is predicted, from which region of interest, and by which model."""

    target: str
    region: str
    model: str


@dataclass(frozen=True, kw_only=True)
class PhenotypeRun:
    """What is predicted, of whom, and how.

    Attributes
    ----------
    outputs : of the participant level
    reasons : DataFrame of `group.cohorts.gate`
    permutations : of each target, by which the linear models are tested
    """

    settings: RunSettings
    outputs: ParticipantOutputs
    reasons: pd.DataFrame
    phenotypes: Phenotypes
    permutations: int


@dataclass(frozen=True, kw_only=True)
class PhenotypeTables:
    """Rows of the two tables of phenotypes, and sentences: who was used, and which targets could not be."""

    phenotypes: Sequence[PhenotypeRow] = ()
    predictions: Sequence[PredictionRow] = ()
    notes: Sequence[str] = ()
    refusals: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Problems:
    """The targets that can be predicted from one kind of image; `notes` and `refusals` as in `PhenotypeTables`."""

    by_target: Mapping[str, Problem]
    notes: Sequence[str] = ()
    refusals: Sequence[str] = ()


def phenotypes_of(settings: RunSettings) -> Phenotypes | None:
    """What is to be predicted; None when nothing was asked for and the dataset has nothing of the kind."""
    return read_phenotypes(settings.bids_dir, settings.phenotype, settings.target, settings.covariates)


def phenotype_tables(
    settings: RunSettings,
    outputs: ParticipantOutputs,
    reasons: pd.DataFrame,
    phenotypes: Phenotypes | None,
    say: Callable[[str], None],
    permutations: int = PERMUTATIONS,
) -> PhenotypeTables:
    """Tables group_phenotype and group_phenotype_predictions; empty when there is nothing to predict.

    There is a sentence for a target that cannot be used, and the others are done.

    Raises
    ------
    PhenotypeError
        When columns were asked for and none of them can be used.
    """
    if phenotypes is None:
        say(NOTHING)
        return PhenotypeTables()
    if cost := prepare_models(settings):
        say(cost)
    run = PhenotypeRun(
        settings=settings, outputs=outputs, reasons=reasons, phenotypes=phenotypes, permutations=permutations
    )
    tables = _joined([_suffix_tables(run, suffix, say) for suffix in sorted(outputs.distances["suffix"].unique())])
    if (settings.target or settings.phenotype) and not tables.phenotypes:
        raise PhenotypeError(" ".join(tables.refusals))
    for line in [*phenotypes.notes, *tables.notes, *tables.refusals]:
        say(line)
    return tables


def _joined(parts: Sequence[PhenotypeTables]) -> PhenotypeTables:
    return PhenotypeTables(
        phenotypes=[row for part in parts for row in part.phenotypes],
        predictions=[row for part in parts for row in part.predictions],
        notes=[line for part in parts for line in part.notes],
        refusals=[line for part in parts for line in part.refusals],
    )


def _suffix_tables(run: PhenotypeRun, suffix: str, say: Callable[[str], None]) -> PhenotypeTables:
    """The tables of one kind of image."""
    paths = voxel_paths(run.outputs, run.reasons, suffix)
    readable, _ = load_voxels(paths[ORIGINAL], say)  # whose original is damaged is in no comparison
    paths[ORIGINAL] = {name: files for name, files in paths[ORIGINAL].items() if name in readable}
    problems = _problems(run, suffix, set(paths[ORIGINAL]))
    tables = PhenotypeTables(notes=problems.notes, refusals=problems.refusals)
    if not problems.by_target:
        return tables
    results: dict[ImageKind, dict[Prediction, Result]] = {}
    for kind, files in paths.items():
        words = " ".join(filter(None, (suffix, *kind)))
        say(f"{words}: predicting {', '.join(problems.by_target)}")
        results[kind] = _assess_kind(run, problems.by_target, files, say)
    rows: list[PhenotypeRow] = []
    predictions: list[PredictionRow] = []
    for prediction in results[ORIGINAL]:
        target, region, model = prediction
        units = run.phenotypes.units[target]
        about = PhenotypeRow(suffix=suffix, target=target, units=units, roi=region, model=model)
        of_kind = {kind: found[prediction] for kind, found in results.items()}
        rows += phenotype_rows(about, of_kind, run.settings.seed)
        predictions += prediction_rows(about, problems.by_target[target], of_kind)
    return replace(tables, phenotypes=rows, predictions=predictions)


def _problems(run: PhenotypeRun, suffix: str, imaged: set[str]) -> Problems:
    """The targets that can be predicted; `imaged` are the participants with facial voxels of an original."""
    if not imaged:
        folders = " and ".join(map(str, run.outputs.folders))
        refusal = (
            f"No {suffix} image in {folders} has facial voxels, from which phenotypes are predicted: run the "
            "participant level again, with --keep-refaced."
        )
        return Problems(by_target={}, refusals=[refusal])
    found: dict[str, Problem] = {}
    refusals = []
    for name in run.phenotypes.targets:
        try:
            found[name] = _problem(run, suffix, name, imaged)
        except PhenotypeError as error:
            refusals.append(str(error))
    notes = [_participants_note(run.phenotypes, suffix, name, imaged) for name in run.phenotypes.targets]
    return Problems(by_target=found, notes=notes, refusals=refusals)


def _has_covariates(phenotypes: Phenotypes, name: str) -> pd.Series:
    """Participants with a value of a target -> whether they have all covariates."""
    return phenotypes.covariates.reindex(phenotypes.targets[name].dropna().index).notna().all(axis=1)


def _people(phenotypes: Phenotypes, name: str, imaged: set[str]) -> list[str]:
    """Sorted participants with a target, all covariates and facial voxels."""
    complete = _has_covariates(phenotypes, name)
    return sorted(set(complete.index[complete.to_numpy()]) & imaged)


def _participants_note(phenotypes: Phenotypes, suffix: str, name: str, imaged: set[str]) -> str:
    """How many participants a target has, and why others are not among them."""
    complete = _has_covariates(phenotypes, name)
    absent = sorted(set(complete.index) - imaged)
    names = f" ({', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''})" if absent else ""
    return (
        f"{suffix} {name}: {counted(len(_people(phenotypes, name, imaged)), 'participant')}; with a value but without "
        f"facial voxels: {len(absent)}{names}, without all covariates: {int((~complete).sum())}."
    )


def _problem(run: PhenotypeRun, suffix: str, name: str, imaged: set[str]) -> Problem:
    """One target, ready to be predicted.

    Raises
    ------
    PhenotypeError
        When there are too few participants, or nothing to predict.
    """
    phenotypes, seed = run.phenotypes, run.settings.seed
    people = _people(phenotypes, name, imaged)
    if len(people) < LEAST:
        count = len(phenotypes.targets[name].dropna())
        raise PhenotypeError(
            f"Only {counted(len(people), 'participant')} {'has' if len(people) == 1 else 'have'} a value in the column "
            f"'{name}', all covariates and a {suffix} image "
            f"with results ({count} with a value): at least {LEAST} are needed; run the participant level for "
            "more, or choose another --target."
        )
    target = phenotypes.targets[name][people].to_numpy(dtype=np.float64)
    if np.ptp(target) == 0:
        raise PhenotypeError(
            f"The column '{name}' is {target[0]:g} for all {counted(len(people), 'participant')} with a {suffix} "
            "image: nothing can be predicted; choose another --target."
        )
    covariates = phenotypes.covariates.reindex(people).to_numpy(dtype=np.float64)
    design = np.column_stack([np.ones(len(people)), covariates])
    if not left_by_covariates(design, target).any():
        raise PhenotypeError(
            f"The covariates ({', '.join(phenotypes.names)}) explain the column '{name}' completely: "
            "nothing is left to predict; leave out a covariate with --covariates."
        )
    permuted = permute(design, target, seed, run.permutations)
    return Problem(people, target, design, permuted, draw_folds(len(people), seed))


def _assess_kind(
    run: PhenotypeRun, problems: Mapping[str, Problem], files: Paths, say: Callable[[str], None]
) -> dict[Prediction, Result]:
    """Every target, region and model on one type of image; its voxels are in memory only here.

    `files` are the facial voxels of each participant.
    """
    wanted = {name for problem in problems.values() for name in problem.people}
    names, voxels = load_voxels({name: paths for name, paths in files.items() if name in wanted}, say)
    place = {name: number for number, name in enumerate(names)}
    results: dict[Prediction, Result] = {}
    for region in ROIS:
        own = RegionVoxels(voxels, region)
        for name, problem in problems.items():
            for model in model_names(run.settings):
                results[Prediction(name, region, model)] = _assess(own, problem, place, model, run.settings)
    return results


def _assess(
    voxels: RegionVoxels, problem: Problem, place: Mapping[str, int], model: str, settings: RunSettings
) -> Result:
    """One model on the participants of a problem who have voxels; `place` is the row of each."""
    members = np.array([n for n, person in enumerate(problem.people) if person in place], dtype=np.int64)
    if len(members) < LEAST:
        return Result(members, None)
    rows = [place[problem.people[member]] for member in members]
    folds, tries = problem.folds.of(members), problem.permuted.shape[1]
    if model == CNN:
        folds, tries = folds.once(), settings.cnn_permutations
    found = assess(
        voxels.learner(model, rows, settings),
        problem.design[members],
        problem.target[members],
        problem.permuted[members, :tries],
        folds,
        seed=settings.seed,
    )
    return Result(members, found)
