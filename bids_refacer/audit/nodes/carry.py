"""Nodes that deface an image as another one of its session was defaced: register both, carry the mask."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, OutputMultiObject, SimpleInterface, TraitedSpec, traits
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes import products
from bids_refacer.audit.nodes.publish import sizes
from bids_refacer.audit.nodes.reports import read_report, write_report
from bids_refacer.dataset.records import DefacedRecord
from bids_refacer.defacers.tool import zero_region
from bids_refacer.files import write_json
from bids_refacer.layout import Layout
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.masks import carry_mask
from bids_refacer.volumes.nifti import read_mask, read_scan, write_scan, write_volume
from bids_refacer.volumes.registration import RegistrationError, align_brain, align_heads
from bids_refacer.volumes.scan import Scan
from bids_refacer.volumes.voxel_units import require_millimetres


class _RegisterInput(BaseInterfaceInputSpec):
    moving = File(exists=True, mandatory=True, desc="the image to be defaced")
    fixed = File(exists=True, mandatory=True, desc="the image whose mask there is")
    brain_mask = File(exists=True, mandatory=True, desc="of `fixed`")
    in_register = traits.Bool(False, usedefault=True, desc="both are parts of one acquisition, in one place")
    version = traits.Str(mandatory=True, desc="of the registration engine; part of the hash")


class _RegisterOutput(TraitedSpec):
    matrix = File(desc="JSON: (4, 4) moving world -> fixed world, RAS+ mm, rigid")
    alignment = File(desc="of `moving`")


class Register(SimpleInterface):
    """Rigid registration of two images of one head, and the alignment of the first by that of the second."""

    input_spec = _RegisterInput
    output_spec = _RegisterOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        given = self.inputs
        moving, matrix = read_scan(given.moving), np.eye(4)
        require_millimetres(moving)
        fixed, brain = read_scan(given.fixed), read_mask(given.brain_mask).values
        try:
            if not given.in_register:
                matrix = align_heads(moving.volume, fixed.volume, brain)
            found = align_brain(fixed.volume, brain)
        except RegistrationError as error:
            raise ImageError(f"{given.moving} was not defaced with the mask of {given.fixed}: {error}") from error
        path, alignment = Path(runtime.cwd) / "matrix.json", Path(runtime.cwd) / "alignment.json"
        path.write_text(json.dumps(matrix.tolist()))
        moved(found, matrix).to_json(alignment)
        self._results.update(matrix=str(path), alignment=str(alignment))
        return runtime


class _CarryInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="the image to be defaced")
    matrix = File(exists=True, mandatory=True, desc="of `Register`")
    defacemask = File(exists=True, mandatory=True, desc="of the other image")
    brain_mask = File(exists=True, mandatory=True, desc="of the other image")
    details = traits.Dict(mandatory=True, desc="what is known before: tool, version, whose mask")
    keep_header_text = traits.Bool(mandatory=True, desc="whether texts of the header of `in_file` are kept")


class _CarryOutput(TraitedSpec):
    files = OutputMultiObject(File(), desc="defaced image and defacemask")
    details = File(desc="JSON for the sidecars")


class Carry(SimpleInterface):
    """Remove from an image what was removed or replaced in another one."""

    input_spec = _CarryInput
    output_spec = _CarryOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        started = time.perf_counter()
        given, folder = self.inputs, Path(runtime.cwd)
        scan, matrix = read_scan(given.in_file), _read_matrix(given.matrix)
        removed = carried(given.defacemask, scan, matrix, continued=True)
        brain = carried(given.brain_mask, scan, matrix, continued=False)
        result = zero_region(scan, removed, brain, given.details)
        defaced, mask = folder / products.DEFACED, folder / products.DEFACEMASK
        write_scan(defaced, scan, result.stored, keep_texts=given.keep_header_text)
        write_volume(mask, Volume(removed, scan.affine), np.uint8)
        details = dict(result.details)
        quality = details.pop("QualityControl")  # sidecars have it after the transform
        details |= {"RigidTransform": np.round(matrix, 6).tolist(), "QualityControl": quality}
        details["RunTime"] = round(time.perf_counter() - started, 2)
        report = write_report(folder / "details.json", details)
        self._results.update(files=[str(defaced), str(mask)], details=report)
        return runtime


class _CarryHeadInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="the image to be defaced")
    matrix = File(exists=True, mandatory=True, desc="of `Register`")
    reference = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True, desc="of the reference")
    version = traits.Str(mandatory=True, desc="of the registration engine; part of the hash")


class _CarryHeadOutput(TraitedSpec):
    brain_mask = File(desc="on the grid of `in_file`")
    alignment = File(desc="of `in_file`")


class CarryHead(SimpleInterface):
    """Brain mask and alignment of an image from those of another one, so that a tool can run on it."""

    input_spec = _CarryHeadInput
    output_spec = _CarryHeadOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        given, folder = self.inputs, Path(runtime.cwd)
        scan, reference = read_scan(given.in_file), read_scan(given.reference)
        matrix = _read_matrix(given.matrix)
        found = align_brain(reference.volume, read_mask(given.brain_mask).values)
        moved(found, matrix).to_json(folder / "alignment.json")
        brain = carried(given.brain_mask, scan, matrix, continued=False)
        write_volume(folder / "brain.nii.gz", Volume(brain, scan.affine), np.uint8)
        self._results.update(brain_mask=str(folder / "brain.nii.gz"), alignment=str(folder / "alignment.json"))
        return runtime


class _RecordInput(BaseInterfaceInputSpec):
    target = traits.Str(mandatory=True, desc="where the record goes")
    layout = traits.Instance(Layout, mandatory=True, desc="the folders of the output, by which files are named")
    content = traits.Dict(mandatory=True, desc="what was known before the run")
    details = File(exists=True, mandatory=True, desc="of the defacing")
    out_files = traits.List(File(exists=True), mandatory=True, desc="what was published")


class _RecordOutput(TraitedSpec):
    record = File()


class RecordDefaced(SimpleInterface):
    """The last node of such an image and tool: its record says that it was defaced and published."""

    input_spec = _RecordInput
    output_spec = _RecordOutput
    _always_run = True

    def _run_interface(self, runtime: Bunch) -> Bunch:
        given = self.inputs
        details = read_report(given.details)
        outputs = sizes(given.out_files, given.layout)
        known = {"Deface": details, "RunTime": details["RunTime"], "Outputs": outputs, "KeptRefaced": True}
        write_json(Path(given.target), DefacedRecord.from_json({**given.content, **known}).to_json())
        self._results["record"] = given.target
        return runtime


def moved(alignment: Alignment, matrix: np.ndarray) -> Alignment:
    """The alignment of an image that a matrix brings onto the image of `alignment`."""
    return Alignment(alignment.rigid @ matrix, alignment.affine @ matrix)


def _read_matrix(path: str) -> np.ndarray:
    """The (4, 4) matrix that `Register` wrote."""
    return np.array(json.loads(Path(path).read_text()))


def carried(mask_file: str, scan: Scan, matrix: np.ndarray, *, continued: bool) -> np.ndarray:
    """A mask of the other image on the grid of this one."""
    return carry_mask(read_mask(mask_file), scan.grid, matrix, continued=continued)
