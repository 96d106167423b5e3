"""Heads unlike those of training: measured from what an attack sees, told in a sentence, shown in status.tsv."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from output_folders import identifiable, shareable
from small_datasets import add_image, run_with_stand_in, settings_for, start_dataset
from tiny_models import prior_around, tiny_stage
from training_heads import average_heads, small_prior

from bids_refacer.dataset.tables import read_table
from bids_refacer.refacing.attack import DefacedImage, reface
from bids_refacer.refacing.defaced_head import DefacedHead, estimated_head
from bids_refacer.refacing.range_check import UNLIKE_TRAINING, WORDS, extremes, measures, unusual
from bids_refacer.refacing.sampling import SamplingSettings, paired_seeds
from bids_refacer.refacing.unknown import Level
from bids_refacer.refacing.weights import AttackModel
from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.priors import training_ranges
from bids_refacer.training.data.regions import template_region
from bids_refacer.volumes.grid import Alignment, pool
from bids_refacer.volumes.nifti import read_scan

STILL = Alignment(np.eye(4), np.eye(4))
WIDE = {"brain_scale": (0.5, 2.0), "shape": (0.0, 9.0), "misfit": (0.0, 9.0)}


def defaced(head: Head, values: np.ndarray | None = None) -> DefacedHead:
    region, values = template_region(head), head.values if values is None else values
    return estimated_head(Level(values, head.seen & ~region, head.seen & region, 2), small_prior(), "linear")


def test_a_head_that_the_prior_knows_has_no_misfit_and_another_contrast_has() -> None:
    head = average_heads()[0]
    known = measures(defaced(head), STILL, small_prior())
    assert list(known) == list(WORDS)
    assert known["brain_scale"] == pytest.approx(1) and known["misfit"] < 0.02 and known["shape"] < 0.1
    inverted = measures(defaced(head, np.where(head.values > -0.9, -head.values, -1)), STILL, small_prior())
    assert inverted["misfit"] > 10 * known["misfit"]


def test_the_scale_is_that_of_the_brain() -> None:
    """A stretch of 1.1, 1.2 and 1.3 along the axes: their geometric mean, whatever the rotation."""
    turn = np.array([[0, -1, 0, 3], [1, 0, 0, 2], [0, 0, 1, 1], [0, 0, 0, 1]], float)
    stretched = Alignment(np.eye(4), turn @ np.diag([1.1, 1.2, 1.3, 1]))
    found = measures(defaced(average_heads()[0]), stretched, small_prior())
    assert found["brain_scale"] == pytest.approx((1.1 * 1.2 * 1.3) ** (1 / 3))


def test_the_misfit_and_the_shape_are_those_of_the_weighted_fit() -> None:
    """A head that is the mean plus a mode: its score is (nearly) that mode's, and nothing is left over."""
    prior = replace(prior_around(pool(average_heads()[0].values, average_heads()[0].seen)[0], spread=0.1), noise=1e-6)
    block = prior.blocks["intensity"]
    values = block.at(np.array([2.0, 0.0]))
    known = np.ones(values.shape, bool)
    fit = prior.fitted(values, known, np.zeros_like(known))
    np.testing.assert_allclose(fit.scores, [2, 0], atol=1e-3)
    assert fit.misfit < 1e-4
    assert prior.fitted(values + 0.1, known, np.zeros_like(known)).misfit > 0.01


def test_what_an_attack_does_not_see_does_not_count() -> None:
    head = average_heads()[0]
    other = np.where(template_region(head), 0.7, head.values).astype(np.float32)
    assert measures(defaced(head, other), STILL, small_prior()) == measures(defaced(head), STILL, small_prior())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("brain_scale", 0.4, True),
        ("brain_scale", 2.1, True),
        ("shape", 9.1, True),
        ("misfit", 9.1, True),
        ("misfit", -1.0, False),  # nothing fits too well
        ("shape", 8.9, False),
    ],
)
def test_what_is_outside_is_named_with_its_range(name: str, value: float, said: bool) -> None:
    sentences = unusual({"brain_scale": 1.0, "shape": 1.0, "misfit": 1.0, name: value}, WIDE)
    assert len(sentences) == said
    for sentence in sentences:
        low, high = WIDE[name]
        for words in (f"{name} {value:.3g}", f"{low:.3g} to {high:.3g}"):
            assert words in sentence
    size, shape = unusual({"brain_scale": 9.0, "shape": 99.0, "misfit": 1.0}, WIDE)
    assert "brain_scale 9" in size and "shape 99" in shape
    assert unusual({"brain_scale": 9.0, "shape": 99.0, "misfit": 99.0}, {}) == [], "a model that states no range"


def test_ranges_are_the_extremes_over_training_heads_each_judged_by_the_prior_that_did_not_see_it() -> None:
    heads = [replace(head, name=f"sub-{number}") for number, head in enumerate(average_heads())]
    blind = replace(small_prior(), noise=1e9)
    priors = [small_prior(), blind, *[small_prior()] * 3]
    found = training_ranges(heads, priors, [template_region])
    rows = []
    for head, prior in zip(heads, priors, strict=False):
        region = template_region(head)
        view = estimated_head(Level(head.values, head.seen & ~region, head.seen & region, 2), prior, "linear")
        rows.append(measures(view, head.alignment, prior))
    assert found == extremes(rows) and found["misfit"][0] < found["misfit"][1]


def test_a_head_from_which_nothing_is_removed_is_left_out_of_the_ranges() -> None:
    nothing = [lambda head: np.zeros(head.seen.shape, bool)]
    assert training_ranges([average_heads()[0]], [small_prior()] * 5, nothing) == {}


@pytest.mark.parametrize("narrow", [False, True])
def test_the_report_of_an_attack_warns(tmp_path: Path, narrow: bool) -> None:
    head = average_heads()[0]
    ranges = {**WIDE, "misfit": (0.0, 0.0)} if narrow else WIDE
    stages = [tiny_stage(4, 0.0, 1), tiny_stage(2, 0.1, 2)]
    model = AttackModel("tiny", small_prior(), stages, {}, ranges=ranges)
    scan = read_scan(add_image(tmp_path, "sub-01_T1w"))
    removed = template_region(head)
    scan = replace(scan, stored=np.where(removed, 0, scan.stored).astype(scan.stored.dtype))
    image = DefacedImage(scan, head.brain, STILL)
    settings = SamplingSettings(sampler="dpmpp2m", steps=1, device=torch.device("cpu"))
    details = reface(image, model, settings, seeds=paired_seeds((0,)), zone=False, progress=lambda *_: None).details
    assert set(details["Measures"]) == set(WORDS)
    assert details.get("Warnings", []) == [UNLIKE_TRAINING] * narrow, "one sentence, the same for every tool"
    assert len(details.get("OutsideTraining", [])) >= narrow


def test_the_warning_stands_in_status_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bids = start_dataset(tmp_path / "bids")
    add_image(bids, "sub-01_T1w")
    monkeypatch.setenv("STAND_IN_WARNS", "Too large a head.")
    settings = settings_for(bids, tmp_path / "out", deface_tools=("quickshear", "skullstrip"))
    done = run_with_stand_in(settings)
    rows = read_table(shareable(tmp_path / "out") / "status.tsv")
    assert done.code == 0 and [(row["status"], row["message"]) for row in rows] == [("ok", "Too large a head.")] * 2
    said = "Warning: sub-01/anat/sub-01_T1w.nii.gz quickshear, skullstrip: Too large a head."
    assert sum(said in line for line in done.out.splitlines()) == 1
    page = (identifiable(tmp_path / "out") / "sub-01.html").read_text()
    assert "Too large a head." in page
