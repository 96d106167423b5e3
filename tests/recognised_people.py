"""Descriptors of people who do not exist, beside synthetic outputs: what the group level must find is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from output_folders import layout_of

from benchmarks.synthetic_outputs import image_path, write_output
from bids_refacer.dataset.names import OutputNames, dataset_table
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.dataset.rows.table import write_rows
from bids_refacer.recognition.descriptors import write_descriptors
from bids_refacer.recognition.portraits import figures

VIEWS, SIZE = 3, 16
NOISE = {"original": 0.05, "refaced": 0.05, "average": 50.0, "average-fitted": 50.0}
"""Of each type of image around its person, whose vector has entries of about 1."""
LOST = "defaced"
"""Type of image in which no face is found."""


def write_people(
    output: Path, labels: Sequence[str], tools: Sequence[str], *, seed: int = 0, recognisers: Sequence[str] = ("dlib",)
) -> Path:
    """A synthetic output whose people have descriptors; see `add_descriptors`."""
    write_output(output, labels, tools, seed=seed, samples=1, noise_mm=1.5)
    add_descriptors(output, labels, tools, seed=seed, recognisers=recognisers)
    return output


def add_descriptors(
    output: Path, labels: Sequence[str], tools: Sequence[str], *, seed: int = 0, recognisers: Sequence[str] = ("dlib",)
) -> None:
    """Descriptors of everyone, those of refaced images alike to their own original's, and the table about them."""
    rng, layout = np.random.default_rng(seed), layout_of(output)
    rows: list[RecognitionRow] = []
    for label in labels:
        names = OutputNames(layout=layout, entities={"sub": label}, suffix="T1w")
        people = {name: rng.normal(size=SIZE) for name in recognisers}
        original = {name: _views(person, "original", rng, lights=2) for name, person in people.items()}
        write_descriptors(names.descriptors(None, "original"), original)
        for tool in tools:
            about = {"participant_id": f"sub-{label}", "image": image_path(label), "tool": tool}
            made = {kind: {n: _views(p, kind, rng) for n, p in people.items()} for kind in (*NOISE, LOST)}
            made["original"] = original
            for kind, found in made.items():
                sample = 1 if kind == "refaced" else None
                if kind != "original":
                    write_descriptors(names.descriptors(tool, kind, sample), found)
                for name, values in found.items():
                    own = {"image_type": kind, "sample": sample, "recogniser": name}
                    seen = figures(values[-1], original[name][0])
                    rows += [RecognitionRow(**about, **own, **figure) for figure in seen]
    write_rows(dataset_table(layout, "recognition"), RecognitionRow, rows)


def _views(person: np.ndarray, kind: str, rng: np.random.Generator, lights: int = 1) -> np.ndarray:
    shape = (lights, VIEWS, SIZE)
    if kind == LOST:
        return np.full(shape, np.nan, dtype=np.float32)
    return (person + NOISE[kind] * rng.normal(size=shape)).astype(np.float32)
