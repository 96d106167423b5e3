"""The node that defaces one image with one tool of the registry."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes import products
from bids_refacer.defacers import DEFACERS, DefacerError
from bids_refacer.defacers.run_program import no_space, time_limit
from bids_refacer.defacers.tools_file import make_tool
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume


class _DefaceInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="the original image")
    brain_mask = File(exists=True, mandatory=True)
    alignment = File(exists=True, mandatory=True)
    tool = traits.Str(mandatory=True, desc="a name in the registry")
    version = traits.Str(mandatory=True, desc="of the tool; part of the hash")
    definition = traits.Dict(desc="the table of a tool that the registry does not have")
    warnings = traits.List(traits.Str(), desc="about this tool and this kind of image, for the sidecars")
    keep_header_text = traits.Bool(mandatory=True, desc="whether texts of the original's header are kept")
    timeout_s = traits.Float(nohash=True, desc="seconds that a program may take")


class _DefaceOutput(TraitedSpec):
    defaced = File(desc="the defaced image")
    defacemask = File(desc="1 where the tool removed or replaced, to be published")
    region = File(desc="the same without air that only the published mask has")
    files = OutputMultiObject(File(), desc="defaced image and defacemask")
    details = File(desc="JSON for the sidecars: tool, version, command, quality control, run time")


class Deface(SimpleInterface):
    """Run one defacing tool."""

    input_spec = _DefaceInput
    output_spec = _DefaceOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        folder = Path(runtime.cwd)
        try:
            details = self._deface(folder)
        except OSError as error:
            if sentence := no_space(error, self.inputs.in_file, folder):
                raise DefacerError(sentence) from error
            raise
        details |= {"Warnings": list(self.inputs.warnings)} if self.inputs.warnings else {}
        details["RunTime"] = round(time.perf_counter() - started, 2)
        (folder / "details.json").write_text(json.dumps(details))
        defaced, mask = str(folder / products.DEFACED), str(folder / products.DEFACEMASK)
        self._results.update(defaced=defaced, defacemask=mask, files=[defaced, mask])
        self._results.update(region=str(folder / "region.nii.gz"), details=str(folder / "details.json"))
        return runtime

    def _deface(self, folder: Path) -> dict[str, Any]:
        """Run the tool, write both images, and return its details."""
        given = self.inputs
        scan, brain = read_scan(given.in_file), read_scan(given.brain_mask).stored > 0
        alignment = Alignment.from_json(Path(given.alignment))
        tool = make_tool(given.tool, given.definition) if isdefined(given.definition) else DEFACERS[given.tool]
        limit = given.timeout_s if isdefined(given.timeout_s) else None
        # what tools leave behind shows the face
        with tempfile.TemporaryDirectory(dir=folder) as scratch, time_limit(limit):
            result = tool.run(scan, brain, alignment, Path(scratch))
        write_scan(folder / products.DEFACED, scan, result.stored, keep_texts=given.keep_header_text)
        write_volume(folder / products.DEFACEMASK, Volume(result.mask, scan.affine), np.uint8)
        write_volume(folder / "region.nii.gz", Volume(result.removed, scan.affine), np.uint8)
        return dict(result.details)
