"""The node that describes heads as face-recognition programs see them.

It never fails an audit: where heads cannot be described, the one row that it has says why.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

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
from bids_refacer.audit.nodes.child import ChildError, run_child
from bids_refacer.audit.nodes.products import FITTED, ORIGINAL, Kind
from bids_refacer.audit.nodes.reports import read_report, write_report
from bids_refacer.dataset.details import member, number, optional_text
from bids_refacer.processes import python_module
from bids_refacer.recognition.job import Job, Picture, write_job

_FOLDER = "described"


class _RecogniseInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, desc="the original, where it is what is described")
    original_rows = File(exists=True, desc="JSON: rows of the original")
    original_details = File(exists=True, desc="JSON: why the original could not be described, if it could not")
    original_files = InputMultiObject(File(exists=True), desc="the original's descriptors, handed on with the others")
    defaced = File(exists=True)
    samples = InputMultiObject(File(exists=True), desc="refaced, in order")
    mean = File(exists=True, desc="of the samples, where there are several")
    average = File(exists=True, desc="with the population-average face")
    alignment = File(exists=True, mandatory=True, desc="of the original")
    fitted = File(exists=True, desc="with the average face that was fitted to the original, where there is one")
    views = traits.Int(mandatory=True, desc="cameras")
    own = traits.Dict(desc="name -> command of the user's recognisers")
    weights = traits.Dict(mandatory=True, desc="recogniser -> SHA-256; part of the hash")
    version = traits.Str(mandatory=True, desc="of this app; part of the hash")
    gpu = traits.Enum("require", "try", "none", mandatory=True, nohash=True)
    num_threads = traits.Int(1, usedefault=True, nohash=True)
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="Nipype's MultiProc counts nodes with this name")


class _RecogniseOutput(TraitedSpec):
    files = OutputMultiObject(File(), desc="descriptors, named by `products.descriptors`")
    rows = File(desc="JSON: rows of the table of recognition")
    details = File(desc="JSON for the sidecars: the problem, where there is one")


class Recognise(SimpleInterface):
    """Run ``python -m bids_refacer.recognition.command`` on an original, or on what was made of it."""

    input_spec = _RecogniseInput
    output_spec = _RecogniseOutput
    command = tuple(python_module("bids_refacer.recognition.command"))

    def _run_interface(self, runtime: Bunch) -> Bunch:
        given, folder = self.inputs, Path(runtime.cwd) / _FOLDER
        folder.mkdir(exist_ok=True)
        problem = self._known_problem() or self._describe(Path(runtime.cwd), folder)
        report = {} if problem else read_report(folder / "recognition.json")
        rows = [*self._rows_of_original(), *([{"note": problem}] if problem else member(report, "Rows", list))]
        (folder / "rows.json").write_text(json.dumps(rows))
        files = [] if problem else sorted(str(path) for path in folder.glob("*.npz"))
        files += given.original_files if isdefined(given.original_files) else []
        details = {"Problem": problem, "RunTime": 0.0} if problem else {"RunTime": number(report, "RunTime")}
        self._results.update(files=files, rows=str(folder / "rows.json"))
        self._results["details"] = write_report(folder / "details.json", details)
        return runtime

    def _known_problem(self) -> str | None:
        """Why the original could not be described, which all that was made of it is compared with."""
        given = self.inputs.original_details
        return optional_text(read_report(given), "Problem") if isdefined(given) else None

    def _rows_of_original(self) -> list[object]:
        """The rows of the original, which stand with those of each tool; none where it could not be described."""
        given = self.inputs.original_rows
        if not isdefined(given) or self._known_problem():
            return []
        rows: list[object] = json.loads(Path(given).read_text())
        return rows

    def _describe(self, folder: Path, out_dir: Path) -> str | None:
        """Run the command; a sentence when it fails."""
        given, threads = self.inputs, str(self.inputs.num_threads)
        job = Job(
            images=self._pictures(),
            alignment=given.alignment,
            described=given.original_files[0] if isdefined(given.original_files) else None,
            views=given.views,
            own=dict(given.own) if isdefined(given.own) else {},
            gpu=given.gpu,
            threads=given.num_threads,
        )
        write_job(folder / "job.json", job)
        environ = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        words = [*self.command, str(folder / "job.json"), str(out_dir)]
        about = given.in_file if isdefined(given.in_file) else given.defaced
        try:
            run_child(words, cwd=str(folder), environ=environ, show=False, about=about)
        except ChildError as error:
            return str(error)
        return None

    def _pictures(self) -> list[Picture]:
        """The images that are described."""
        given = self.inputs
        if isdefined(given.in_file):
            return [_picture(ORIGINAL, given.in_file)]
        kinds: dict[Kind, str] = {("defaced", None): given.defaced, ("average", None): given.average}
        kinds |= {("refaced", number): path for number, path in enumerate(given.samples, start=1)}
        kinds |= {("refaced_mean", None): given.mean} if isdefined(given.mean) else {}
        kinds |= {FITTED: given.fitted} if isdefined(given.fitted) else {}
        return [_picture(kind, path) for kind, path in kinds.items()]


def _picture(kind: Kind, path: str) -> Picture:
    return Picture(image_type=kind[0], sample=kind[1], name=products.descriptors(kind), path=path)
