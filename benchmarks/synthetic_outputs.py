"""Participant outputs that were never computed: tables, records and face maps of heads that do not exist.

For tests and benchmarks of the group level. Distances are drawn so that what the group must find is known: a recovered
face is `gain_mm` nearer to the true one than the average face, in every participant and tool alike, plus noise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bids_refacer.dataset.names import OutputNames, dataset_table
from bids_refacer.dataset.tables import write_table
from bids_refacer.layout import Layout
from bids_refacer.surfaces.face_map import COLUMNS, ROWS, FaceMap, write_face_map
from bids_refacer.surfaces.region import PARTS, REMOVED

Row = dict[str, Any]
FIGURES = ("to_true_mm", "to_recovered_mm", "median_mm", "p95_mm", "hausdorff_mm", "signed_mean_mm")
MEANS = {"defaced": 7.0, "average": 2.0}


def image_path(label: str, session: str | None = None, run: int | None = None) -> str:
    folder = f"sub-{label}/" + (f"ses-{session}/" if session else "")
    name = f"sub-{label}" + (f"_ses-{session}" if session else "") + (f"_run-{run}" if run else "")
    return f"{folder}anat/{name}_T1w.nii.gz"


def image_rows(
    label: str, image: str, tool: str, rng: np.random.Generator, *, samples: int = 2, gain_mm: float = 0.5
) -> list[Row]:
    """Rows of surfacedistance.tsv of one image and tool."""
    person = rng.normal(0, 0.3)
    values = {("average", None): MEANS["average"] + person, ("defaced", None): MEANS["defaced"] + rng.normal(0, 1)}
    own = [MEANS["average"] - gain_mm + person + rng.normal(0, 0.1) for _ in range(samples)]
    values |= {("refaced", number): value for number, value in enumerate(own, start=1)}
    values[("refaced_sample_mean", None)] = float(np.mean(own))
    values[("refaced_best", 1 + int(np.argmin(own)))] = min(own)
    if samples > 1:
        values[("refaced_mean", None)] = float(np.mean(own)) - 0.05
    rows = []
    for (image_type, sample), masd in values.items():
        for number, part in enumerate((*PARTS, REMOVED)):
            row: Row = {"participant_id": f"sub-{label}", "image": image, "tool": tool, "image_type": image_type}
            row |= {"sample": sample, "part": part, "masd_mm": masd + 0.1 * number, "n_vertices": 1000}
            rows.append(row | dict.fromkeys(FIGURES, masd))
    return rows


def record(image: str, tool: str, **key: Any) -> Row:
    values = {"AppVersion": "0.1.0", "Model": "m", "WeightsSHA256": {}, "Sampler": "heun", "Steps": 5, "NumSamples": 2}
    whole = {"Tool": tool, "ToolVersion": "1", "Seed": 0, **values, **key}
    empty: Row = {
        "Input": {},
        "KeptRefaced": True,
        "Outputs": {},
        "Rows": [],
        "Deface": {},
        "Reface": {},
        "RunTime": 1.0,
    }
    return {"Key": whole, "Image": image, "Tool": tool, **empty}


def write_output(
    output: Path,
    labels: Sequence[str],
    tools: Sequence[str],
    *,
    seed: int = 0,
    samples: int = 2,
    gain_mm: float = 0.5,
    images: Sequence[tuple[str | None, int | None]] = ((None, None),),
    noise_mm: float | None = None,
    records: bool = True,
    **key: Any,
) -> Path:
    """Write an output directory; with `noise_mm` also face maps, recovered faces being the truth plus that noise."""
    rng = np.random.default_rng(seed)
    distances: list[Row] = []
    defacing: list[Row] = []
    status: list[Row] = []
    for label in labels:
        truth = random_face(rng)
        for session, run in images:
            image = image_path(label, session, run)
            entities = {"sub": label} | ({"ses": session} if session else {}) | ({"run": str(run)} if run else {})
            names = OutputNames(layout=Layout.of(output), entities=entities, suffix="T1w")
            scan = truth + smooth(rng, 0.3) if len(images) > 1 else truth
            if noise_mm is not None:
                _save(names.face_map(None, "original"), scan)
            for tool in tools:
                about = {"participant_id": f"sub-{label}", "image": image, "tool": tool}
                distances += image_rows(label, image, tool, rng, samples=samples, gain_mm=gain_mm)
                defacing.append({**about, "version": "1", "removed_ml": 500.0, "brain_removed_percent": 0.0})
                status.append({**about, "stage": "output", "status": "ok", "run_time_s": 60.0})
                if records:
                    path = names.record(tool)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(record(image, tool, **key)))
                if noise_mm is not None:
                    _write_faces(names, tool, scan, rng, samples, noise_mm)
    for table, rows in (("surfacedistance", distances), ("defacing", defacing), ("status", status)):
        write_table(dataset_table(Layout.of(output), table), table, rows)
    return output


def random_face(rng: np.random.Generator) -> np.ndarray:
    """A face that differs from others by smooth bumps of some mm: (ROWS, COLUMNS) float64, mm."""
    return 95.0 + smooth(rng, 4.0)


def smooth(rng: np.random.Generator, size_mm: float) -> np.ndarray:
    """A smooth random field of the given standard deviation."""
    y, x = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLUMNS * 1j]
    waves = [(i, j) for i in range(5) for j in range(5) if i + j]
    field = sum(rng.normal() * np.cos(np.pi * i * y) * np.cos(np.pi * j * x) / (i + j) for i, j in waves)
    return field * size_mm / np.std(field)


def _write_faces(
    names: OutputNames, tool: str, truth: np.ndarray, rng: np.random.Generator, samples: int, noise_mm: float
) -> None:
    for number in range(1, samples + 1):
        _save(names.face_map(tool, "refaced", number), truth + smooth(rng, noise_mm))
    if samples > 1:
        _save(names.face_map(tool, "refaced_mean"), truth + smooth(rng, noise_mm / np.sqrt(samples)))
    _save(names.face_map(tool, "average"), 95.0 + smooth(rng, 0.3))
    _save(names.face_map(tool, "defaced"), 60.0 + smooth(rng, 3.0))


def _save(path: Path, depth: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_face_map(path, FaceMap(depth.astype(np.float32), np.eye(4)))
