"""Rows of the group's tables of surface distances: descriptions, paired comparisons, tools against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_refacer.group.cohorts import Cohort, Subgroup, per_participant
from bids_refacer.statistics.bootstrap import bootstrap_means
from bids_refacer.statistics.comparison import friedman, post_hoc, rank_biserial, two_groups
from bids_refacer.statistics.paired import holm, wilcoxon_paired
from bids_refacer.surfaces.region import PARTS

Row = dict[str, Any]

RECOVERED = ("refaced_sample_mean", "refaced_mean")
BASELINES = ("average", "defaced")
LEAST_SUBGROUP = 3  # participants of a subgroup; figures of fewer would describe persons


def description_rows(cohort: Cohort, members: Mapping[Subgroup, Sequence[str]], seed: int) -> Iterator[Row]:
    """Table group_surfacedistance: one row for each tool, type of image, part and subgroup."""
    everyone = per_participant(cohort.images)
    for (column, value), people in members.items():
        values = everyone.reindex(people)
        figures = _described(values.to_numpy(), seed, shown=_is_shown(column, people))
        for number, (tool, image_type, part) in enumerate(values.columns):
            about = {"tool": tool, "image_type": image_type, "part": part}
            place = {"subgroup_column": column, "subgroup": value}
            yield {**_kind(cohort), **about, **place, **{name: cells[number] for name, cells in figures.items()}}


def _described(values: np.ndarray, seed: int, *, shown: bool) -> dict[str, list[Any]]:
    """Figures of each column of (participants, columns) mm."""
    count = np.sum(~np.isnan(values), axis=0)
    figures: dict[str, list[Any]] = {"n_participants": count.tolist(), "n_missing": (len(values) - count).tolist()}
    if not shown or not len(values):
        return figures
    frame = pd.DataFrame(values)
    low, high = bootstrap_means(values, seed)
    q1, median, q3 = (frame.quantile(q).to_numpy() for q in (0.25, 0.5, 0.75))
    found = {
        "mean_mm": frame.mean().to_numpy(), "ci_low_mm": low, "ci_high_mm": high, "sd_mm": frame.std(ddof=1).to_numpy(),
        "median_mm": median, "q1_mm": q1, "q3_mm": q3, "iqr_mm": q3 - q1,
    }  # fmt: skip
    return {**figures, **{name: cells.tolist() for name, cells in found.items()}}


def comparison_rows(cohort: Cohort, members: Mapping[Subgroup, Sequence[str]], seed: int) -> list[Row]:
    """Table group_comparison: recovered against average and defaced, paired by participant, Holm over tools.

    Subgroups are compared in the whole face alone.
    """
    rows: list[Row] = []
    for tool in cohort.images.columns.unique("tool"):
        types = cohort.images[tool].columns.unique("image_type")
        for recovered in [name for name in RECOVERED if name in types]:
            for other in [name for name in BASELINES if name in types]:
                ours = cohort.images[tool][recovered]
                theirs = cohort.images[tool][other].reindex(columns=ours.columns)
                # an image that lacks one of the two must not enter the participant's mean of the other
                both = ours.notna() & theirs.notna()
                pairs = (per_participant(ours.where(both)), per_participant(theirs.where(both)))
                about = {**_kind(cohort), "tool": tool, "image_type": recovered, "compared_with": other}
                rows += _paired_rows(about, *pairs, members, seed)
    return with_holm(rows, ("image_type", "compared_with", "part", "subgroup_column", "subgroup"))


def _paired_rows(
    about: Row, ours: pd.DataFrame, theirs: pd.DataFrame, members: Mapping[Subgroup, Sequence[str]], seed: int
) -> Iterator[Row]:
    for (column, value), people in members.items():
        first, second = ours.reindex(people), theirs.reindex(people)
        difference = (first - second).to_numpy()
        low, high = bootstrap_means(difference, seed) if len(people) else (np.zeros(0), np.zeros(0))
        for number, part in enumerate(first.columns):
            if column != "all" and part != PARTS[0]:
                continue  # subgroups are tested in the whole face: seven times fewer chances to be fooled
            known = difference[:, number][~np.isnan(difference[:, number])]
            row = {**about, "part": part, "subgroup_column": column, "subgroup": value, "n_pairs": len(known)}
            if len(known) > 1 and _is_shown(column, people):
                test = wilcoxon_paired(first[part].to_numpy(), second[part].to_numpy())
                row |= {
                    "mean_difference_mm": float(known.mean()),
                    "ci_low_mm": float(low[number]),
                    "ci_high_mm": float(high[number]),
                    "median_difference_mm": test.median_difference,
                    "n_closer": int(np.sum(known < 0)),
                    "statistic": test.statistic,
                    "p_value": test.p_value,
                    "rank_biserial": rank_biserial(known, np.zeros(len(known))),
                }
            yield row


def tools_rows(cohort: Cohort) -> list[Row]:
    """Table group_tools: Friedman's test over all tools, then every pair of them."""
    values = per_participant(cohort.images)
    rows: list[Row] = []
    for image_type in values.columns.unique("image_type"):
        of_type = values.xs(image_type, axis=1, level="image_type")
        for part in of_type.columns.unique("part"):
            frame = of_type.xs(part, axis=1, level="part")
            frame = frame.loc[:, frame.notna().any()]
            if frame.shape[1] > 1:
                about = {**_kind(cohort), "image_type": image_type, "part": part, "n_tools": frame.shape[1]}
                rows += [{**about, **row} for row in _tool_tests(frame)]
    return rows


def _tool_tests(frame: pd.DataFrame) -> list[Row]:
    """Tests of participants x tools."""
    values, tools = frame.to_numpy(), list(frame.columns)
    whole = friedman(values)
    rows: list[Row] = [
        {
            "test": "friedman",
            "n_participants": whole.n,
            "statistic": whole.statistic,
            "p_value": whole.p_value,
            "kendall_w": whole.kendall_w,
        }
    ]
    for first, second, test, adjusted in post_hoc(values):
        rows.append(
            {
                "test": "wilcoxon",
                "tool": tools[first],
                "other_tool": tools[second],
                "n_participants": test.n_pairs,
                "statistic": test.statistic,
                "p_value": test.p_value,
                "p_holm": adjusted,
                "median_difference_mm": test.median_difference,
                "rank_biserial": rank_biserial(values[:, first], values[:, second]),
            }
        )
    return rows


def reference_rows(cohort: Cohort, reference: Cohort, seed: int) -> list[Row]:
    """Table group_reference: this dataset beside another, for what both have."""
    ours, theirs = per_participant(cohort.images), per_participant(reference.images)
    rows: list[Row] = []
    for column in [name for name in ours.columns if name in set(theirs.columns)]:
        tool, image_type, part = column
        first, second = ours[column].to_numpy(), theirs[column].to_numpy()
        test = two_groups(first, second, seed)
        rows.append(
            {
                **_kind(cohort), "tool": tool, "image_type": image_type, "part": part,
                "n_participants": test.n_first, "n_reference": test.n_second,
                "mean_mm": float(ours[column].mean()), "reference_mean_mm": float(theirs[column].mean()),
                "difference_mm": test.difference, "ci_low_mm": test.low, "ci_high_mm": test.high,
                "statistic": test.statistic, "p_value": test.p_value, "rank_biserial": test.rank_biserial,
            }
        )  # fmt: skip
    return with_holm(rows, ("image_type", "part"))


def with_holm(rows: list[Row], family: Sequence[str]) -> list[Row]:
    """Add ``p_holm``: adjusted over the rows that agree in the columns of `family`."""
    families: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        families.setdefault(tuple(row[name] for name in family), []).append(row)
    for members in families.values():
        p_values = np.array([row.get("p_value", np.nan) for row in members], dtype=np.float64)
        for row, adjusted in zip(members, holm(p_values), strict=True):
            row["p_holm"] = float(adjusted)
    return rows


def _kind(cohort: Cohort) -> Row:
    return {"suffix": cohort.suffix, "gate": cohort.gate}


def _is_shown(column: str, people: Sequence[str]) -> bool:
    return column == "all" or len(people) >= LEAST_SUBGROUP
