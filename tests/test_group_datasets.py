"""The group level on more than one output: halves of array jobs, and another dataset beside this one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from group_runs import LABELS, TOOLS, make_bids, run, table, values
from output_folders import shareable
from scipy import stats

from benchmarks.synthetic_outputs import write_output


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bids(tmp_path_factory.mktemp("group") / "bids", (*LABELS, "99"))


def test_array_jobs_are_merged(bids: Path, tmp_path: Path) -> None:
    """Two halves, with one participant done twice by both, are the whole."""
    whole = write_output(tmp_path / "whole", LABELS, TOOLS)
    halves = [shutil.copytree(whole, tmp_path / name) for name in ("a", "b")]
    for half, labels in zip(halves, (LABELS[:7], LABELS[6:]), strict=True):
        for name in ("surfacedistance", "defacing", "status"):
            header, *lines = (shareable(half) / f"{name}.tsv").read_text().splitlines(True)
            kept = [line for line in lines if line[4:6] in labels]
            (shareable(half) / f"{name}.tsv").write_text("".join([header, *kept]))
    run(bids, whole)
    run(bids, tmp_path / "group", merge_output=tuple(halves))
    run(bids, halves[0], merge_output=(halves[1], halves[0]))
    for name in ("group_surfacedistance", "group_comparison", "group_tools", "group_images"):
        text = (shareable(whole) / f"{name}.tsv").read_text()
        assert (shareable(tmp_path / "group") / f"{name}.tsv").read_text() == text
        assert (shareable(halves[0]) / f"{name}.tsv").read_text() == text


def test_two_datasets_side_by_side(bids: Path, tmp_path: Path) -> None:
    here = write_output(tmp_path / "here", LABELS, TOOLS[:2], gain_mm=0.5)
    there = write_output(tmp_path / "there", [f"9{label}" for label in LABELS], TOOLS, gain_mm=0.0, seed=1)
    run(bids, here, reference_dataset=there)
    place = {"part": "face", "gate": "passed"}
    rows = table(here, "group_reference", image_type="refaced_mean", **place)
    assert [row["tool"] for row in rows] == ["niimath", "pydeface"]
    for row in rows:
        ours, theirs = (
            np.array(list(values(folder, row["tool"], "refaced_mean").values())) for folder in (here, there)
        )
        assert float(row["difference_mm"]) == pytest.approx(ours.mean() - theirs.mean(), rel=1e-4)
        assert float(row["ci_low_mm"]) < float(row["difference_mm"]) < float(row["ci_high_mm"]) < 0
        assert float(row["p_value"]) == pytest.approx(stats.mannwhitneyu(ours, theirs).pvalue, rel=1e-5)
    run(bids, here)
    assert not (shareable(here) / "group_reference.tsv").exists(), (
        "a table that was not asked for must not outlive the run"
    )
