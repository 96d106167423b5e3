"""Outputs of the participant level without a run: the average head, defaced by a box, refaced by smoothed copies."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from output_folders import layout_of
from scipy import ndimage
from small_datasets import DATA, add_image, start_dataset

from bids_refacer.audit.nodes.score import _plain
from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.names import OutputNames, dataset_table, sidecar_of
from bids_refacer.dataset.tables import read_table, write_table
from bids_refacer.files import write_json
from bids_refacer.surfaces.face_map import map_face, write_face_map
from bids_refacer.surfaces.gifti import write_map, write_surface
from bids_refacer.surfaces.score import score_images
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume

Row = dict[str, Any]
ALIGNMENT = Alignment(np.eye(4), np.eye(4))
WARNED: Row = {
    "Warnings": ["This head differs from those the attack was trained on."],
    "OutsideTraining": ["misfit 9", "shape 9"],
}
PAGE_TOOLS = ("niimath", "pydeface")


def make_output(root: Path, label: str = "01", tools: tuple[str, ...] = ("quickshear",), samples: int = 2) -> Path:
    """A raw dataset in ``bids`` and the outputs of one head in ``out``; the output's path.

    Every tool gets the same images: what is tested is that pages show what files say.
    """
    bids, output = root / "bids", root / "out"
    start_dataset(bids)
    image = add_image(bids, f"sub-{label}_T1w")
    write_datasets(layout_of(output), bids)
    names = OutputNames(layout=layout_of(output), entities={"sub": label}, suffix="T1w")
    names.anat.mkdir(parents=True)
    names.identifiable_anat.mkdir(parents=True)
    scan = read_scan(image)
    removed = _box(scan.values.shape, scan.affine)
    volumes = {("defaced", None): np.where(removed, 0, scan.values)}
    for number in range(1, samples + 1):
        volumes["refaced", number] = np.where(removed, ndimage.gaussian_filter(scan.values, number), scan.values)
    if samples > 1:
        volumes["refaced_mean", None] = np.mean([volumes["refaced", n + 1] for n in range(samples)], axis=0)
    volumes["average", None] = np.where(removed, np.roll(scan.values, 2, axis=1), scan.values)
    defacing = Defacing(scan.volume, volumes["defaced", None], removed)
    scores = score_images(defacing.original, volumes, ALIGNMENT, defacing)
    brain = read_scan(DATA / "average_brain_mask.nii.gz").values > 0
    write_volume(names.brain_mask(), Volume(brain, scan.affine), "uint8")
    write_json(sidecar_of(names.brain_mask()), {"SkullStripped": False, "Type": "Brain"})
    rows: dict[str, list[Row]] = {"surfacedistance": [], "calibration": [], "status": [], "defacing": []}
    for number, tool in enumerate(tools):
        _write_tool(names, tool, scan, volumes, removed, scores)
        about = {"participant_id": f"sub-{label}", "image": f"sub-{label}/anat/{image.name}", "tool": tool}
        rows["surfacedistance"] += [about | {k: _plain(v) for k, v in asdict(row).items()} for row in scores.rows]
        rows["calibration"] += [about | asdict(row) for row in scores.calibration]
        rows["status"].append(about | {"stage": "output", "status": "ok", "run_time_s": 61.5})
        rows["defacing"].append(about | _verdict(number))
        _write_record(names, tool, about)
    write_surface(names.face_surface(None, "original"), scores.face)
    write_face_map(names.face_map(None, "original"), map_face(scores.face, ALIGNMENT))
    for table, own in rows.items():
        write_table(dataset_table(layout_of(output), table), table, own)
    write_table(dataset_table(layout_of(output), "participants"), "participants", [{"participant_id": f"sub-{label}"}])
    return output


def add_failure(output: Path, label: str, message: str) -> None:
    """A participant of whom there is nothing but a failure."""
    path = dataset_table(layout_of(output), "status")
    about = {"participant_id": f"sub-{label}", "stage": "input", "status": "failed", "message": message}
    write_table(path, "status", [*read_table(path), about])


def _box(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    y, z = (affine[axis, 3] + affine[axis, axis] * np.arange(shape[axis]) for axis in (1, 2))
    return np.broadcast_to((y > 55)[None, :, None] & (z < -25)[None, None, :], shape)


def _write_tool(names: OutputNames, tool: str, scan: Any, volumes: Any, removed: np.ndarray, scores: Any) -> None:
    write_volume(names.defacemask(tool), Volume(removed, scan.affine), "uint8")
    write_json(sidecar_of(names.defacemask(tool)), {"SkullStripped": False})
    for (kind, sample), values in volumes.items():
        path = {
            "defaced": names.defaced(tool),
            "refaced_mean": names.refaced_mean(tool),
            "average": names.average_face(tool),
            "refaced": names.refaced(tool, sample or 0),
        }[kind]
        write_scan(path, scan, values.astype(scan.stored.dtype))
        write_json(sidecar_of(path), {"SkullStripped": False})
        face = scores.faces[kind, sample]
        if len(face.faces):
            write_surface(names.face_surface(tool, kind, sample), face)
            write_face_map(names.face_map(tool, kind, sample), map_face(face, ALIGNMENT))
        write_map(names.distance_map(tool, kind, sample), scores.maps[kind, sample], "distance")


def _verdict(number: int) -> Row:
    left = {f"{part}_left_percent": 1.25 * number for part in ("face", "nose", "eyes", "mouth", "chin", "cheeks")}
    grades = {"face_verdict": ("pass", "warn", "fail")[number % 3], "brain_verdict": "pass", "worst_part": "nose"}
    figures = {"removed_ml": 900.25, "removed_head_ml": 310.5, "removed_head_fraction": 0.08, "run_time_s": 12.25}
    return {"version": "1.2.3", **grades, **left, **figures, "brain_removed_percent": 0.0, "brain_hole_ml": 0.0}


def _write_record(names: OutputNames, tool: str, about: Row) -> None:
    key = {"AppVersion": "0.2.0", "Model": "stand-in", "Seed": 0, "WeightsSHA256": {"a.safetensors": "0" * 64}}
    empty: Row = {"Input": {}, "KeptRefaced": True, "Outputs": {}, "Rows": [], "RunTime": 61.5}
    deface = {"Version": "1.2.3", "Command": f"{tool} ANAT OUT", "Options": {"buffer": 10}}
    record = {
        "Key": key,
        "Image": about["image"],
        "Tool": tool,
        **empty,
        "Deface": deface,
        "Reface": {"Options": {}, **WARNED},
    }
    path = names.record(tool)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
