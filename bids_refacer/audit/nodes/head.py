"""Nodes about the original: read it, find its brain, bring it into the canonical frame, see that it has a face."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes import products
from bids_refacer.audit.nodes.reports import write_report
from bids_refacer.volumes.brain import extract_brain, find_brain, require_face
from bids_refacer.volumes.content.faults import require_sound
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan, write_volume
from bids_refacer.volumes.registration import RegistrationError, align_brain
from bids_refacer.volumes.voxel_units import require_millimetres


class _HeadInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="the original image")


class _HeadOutput(TraitedSpec):
    out_file = File(desc="the image itself, once it passed")


class InspectHead(SimpleInterface):
    """Read the image, so that one that cannot be used is refused before anything costs time."""

    input_spec = _HeadInput
    output_spec = _HeadOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        scan = read_scan(self.inputs.in_file)
        require_millimetres(scan)
        require_sound(scan)
        self._results["out_file"] = self.inputs.in_file
        return runtime


class _BrainMaskInput(_HeadInput):
    num_threads = traits.Int(1, usedefault=True, nohash=True)
    version = traits.Str(desc="of the extractor; part of the hash")


class _BrainMaskOutput(TraitedSpec):
    brain_mask = File(desc="1 in the brain")
    details = File(desc="JSON for the sidecar")


class BrainMask(SimpleInterface):
    """Brain mask of the original image."""

    input_spec = _BrainMaskInput
    output_spec = _BrainMaskOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        scan = read_scan(self.inputs.in_file)
        brain = find_brain(scan.volume, num_threads=self.inputs.num_threads, name=self.inputs.in_file)
        folder = Path(runtime.cwd)
        write_volume(folder / products.BRAIN, Volume(brain.mask, scan.affine), np.uint8)
        details = {**brain.details, "RunTime": round(time.perf_counter() - started, 2)}
        report = write_report(folder / "details.json", details)
        self._results.update(brain_mask=str(folder / products.BRAIN), details=report)
        return runtime


class _DefacedBrainOutput(TraitedSpec):
    brain_mask = File(desc="1 in the brain; undefined where there is none")


class DefacedBrain(SimpleInterface):
    """Brain mask of a defaced image, found in this image alone: the attack is given it, and the verdict reads it."""

    input_spec = _BrainMaskInput
    output_spec = _DefacedBrainOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        given = self.inputs
        try:
            scan = read_scan(given.in_file)
            brain = extract_brain(scan.volume, num_threads=given.num_threads, name=given.in_file)
        except ImageError:
            return runtime  # whoever needs a brain says what is wrong
        path = Path(runtime.cwd) / products.BRAIN
        write_volume(path, Volume(brain, scan.affine), np.uint8)
        self._results["brain_mask"] = str(path)
        return runtime


class _AlignInput(_HeadInput):
    brain_mask = File(exists=True, mandatory=True)
    version = traits.Str(desc="of the registration engine; part of the hash")


class _AlignOutput(TraitedSpec):
    alignment = File(desc="JSON: native world to the canonical frame")


class Align(SimpleInterface):
    """Alignment of the head into the canonical frame, from its brain alone."""

    input_spec = _AlignInput
    output_spec = _AlignOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        scan, mask = read_scan(self.inputs.in_file), read_scan(self.inputs.brain_mask)
        try:
            alignment = align_brain(scan.volume, mask.stored > 0)
        except RegistrationError as error:
            raise ImageError(f"{self.inputs.in_file}: {error}") from error
        path = Path(runtime.cwd) / "alignment.json"
        alignment.to_json(path)
        self._results["alignment"] = str(path)
        return runtime


class _CheckFaceInput(_HeadInput):
    brain_mask = File(exists=True, mandatory=True)
    alignment = File(exists=True, mandatory=True)


class _CheckFaceOutput(_HeadOutput):
    brain_mask = File(desc="as it came in")
    alignment = File(desc="as it came in")


class CheckFace(SimpleInterface):
    """Refuse an image without a face, or of a brain alone; hand on what passed, so that the rest waits for it."""

    input_spec = _CheckFaceInput
    output_spec = _CheckFaceOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        scan, mask = read_scan(self.inputs.in_file), read_scan(self.inputs.brain_mask)
        alignment = Alignment.from_json(Path(self.inputs.alignment))
        require_face(scan.volume, mask.stored > 0, alignment, name=self.inputs.in_file)
        self._results.update(
            out_file=self.inputs.in_file, brain_mask=self.inputs.brain_mask, alignment=self.inputs.alignment
        )
        return runtime
