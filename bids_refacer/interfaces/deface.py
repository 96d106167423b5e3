"""The node that defaces one image with one tool of the registry."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from nipype.interfaces.base.support import Bunch

from bids_refacer.interfaces.defacers import DEFACERS
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume


class _DefaceInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="the original image")
    brain_mask = File(exists=True, mandatory=True)
    alignment = File(exists=True, mandatory=True)
    tool = traits.Str(mandatory=True, desc="a name in the registry")
    version = traits.Str(mandatory=True, desc="of the tool; part of the hash")


class _DefaceOutput(TraitedSpec):
    defaced = File(desc="the defaced image")
    defacemask = File(desc="1 where the tool removed or replaced")
    files = OutputMultiObject(File(), desc="both images")
    details = File(desc="JSON for the sidecars: tool, version, command, quality control, run time")


class Deface(SimpleInterface):
    """Run one defacing tool."""

    input_spec = _DefaceInput
    output_spec = _DefaceOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        folder = Path(runtime.cwd)
        scan, brain = read_scan(self.inputs.in_file), read_scan(self.inputs.brain_mask).stored > 0
        alignment = Alignment.from_json(Path(self.inputs.alignment))
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # what tools leave behind shows the face
            result = DEFACERS[self.inputs.tool].run(scan, brain, alignment, Path(scratch))
        write_scan(folder / "defaced.nii.gz", scan, result.stored)
        write_volume(folder / "defacemask.nii.gz", result.removed, scan.affine, np.uint8)
        details = {**result.details, "RunTime": round(time.perf_counter() - started, 2)}
        (folder / "details.json").write_text(json.dumps(details))
        defaced, mask = str(folder / "defaced.nii.gz"), str(folder / "defacemask.nii.gz")
        self._results.update(defaced=defaced, defacemask=mask, files=[defaced, mask])
        self._results["details"] = str(folder / "details.json")
        return runtime
