"""Rows of the two tables that the group page opens with: each tool's figures, and each participant's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bids_refacer.dataset.image_key import suffix_of
from bids_refacer.group.cohorts import Cohort, per_participant
from bids_refacer.group.outputs import SUBJECT, Audit
from bids_refacer.statistics.paired import holm
from bids_refacer.surfaces.region import PARTS
from bids_refacer.surfaces.verdicts import GRADES, JUDGED

Row = dict[str, Any]
STATES = ("failed", "excluded", "missing", "used")  # the worst first
_PROBE = {"refaced_mean": "refaced_mean", "refaced_sample_mean": "refaced"}


def participant_rows(audit: Audit, images: Sequence[Row], of_group: Sequence[Cohort]) -> list[Row]:
    """Table group_participants: how each participant fared with each tool.

    Parameters
    ----------
    audit : Audit
    images : rows of group_images
    of_group : every kind of image behind every gate
    """
    judged: dict[tuple[str, str], Row] = {}
    for known in _judged(audit).to_dict("records"):
        judged[known["image"], known["tool"]] = {str(name): cell for name, cell in known.items()}
    distances = {cohort.suffix: _distances(cohort) for cohort in of_group if cohort.gate == "passed"}
    rows: list[Row] = []
    for (participant, suffix, tool), own in _by_person(images).items():
        row: Row = {"participant_id": participant, "suffix": suffix, "tool": tool}
        row["state"] = min((image["state"] for image in own), key=STATES.index)
        row["reason"] = "; ".join(dict.fromkeys(image["reason"] for image in own if image.get("reason"))) or None
        row |= {"n_images": len(own), "n_used": sum(image["state"] == "used" for image in own)}
        row |= _worst([judged[image["image"], tool] for image in own if (image["image"], tool) in judged])
        row |= distances.get(suffix, {}).get((participant, tool), {})
        rows.append({name: value for name, value in row.items() if value is not None and not _is_nan(value)})
    return rows


def summary_rows(audit: Audit, tables: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Table group_summary: the figures of each tool that people choose by, gathered from the other tables."""
    judged, rows = _judged(audit), []
    images = pd.DataFrame([row for own in _by_person(tables["group_images"]).values() for row in own])
    people = pd.DataFrame(tables["group_participants"])
    for suffix, tool in sorted({(row["suffix"], row["tool"]) for row in tables["group_participants"]}):
        own = images[(images["tool"] == tool) & (images["suffix"] == suffix)]
        row: Row = {"suffix": suffix, "tool": tool, "n_images": len(own)}
        row["n_participants"] = int(((people["tool"] == tool) & (people["suffix"] == suffix)).sum())
        row |= {f"n_{state}": int((own["state"] == state).sum()) for state in STATES}
        row |= _verdicts(judged[judged["image"].isin(own["image"]) & (judged["tool"] == tool)])
        row |= _distance_figures(tables, people, suffix, tool)
        rows.append(row | _identity_figures(tables["group_identification"], suffix, tool, row.get("recovered_type")))
    _add_chance_test(rows)
    return [{name: value for name, value in row.items() if not _is_nan(value)} for row in rows]


def _by_person(images: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Rows of group_images that name an image and a tool, with their suffix."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in images:
        if row.get("image") and row.get("tool"):
            suffix = suffix_of(row["image"])
            found.setdefault((row["participant_id"], suffix, row["tool"]), []).append({**row, "suffix": suffix})
    return found


def _judged(audit: Audit) -> pd.DataFrame:
    """The table of defacing as texts and numbers, with the share left of the worst part; may have no row."""
    rows = audit.defacing.astype(dict.fromkeys(SUBJECT, str)).copy()
    for name in ("face_verdict", "brain_verdict", "worst_part", "version"):
        rows[name] = rows[name].astype(object) if name in rows else None
    left = [f"{part}_left_percent" for part in JUDGED]
    for name in (*left, "brain_removed_percent", "removed_head_fraction", "run_time_s"):
        rows[name] = pd.to_numeric(rows[name], errors="coerce") if name in rows else np.nan
    rows["face_left_percent"] = rows[left].max(axis=1)
    return rows


def _worst(rows: Sequence[Row]) -> Row:
    """The worst verdicts and figures of a participant's images."""
    found: Row = {}
    for name in ("face_verdict", "brain_verdict"):
        grades = [row[name] for row in rows if row[name] in GRADES]
        found[name] = max(grades, key=GRADES.index) if grades else None
    for name, gather in (("face_left_percent", max), ("brain_removed_percent", max), ("run_time_s", np.mean)):
        known = [float(row[name]) for row in rows if not np.isnan(row[name])]
        found[name] = float(gather(known)) if known else None
    return found


def _distances(cohort: Cohort) -> dict[tuple[str, str], Row]:
    """Whole-face distances by participant and tool; recovered and average face on the images that have both."""
    found: dict[tuple[str, str], Row] = {}
    for tool in cohort.images.columns.unique("tool"):
        of_tool = cohort.images[tool].xs(PARTS[0], axis=1, level="part")
        columns: dict[str, pd.Series] = {}
        if "defaced" in of_tool:
            columns["defaced_mm"] = per_participant(of_tool["defaced"].to_frame())["defaced"]
        kind = next((name for name in _PROBE if name in of_tool and of_tool[name].notna().any()), None)
        if kind and "average" in of_tool:
            both = of_tool[[kind, "average"]].dropna()
            pairs = per_participant(both)
            columns |= {"recovered_mm": pairs[kind], "average_mm": pairs["average"]}
        for participant, row in pd.DataFrame(columns).iterrows():
            figures: Row = {str(name): float(value) for name, value in row.items() if not np.isnan(value)}
            if "recovered_mm" in figures:
                figures |= {"recovered_type": kind}
            found[str(participant), str(tool)] = figures
    return found


def _verdicts(rows: pd.DataFrame) -> Row:
    row: Row = {"n_judged": len(rows)}
    if rows.empty:
        return row
    row["version"] = ", ".join(sorted(set(rows["version"].dropna().astype(str)))) or None
    for kind in ("face", "brain"):
        for grade in ("fail", "warn"):
            row[f"n_{kind}_{grade}"] = int((rows[f"{kind}_verdict"] == grade).sum())
    row["face_left_median_percent"] = float(rows["face_left_percent"].median())
    row["brain_removed_median_percent"] = float(rows["brain_removed_percent"].median())
    row["brain_removed_max_percent"] = float(rows["brain_removed_percent"].max())
    row["head_removed_median_percent"] = 100 * float(rows["removed_head_fraction"].median())
    row["run_time_median_s"] = float(rows["run_time_s"].median())
    return {name: value for name, value in row.items() if value is not None}


def _distance_figures(tables: Mapping[str, Sequence[Row]], people: pd.DataFrame, suffix: str, tool: str) -> Row:
    own = people[(people["tool"] == tool) & (people["suffix"] == suffix)]
    row: Row = {}
    for name in ("defaced_mm", "recovered_mm", "average_mm"):
        if name in own and own[name].notna().any():
            row[name] = float(own[name].mean())
    types = [name for name in own.get("recovered_type", pd.Series(dtype=object)).dropna()]
    if not types:
        return row | {"n_pairs": 0}
    wanted = {"suffix": suffix, "tool": tool, "image_type": types[0], "compared_with": "average"}
    wanted |= {"part": PARTS[0], "gate": "passed", "subgroup_column": "all"}
    test = next(_matching(tables["group_comparison"], wanted), {})
    names = {
        "n_pairs": "n_pairs", "n_closer": "n_closer", "difference_mm": "mean_difference_mm", "rank_biserial":
        "rank_biserial", "difference_low_mm": "ci_low_mm", "difference_high_mm": "ci_high_mm",
        "difference_p_holm": "p_holm",
    }  # fmt: skip
    return row | {"recovered_type": types[0]} | {ours: test[theirs] for ours, theirs in names.items() if theirs in test}


def _identity_figures(rows: Sequence[Row], suffix: str, tool: str, kind: str | None) -> Row:
    where = {"suffix": suffix, "tool": tool, "scan": "same", "gate": "passed"}
    probe = next(_matching(rows, {**where, "image_type": _PROBE.get(kind or "")}), {})
    average = next(_matching(rows, {**where, "image_type": "average"}), {})
    names = "n_gallery rank1 rank1_low rank1_high rank1_chance rank5 rank5_chance auc".split()
    row = {name: probe[name] for name in names if name in probe}
    row["n_looked_up"] = probe.get("n_participants", 0)
    return row | ({"average_rank1": average["rank1"]} if "rank1" in average else {})


def _add_chance_test(rows: list[Row]) -> None:
    """Are more people found than by chance? Exact, as bootstrap intervals have no width where all or none are found."""
    for suffix in {row["suffix"] for row in rows}:
        tested = [row for row in rows if row["suffix"] == suffix and row.get("rank1") is not None]
        p_values = []
        for row in tested:
            found = int(row["rank1"] * row["n_looked_up"] + 1e-9)  # a participant with several probes counts in parts
            test = stats.binomtest(found, row["n_looked_up"], row["rank1_chance"], alternative="greater")
            p_values.append(test.pvalue)
        for row, adjusted in zip(tested, holm(np.array(p_values)), strict=True):
            row["rank1_p_holm"] = float(adjusted)


def _matching(rows: Sequence[Row], wanted: Mapping[str, Any]) -> Iterator[Row]:
    return (row for row in rows if all(row.get(name) == value for name, value in wanted.items()))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)
