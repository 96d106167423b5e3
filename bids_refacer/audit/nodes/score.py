"""The node that compares recovered faces with the true one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import trimesh
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes import products
from bids_refacer.audit.nodes.reports import write_report
from bids_refacer.surfaces.face_map import map_face, write_face_map
from bids_refacer.surfaces.gifti import write_map, write_surface
from bids_refacer.surfaces.score import FITTED, Key, Scores, score_candidates
from bids_refacer.surfaces.skin import SkinError, read_skin
from bids_refacer.surfaces.skin_left import Defacing, as_text
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.nifti import read_mask, read_scan, write_scan


class _ScoreInput(BaseInterfaceInputSpec):
    skin = File(exists=True, mandatory=True, desc="of the original")
    face_files = InputMultiObject(File(exists=True), mandatory=True, desc="the true face, handed on with the others")
    original = File(exists=True, mandatory=True)
    defaced = File(exists=True, mandatory=True)
    defacemask = File(exists=True, mandatory=True, desc="what the tool removed or replaced")
    samples = InputMultiObject(File(exists=True), mandatory=True, desc="refaced, in order")
    mean = File(exists=True, desc="of the samples, where there are several")
    average = File(exists=True, mandatory=True, desc="with the population-average face")
    alignment = File(exists=True, mandatory=True, desc="of the original")
    brain_mask = File(exists=True, desc="of the original, for the average face that is fitted to it")
    unknown = File(exists=True, desc="mask of what the attack painted, where that face goes")
    version = traits.Str(desc="of this app; part of the hash")


class _ScoreOutput(TraitedSpec):
    rows = File(desc="JSON: rows of the table of surface distances")
    calibration = File(desc="JSON: rows of the table of calibration")
    files = OutputMultiObject(File(), desc="surfaces, distances and face maps, named by `products`")
    details = File(desc="JSON for the sidecars")
    fitted = File(desc="the image with the average face that was fitted to the original; undefined without one")


class Score(SimpleInterface):
    """Surface distances, face surfaces and distance maps of one image and tool."""

    input_spec = _ScoreInput
    output_spec = _ScoreOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        folder = Path(runtime.cwd)
        candidates: dict[Key, str] = {("defaced", None): self.inputs.defaced, ("average", None): self.inputs.average}
        candidates |= {("refaced", number): path for number, path in enumerate(self.inputs.samples, start=1)}
        if isdefined(self.inputs.mean):
            candidates["refaced_mean", None] = self.inputs.mean
        alignment = Alignment.from_json(Path(self.inputs.alignment))
        skin, defacing = read_skin(Path(self.inputs.skin)), self._defacing()
        if fitted := self._fitted(defacing.original, folder):
            candidates[FITTED] = self._results["fitted"] = fitted
        volumes = _Volumes(candidates)
        scores = score_candidates(skin, volumes, defacing.original.grid, alignment, defacing)
        for name, found in (("rows", scores.rows), ("calibration", scores.calibration)):
            rows = [{column: _plain(value) for column, value in asdict(row).items()} for row in found]
            (folder / f"{name}.json").write_text(json.dumps(rows, allow_nan=False))
            self._results[name] = str(folder / f"{name}.json")
        surfaces = [*self.inputs.face_files, *_write_surfaces(folder, scores)]
        surfaces += _write_face_maps(folder, scores, alignment)
        details: dict[str, object] = {"RunTime": round(time.perf_counter() - started, 2)}
        if scores.removed is not None:
            details["RemovedSkin"] = as_text(scores.removed)
        report = write_report(folder / "details.json", details)
        self._results.update(details=report, files=surfaces)
        return runtime

    def _fitted(self, original: Volume, folder: Path) -> str | None:
        """Write the image with the average face that was fitted to the original; None where that cannot be made."""
        given = self.inputs
        if not isdefined(given.unknown):
            return None
        # these load torch, which the process that plans need not
        from bids_refacer.refacing.drawing.fitted import Original, fitted_average
        from bids_refacer.refacing.drawing.template import face_template

        brain, target = read_mask(given.brain_mask).values, read_mask(given.unknown).values
        truth = Original(original, brain, Alignment.from_json(Path(given.alignment)))
        try:
            made = fitted_average(truth, face_template(), read_scan(given.defaced), target)
        except SkinError:
            return None
        path = folder / products.FITTED_AVERAGE
        write_scan(path, made, made.stored)
        return str(path)

    def _defacing(self) -> Defacing:
        """What the tool did to the original; all images of a head lie on its grid."""
        defaced = read_scan(self.inputs.defaced).values
        return Defacing(read_scan(self.inputs.original).volume, defaced, read_mask(self.inputs.defacemask).values)


class _Volumes(Mapping[Key, np.ndarray]):
    """Images read when they are asked for: all samples of a 1 mm head at once would not fit small machines."""

    def __init__(self, paths: Mapping[Key, str]) -> None:
        self._paths = paths

    def __getitem__(self, key: Key) -> np.ndarray:
        return read_scan(self._paths[key]).values

    def __iter__(self) -> Iterator[Key]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _kept(scores: Scores) -> Iterator[tuple[Key, trimesh.Trimesh]]:
    """The faces whose surfaces are kept."""
    return ((key, face) for key, face in scores.faces.items() if key != FITTED)


def _write_surfaces(folder: Path, scores: Scores) -> list[str]:
    """Write the faces that have triangles (a bare brain has none), and the maps, which all lie on the true face."""
    written = []
    for key, face in _kept(scores):
        if len(face.faces):
            written.append(folder / products.surface(key))
            write_surface(written[-1], face)
        written.append(folder / products.distances(key))
        write_map(written[-1], scores.maps[key], "distance to the recovered surface (mm)")
    return [str(path) for path in written]


def _write_face_maps(folder: Path, scores: Scores, alignment: Alignment) -> list[str]:
    """Write the map by which each face is looked up in a crowd; a bare brain has none."""
    written = []
    for key, face in _kept(scores):
        if len(face.faces):
            written.append(folder / products.face_map(key))
            write_face_map(written[-1], map_face(face, alignment))
    return [str(path) for path in written]


def _plain(value: object) -> object:
    """Numbers as JSON has them; NaN becomes null."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
