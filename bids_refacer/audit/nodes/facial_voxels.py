"""The node that keeps of each image what the prediction of phenotypes needs, so that it never needs the image again."""

from __future__ import annotations

import time
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
from bids_refacer.audit.nodes.products import Kind
from bids_refacer.audit.nodes.reports import write_report
from bids_refacer.phenotypes.voxels import sample_voxels, write_voxels
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan


class _FacialVoxelsInput(BaseInterfaceInputSpec):
    original = File(exists=True, mandatory=True, desc="its voxels, handed on with the others")
    brain_mask = File(exists=True, mandatory=True, desc="of the original")
    alignment = File(exists=True, mandatory=True, desc="of the original")
    defaced = File(exists=True, mandatory=True)
    samples = InputMultiObject(File(exists=True), mandatory=True, desc="refaced, in order; the first is kept")
    mean = File(desc="of the samples; the same image as the sample where there is one alone")
    average = File(exists=True, mandatory=True, desc="with the population-average face")
    version = traits.Str(desc="of this app; part of the hash")


class _FacialVoxelsOutput(TraitedSpec):
    files = OutputMultiObject(File(), desc="named by `products.facial_voxels`")
    details = File(desc="JSON for the sidecars")


class FacialVoxels(SimpleInterface):
    """Voxels of the defaced, the refaced (first sample, mean of several) and the average-face image."""

    input_spec = _FacialVoxelsInput
    output_spec = _FacialVoxelsOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        given, folder = self.inputs, Path(runtime.cwd)
        images: dict[Kind, str] = {("defaced", None): given.defaced, ("average", None): given.average}
        images["refaced", 1] = given.samples[0]
        if len(given.samples) > 1 and isdefined(given.mean):
            images["refaced_mean", None] = given.mean
        brain = read_scan(given.brain_mask).stored > 0
        alignment = Alignment.from_json(Path(given.alignment))
        written = [given.original]
        for kind, path in images.items():
            scan = read_scan(path)
            if not (scan.values[brain] > 0).any():
                continue  # a tool left nothing of the brain: there is no intensity to compare with
            written.append(str(folder / products.facial_voxels(kind)))
            write_voxels(Path(written[-1]), sample_voxels(scan.volume, brain, alignment))
        report = write_report(folder / "details.json", {"RunTime": round(time.perf_counter() - started, 2)})
        self._results.update(files=written, details=report)
        return runtime
