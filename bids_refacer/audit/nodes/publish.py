"""Nodes that write into the output tree. The graph says where each file goes and how its sidecar begins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
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

from bids_refacer.audit.nodes.reports import read_report
from bids_refacer.dataset.details import Json, number, texts
from bids_refacer.dataset.names import sidecar_of
from bids_refacer.dataset.records import Record
from bids_refacer.dataset.sidecars import Sidecar
from bids_refacer.files import unfinished, write_json
from bids_refacer.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a file of a node goes in the output, and its sidecar there."""

    target: Path
    sidecar: Sidecar


class _PublishInput(BaseInterfaceInputSpec):
    files = InputMultiObject(File(exists=True), mandatory=True, desc="those without an output are not published")
    outputs = traits.Dict(mandatory=True, desc="file name -> Output")
    details = File(exists=True, mandatory=True, desc="JSON of the node that made the files, for their sidecars")


class _PublishOutput(TraitedSpec):
    out_files = OutputMultiObject(File(), desc="everything that was written")


class Publish(SimpleInterface):
    """Copy files to their places in the output, each with its sidecar; each appears whole or not at all."""

    input_spec = _PublishInput
    output_spec = _PublishOutput
    _always_run = True  # a cached node knows nothing of outputs that someone removed

    def _run_interface(self, runtime: Bunch) -> Bunch:
        report = read_report(self.inputs.details)
        written = []
        for file in map(Path, self.inputs.files):
            if file.name in self.inputs.outputs:
                written += _publish(file, self.inputs.outputs[file.name], report)
        self._results["out_files"] = written
        return runtime


def _publish(file: Path, output: Output, report: Json) -> list[str]:
    """Copy one file and write its sidecar; both paths."""
    with unfinished(output.target) as temporary:
        shutil.copyfile(file, temporary)
    sidecar = sidecar_of(output.target)
    write_json(sidecar, output.sidecar.complete(report))
    return [str(output.target), str(sidecar)]


class _WriteRecordInput(BaseInterfaceInputSpec):
    target = traits.Str(mandatory=True, desc="where the record goes")
    layout = traits.Instance(Layout, mandatory=True, desc="the folders of the output, by which files are named")
    content = traits.Dict(mandatory=True, desc="what was known before the run")
    rows = File(exists=True, mandatory=True)
    calibration = File(exists=True)
    deface_details = File(exists=True, mandatory=True)
    reface_details = File(exists=True, mandatory=True)
    score_details = File(exists=True, mandatory=True)
    brain_files = InputMultiObject(File(exists=True))
    defaced_files = InputMultiObject(File(exists=True))
    refaced_files = InputMultiObject(File(exists=True))
    surface_files = InputMultiObject(File(exists=True))
    voxel_files = InputMultiObject(File(exists=True))
    descriptor_files = InputMultiObject(File(exists=True))
    recognition = File(exists=True, desc="JSON: rows of the table of recognition")


class _WriteRecordOutput(TraitedSpec):
    record = File()


class WriteRecord(SimpleInterface):
    """The last node of an image and tool: its record says that everything before it was done and published."""

    input_spec = _WriteRecordInput
    output_spec = _WriteRecordOutput
    _always_run = True

    def _run_interface(self, runtime: Bunch) -> Bunch:
        given = self.inputs
        kinds = ("brain", "defaced", "refaced", "surface", "voxel", "descriptor")
        lists = [getattr(given, f"{kind}_files") for kind in kinds]
        published = sorted({file for files in lists if isdefined(files) for file in files})
        reports = {"Deface": given.deface_details, "Reface": given.reface_details, "Score": given.score_details}
        details = {name: read_report(file) for name, file in reports.items()}
        details["Reface"] = _warned(details["Reface"], given.brain_files if isdefined(given.brain_files) else ())
        content = {
            **given.content,
            **details,
            "RunTime": round(sum(number(part, "RunTime") for part in details.values()), 1),
            "Rows": json.loads(Path(given.rows).read_text()),
            "Calibration": json.loads(Path(given.calibration).read_text()) if isdefined(given.calibration) else [],
            **self._recognition(),
            "Outputs": sizes(published, given.layout),
        }
        write_json(Path(given.target), Record.from_json(content).to_json())
        self._results["record"] = given.target
        return runtime

    def _recognition(self) -> dict[str, object]:
        """What was found of recognition; nothing where nobody was to be recognised."""
        given = self.inputs
        if not isdefined(given.recognition):
            return {}
        return {"Recognition": json.loads(Path(given.recognition).read_text())}


def _warned(report: dict[str, object], brain_files: Iterable[str]) -> dict[str, object]:
    """What the attack reported, with the warnings of the brain mask's sidecar before its own."""
    sidecars = [read_report(file) for file in brain_files if file.endswith(".json")]
    warnings = [text for sidecar in sidecars for text in texts(sidecar, "Warnings")]
    return {**report, "Warnings": [*warnings, *texts(report, "Warnings")]} if warnings else report


def sizes(files: Iterable[str], layout: Layout) -> dict[str, int]:
    """Bytes of published files, by the names that a record knows them by."""
    return {layout.name_of(Path(file)): Path(file).stat().st_size for file in files}
