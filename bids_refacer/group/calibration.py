"""Rows of the table of calibration: whether the spread over samples tells how wrong a recovered face is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from bids_refacer.dataset.image_key import suffix_of
from bids_refacer.dataset.rows.group import GroupCalibrationRow
from bids_refacer.group.cohorts import GATES, session_of
from bids_refacer.group.outputs import SUBJECT, ParticipantOutputs
from bids_refacer.statistics.bootstrap import bootstrap_means

_SUMS = ["share", "predicted", "error", "covered_50", "covered_90"]


def calibration_group_rows(outputs: ParticipantOutputs, reasons: pd.DataFrame, seed: int) -> list[GroupCalibrationRow]:
    """Table group_calibration; empty when every image has one sample.

    Parameters
    ----------
    outputs : ParticipantOutputs
    reasons : DataFrame of `group.cohorts.gate`
    """
    if outputs.calibration.empty:
        return []
    weighted = _weighted(outputs, reasons)
    rows: list[GroupCalibrationRow] = []
    for gate in GATES:
        counted = weighted[weighted["reason"].fillna("") == ""] if gate == "passed" else weighted
        for (suffix, tool, part), group in counted.groupby(["suffix", "tool", "part"]):
            rows += _part_rows(GroupCalibrationRow(suffix=suffix, tool=tool, part=part, gate=gate), group, seed)
    return rows


def _weighted(outputs: ParticipantOutputs, reasons: pd.DataFrame) -> pd.DataFrame:
    """The bins of all images, with each bin's share of its part's area and the figures weighted by it (`_SUMS`)."""
    rows = outputs.calibration.astype(dict.fromkeys([*SUBJECT, "part"], str)).merge(reasons, on=SUBJECT, how="left")
    rows["suffix"] = [suffix_of(image) for image in rows["image"]]
    rows["session"] = [session_of(image) for image in rows["image"]]
    total = rows.groupby([*SUBJECT, "part"])["area_mm2"].transform("sum")
    rows["share"] = rows["area_mm2"] / total
    for name, column in (("predicted", "predicted_mm"), ("error", "error_mm")):
        rows[name] = rows["share"] * rows[column] ** 2  # squares add up, roots do not
    for name in ("covered_50", "covered_90"):
        rows[name] = rows["share"] * rows[name]
    return rows


def _part_rows(about: GroupCalibrationRow, bins: pd.DataFrame, seed: int) -> Iterator[GroupCalibrationRow]:
    """The whole part, then each bin; every participant weighs the same."""
    by_image = bins.groupby(["participant_id", "session", "image"])[_SUMS].sum()
    people = _people(by_image)
    low, high = bootstrap_means(people[["covered_50", "covered_90"]].to_numpy(), seed)
    yield replace(
        _with_figures(replace(about, kind="all"), people),
        covered_50_low=float(low[0]),
        covered_50_high=float(high[0]),
        covered_90_low=float(low[1]),
        covered_90_high=float(high[1]),
    )
    for border, in_bin in bins.groupby("bin_low_mm"):
        # an image without a vertex in this bin has no area there, which is a value and not a gap
        filled = in_bin.set_index(["participant_id", "session", "image"])[_SUMS].reindex(by_image.index, fill_value=0.0)
        row = _with_figures(replace(about, kind="bin", bin_low_mm=float(border)), _people(filled))
        yield replace(row, n_participants=in_bin["participant_id"].nunique())


def _people(images: pd.DataFrame) -> pd.DataFrame:
    return images.groupby(level=["participant_id", "session"]).mean().groupby(level="participant_id").mean()


def _with_figures(row: GroupCalibrationRow, people: pd.DataFrame) -> GroupCalibrationRow:
    mean = people.mean()
    share = float(mean["share"])
    return replace(
        row,
        n_participants=len(people),
        area_share=share,
        predicted_mm=float(np.sqrt(mean["predicted"] / share)),
        error_mm=float(np.sqrt(mean["error"] / share)),
        covered_50=float(mean["covered_50"] / share),
        covered_90=float(mean["covered_90"] / share),
    )
