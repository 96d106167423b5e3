"""Rows of the table of calibration: whether the spread over samples tells how wrong a recovered face is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_refacer.dataset.image_key import suffix_of
from bids_refacer.group.cohorts import GATES, session_of
from bids_refacer.group.outputs import SUBJECT, Audit
from bids_refacer.statistics.bootstrap import bootstrap_means

Row = dict[str, Any]
_SUMS = ["share", "predicted", "error", "covered_50", "covered_90"]


def calibration_group_rows(audit: Audit, reasons: pd.DataFrame, seed: int) -> list[Row]:
    """Table group_calibration; empty when every image has one sample.

    Parameters
    ----------
    audit : Audit
    reasons : DataFrame of `group.gates.gate`
    """
    if audit.calibration.empty:
        return []
    rows = audit.calibration.astype(dict.fromkeys([*SUBJECT, "part"], str)).merge(reasons, on=SUBJECT, how="left")
    rows["suffix"] = [suffix_of(image) for image in rows["image"]]
    rows["session"] = [session_of(image) for image in rows["image"]]
    total = rows.groupby([*SUBJECT, "part"])["area_mm2"].transform("sum")
    rows["share"] = rows["area_mm2"] / total
    for name, column in (("predicted", "predicted_mm"), ("error", "error_mm")):
        rows[name] = rows["share"] * rows[column] ** 2  # squares add up, roots do not
    for name in ("covered_50", "covered_90"):
        rows[name] = rows["share"] * rows[name]
    found: list[Row] = []
    for gate in GATES:
        counted = rows[rows["reason"].fillna("") == ""] if gate == "passed" else rows
        for (suffix, tool, part), group in counted.groupby(["suffix", "tool", "part"]):
            about = {"suffix": suffix, "tool": tool, "part": part, "gate": gate}
            found += [{**about, **row} for row in _part_rows(group, seed)]
    return found


def _part_rows(rows: pd.DataFrame, seed: int) -> list[Row]:
    """The whole part, then each bin; every participant weighs the same."""
    by_image = rows.groupby(["participant_id", "session", "image"])[_SUMS].sum()
    people = _people(by_image)
    low, high = bootstrap_means(people[["covered_50", "covered_90"]].to_numpy(), seed)
    whole = {"kind": "all", **_figures(people)}
    for number, name in enumerate(("covered_50", "covered_90")):
        whole |= {f"{name}_low": float(low[number]), f"{name}_high": float(high[number])}
    found = [whole]
    for border, in_bin in rows.groupby("bin_low_mm"):
        # an image without a vertex in this bin has no area there, which is a value and not a gap
        filled = in_bin.set_index(["participant_id", "session", "image"])[_SUMS].reindex(by_image.index, fill_value=0.0)
        count = in_bin["participant_id"].nunique()
        found.append({"kind": "bin", "bin_low_mm": float(border), **_figures(_people(filled)), "n_participants": count})
    return found


def _people(images: pd.DataFrame) -> pd.DataFrame:
    return images.groupby(level=["participant_id", "session"]).mean().groupby(level="participant_id").mean()


def _figures(people: pd.DataFrame) -> Row:
    mean = people.mean()
    share = float(mean["share"])
    return {
        "n_participants": len(people),
        "area_share": share,
        "predicted_mm": float(np.sqrt(mean["predicted"] / share)),
        "error_mm": float(np.sqrt(mean["error"] / share)),
        "covered_50": float(mean["covered_50"] / share),
        "covered_90": float(mean["covered_90"] / share),
    }
