"""Rows of the group's tables of surface distances: descriptions, paired comparisons, tools against each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd

from bids_refacer.dataset.rows.group import ComparisonRow, GroupDistanceRow, ReferenceRow, ToolsRow
from bids_refacer.group.cohorts import Cohort, Subgroup, per_participant
from bids_refacer.statistics.bootstrap import bootstrap_means
from bids_refacer.statistics.comparison import friedman, post_hoc, rank_biserial, two_groups
from bids_refacer.statistics.paired import holm, wilcoxon_paired

RECOVERED = ("refaced_sample_mean", "refaced_mean")
BASELINES = ("average", "average-fitted", "defaced")
LEAST_SUBGROUP = 3  # participants of a subgroup; figures of fewer would describe persons

TestedRow = TypeVar("TestedRow", ComparisonRow, ReferenceRow)


@dataclass(frozen=True, kw_only=True)
class DistanceTables:
    """Rows of the three tables of distances within a dataset."""

    distances: Sequence[GroupDistanceRow] = ()
    comparisons: Sequence[ComparisonRow] = ()
    tools: Sequence[ToolsRow] = ()


def distance_tables(of_group: Iterable[Cohort], members: Mapping[Subgroup, Sequence[str]], seed: int) -> DistanceTables:
    """Tables group_surfacedistance, group_comparison and group_tools, for every cohort.

    A gate that keeps nothing out has the rows of the gate before.
    """
    distances: list[GroupDistanceRow] = []
    comparisons: list[ComparisonRow] = []
    tools: list[ToolsRow] = []
    before, found = None, DistanceTables()
    for cohort in of_group:
        if before is None or not before.equals(cohort.images):
            before, found = cohort.images, _cohort_tables(cohort, members, seed)
        distances += [replace(row, gate=cohort.gate) for row in found.distances]
        comparisons += [replace(row, gate=cohort.gate) for row in found.comparisons]
        tools += [replace(row, gate=cohort.gate) for row in found.tools]
    return DistanceTables(distances=distances, comparisons=comparisons, tools=tools)


def _cohort_tables(cohort: Cohort, members: Mapping[Subgroup, Sequence[str]], seed: int) -> DistanceTables:
    return DistanceTables(
        distances=list(description_rows(cohort, members, seed)),
        comparisons=comparison_rows(cohort, members, seed),
        tools=tools_rows(cohort),
    )


def description_rows(
    cohort: Cohort, members: Mapping[Subgroup, Sequence[str]], seed: int
) -> Iterator[GroupDistanceRow]:
    """Table group_surfacedistance: one row for each tool, type of image, part and subgroup."""
    everyone = per_participant(cohort.images)
    for (column, value), people in members.items():
        values = everyone.reindex(people)
        rows = [
            GroupDistanceRow(
                suffix=cohort.suffix,
                tool=tool,
                image_type=image_type,
                part=part,
                gate=cohort.gate,
                subgroup_column=column,
                subgroup=value,
            )
            for tool, image_type, part in values.columns
        ]
        counted = _counted(rows, values.to_numpy())
        yield from _described(counted, values, seed) if len(people) and _is_shown(column, people) else counted


def _counted(rows: Sequence[GroupDistanceRow], values: np.ndarray) -> list[GroupDistanceRow]:
    """Rows with the numbers of participants; `values` is (participants, rows), mm."""
    counts = np.sum(~np.isnan(values), axis=0).tolist()
    return [
        replace(row, n_participants=count, n_missing=len(values) - count)
        for row, count in zip(rows, counts, strict=True)
    ]


def _described(rows: Sequence[GroupDistanceRow], values: pd.DataFrame, seed: int) -> Iterator[GroupDistanceRow]:
    """Rows with their figures; `values` is (participants, rows), mm."""
    values = pd.DataFrame(values.to_numpy())
    low, high = bootstrap_means(values.to_numpy(), seed)
    mean, sd = values.mean(), values.std(ddof=1)
    q1, median, q3 = (values.quantile(q) for q in (0.25, 0.5, 0.75))
    for number, row in enumerate(rows):
        yield replace(
            row,
            mean_mm=float(mean[number]),
            ci_low_mm=float(low[number]),
            ci_high_mm=float(high[number]),
            sd_mm=float(sd[number]),
            median_mm=float(median[number]),
            q1_mm=float(q1[number]),
            q3_mm=float(q3[number]),
            iqr_mm=float(q3[number] - q1[number]),
        )


def comparison_rows(cohort: Cohort, members: Mapping[Subgroup, Sequence[str]], seed: int) -> list[ComparisonRow]:
    """Table group_comparison: recovered against average and defaced, paired by participant, Holm over tools.

    Subgroups are compared in the cohort's headline part alone.
    """
    rows: list[ComparisonRow] = []
    for tool in cohort.images.columns.unique("tool"):
        types = cohort.images[tool].columns.unique("image_type")
        for recovered in [name for name in RECOVERED if name in types]:
            for other in [name for name in BASELINES if name in types]:
                ours = cohort.images[tool][recovered]
                theirs = cohort.images[tool][other].reindex(columns=ours.columns)
                # an image that lacks one of the two must not enter the participant's mean of the other
                both = ours.notna() & theirs.notna()
                pairs = (per_participant(ours.where(both)), per_participant(theirs.where(both)))
                about = ComparisonRow(
                    suffix=cohort.suffix, tool=tool, image_type=recovered, compared_with=other, gate=cohort.gate
                )
                rows += _paired_rows(about, *pairs, members, cohort.headline, seed)
    return _with_holm(
        rows, lambda row: (row.image_type, row.compared_with, row.part, row.subgroup_column, row.subgroup)
    )


def _paired_rows(
    about: ComparisonRow,
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    members: Mapping[Subgroup, Sequence[str]],
    headline: str,
    seed: int,
) -> Iterator[ComparisonRow]:
    """A row for each part and subgroup; `ours` and `theirs` are (participants, parts), mm."""
    for (column, value), people in members.items():
        first, second = ours.reindex(people), theirs.reindex(people)
        difference = (first - second).to_numpy()
        low, high = bootstrap_means(difference, seed) if len(people) else (np.zeros(0), np.zeros(0))
        for number, part in enumerate(first.columns):
            if column != "all" and part != headline:
                continue  # subgroups are tested in one part: eight times fewer chances to be fooled
            count = int(np.sum(~np.isnan(difference[:, number])))
            row = replace(about, part=part, subgroup_column=column, subgroup=value, n_pairs=count)
            if count > 1 and _is_shown(column, people):
                row = replace(row, ci_low_mm=float(low[number]), ci_high_mm=float(high[number]))
                row = _tested(row, first[part].to_numpy(), second[part].to_numpy())
            yield row


def _tested(row: ComparisonRow, first: np.ndarray, second: np.ndarray) -> ComparisonRow:
    """The row with its test; `first` and `second` are (participants,), mm."""
    test = wilcoxon_paired(first, second)
    known = (first - second)[~np.isnan(first - second)]
    return replace(
        row,
        mean_difference_mm=float(known.mean()),
        median_difference_mm=test.median_difference,
        n_closer=int(np.sum(known < 0)),
        statistic=test.statistic,
        p_value=test.p_value,
        rank_biserial=rank_biserial(known, np.zeros(len(known))),
    )


def tools_rows(cohort: Cohort) -> list[ToolsRow]:
    """Table group_tools: Friedman's test over all tools, then every pair of them."""
    values = per_participant(cohort.images)
    rows: list[ToolsRow] = []
    for image_type in values.columns.unique("image_type"):
        of_type = values.xs(image_type, axis=1, level="image_type")
        for part in of_type.columns.unique("part"):
            frame = of_type.xs(part, axis=1, level="part")
            frame = frame.loc[:, frame.notna().any()]
            if frame.shape[1] > 1:
                about = ToolsRow(suffix=cohort.suffix, image_type=image_type, part=part, gate=cohort.gate)
                rows += _tool_tests(replace(about, n_tools=frame.shape[1]), frame)
    return rows


def _tool_tests(about: ToolsRow, frame: pd.DataFrame) -> Iterator[ToolsRow]:
    """Tests of participants x tools."""
    values, tools = frame.to_numpy(), list(frame.columns)
    whole = friedman(values)
    yield replace(
        about,
        test="friedman",
        n_participants=whole.n,
        statistic=whole.statistic,
        p_value=whole.p_value,
        kendall_w=whole.kendall_w,
    )
    for first, second, test, adjusted in post_hoc(values):
        yield replace(
            about,
            test="wilcoxon",
            tool=tools[first],
            other_tool=tools[second],
            n_participants=test.n_pairs,
            statistic=test.statistic,
            p_value=test.p_value,
            p_holm=adjusted,
            median_difference_mm=test.median_difference,
            rank_biserial=rank_biserial(values[:, first], values[:, second]),
        )


def reference_rows(cohort: Cohort, reference: Cohort, seed: int) -> list[ReferenceRow]:
    """Table group_reference: this dataset beside another, for what both have."""
    ours, theirs = per_participant(cohort.images), per_participant(reference.images)
    rows: list[ReferenceRow] = []
    for column in [name for name in ours.columns if name in set(theirs.columns)]:
        tool, image_type, part = column
        test = two_groups(ours[column].to_numpy(), theirs[column].to_numpy(), seed)
        rows.append(
            ReferenceRow(
                suffix=cohort.suffix,
                tool=tool,
                image_type=image_type,
                part=part,
                gate=cohort.gate,
                n_participants=test.n_first,
                n_reference=test.n_second,
                mean_mm=float(ours[column].mean()),
                reference_mean_mm=float(theirs[column].mean()),
                difference_mm=test.difference,
                ci_low_mm=test.low,
                ci_high_mm=test.high,
                statistic=test.statistic,
                p_value=test.p_value,
                rank_biserial=test.rank_biserial,
            )
        )
    return _with_holm(rows, lambda row: (row.image_type, row.part))


def _with_holm(rows: Sequence[TestedRow], family: Callable[[TestedRow], Hashable]) -> list[TestedRow]:
    """Rows with ``p_holm``: adjusted over the rows of the same family."""
    families: dict[Hashable, list[int]] = {}
    for number, row in enumerate(rows):
        families.setdefault(family(row), []).append(number)
    adjusted = np.full(len(rows), np.nan)
    for numbers in families.values():
        p_values = [rows[number].p_value for number in numbers]
        adjusted[numbers] = holm(np.array([np.nan if p is None else p for p in p_values], dtype=np.float64))
    return [replace(row, p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True)]


def _is_shown(column: str, people: Sequence[str]) -> bool:
    return column == "all" or len(people) >= LEAST_SUBGROUP
