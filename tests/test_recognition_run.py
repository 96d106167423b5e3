"""Faces are described at the participant level: tables, files, records; and nothing fails where they cannot be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from output_folders import identifiable, layout_of, shareable
from small_datasets import Done, add_image, known_brain, run_with_stand_in, settings_for, start_dataset

from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.dataset.rows.table import rows_of
from bids_refacer.recognition.descriptors import detected, read_descriptors

pytestmark = pytest.mark.slow

TYPES = {"original", "defaced", "average", "refaced", "average-fitted"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The average head, audited with one tool and two views."""
    folder = tmp_path_factory.mktemp("recognition")
    bids = start_dataset(folder / "in")
    add_image(bids, "sub-01_T1w")
    with known_brain():
        return run_with_stand_in(settings_for(bids, folder / "out", recognition=True, recognition_views=2))


def rows(done: Done) -> list[RecognitionRow]:
    return rows_of(layout_of(done.settings.output_dir), RecognitionRow)


def test_every_image_has_its_rows(done: Done) -> None:
    assert done.code == 0, done.out + done.err
    found = rows(done)
    assert {row.image_type for row in found} == TYPES and {row.recogniser for row in found} == {"dlib", "sface"}
    assert {row.view for row in found} == {"mean", "1", "2"} and all(row.note is None for row in found)
    means = {(row.image_type, row.recogniser): row for row in found if row.view == "mean"}
    for name in ("dlib", "sface"):
        assert means["original", name].n_detected == 2
        again = means["original", name].similarity
        assert again is not None and again > 0.6
        # the stand-in paints the average head back as it was
        assert means["refaced", name].similarity == pytest.approx(again, abs=0.05)


def test_descriptors_are_identifiable_and_say_what_they_are(done: Done) -> None:
    folder = identifiable(done.settings.output_dir)
    files = sorted(folder.rglob("*_descriptors.npz"))
    assert len(files) == len(TYPES) and not list(shareable(done.settings.output_dir).rglob("*descriptors*"))
    original = next(path for path in files if "desc-original_" in path.name)
    content = read_descriptors(original, ["dlib", "sface"])
    assert content["dlib"].shape == content["sface"].shape == (2, 2, 128) and detected(content["dlib"]).all()
    sidecar = json.loads(original.with_suffix(".json").read_text())
    assert sidecar["Description"].startswith("Biometric data")


def test_a_second_run_has_nothing_to_do_with_or_without_recognition(done: Done) -> None:
    for changes in ({}, {"recognition": False}):
        again = run_with_stand_in(replace(done.settings, **changes))
        assert again.code == 0 and "1 of them by an earlier run" in again.out
    other = run_with_stand_in(replace(done.settings, recognition_views=3, dry_run=True))
    assert "1 image x tool to do" in other.out
