"""The node that measures an original once, for all tools: its skin, its face, its facial voxels, its brain."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from nipype.interfaces.base import BaseInterfaceInputSpec, File, OutputMultiObject, SimpleInterface, TraitedSpec, traits
from nipype.interfaces.base.support import Bunch

from bids_refacer.audit.nodes import products
from bids_refacer.audit.nodes.products import ORIGINAL
from bids_refacer.audit.nodes.reports import write_report
from bids_refacer.phenotypes.voxels import sample_voxels, write_voxels
from bids_refacer.surfaces.face_map import map_face, write_face_map
from bids_refacer.surfaces.gifti import write_surface
from bids_refacer.surfaces.score import original_skin, true_face
from bids_refacer.surfaces.skin import SkinError, write_skin
from bids_refacer.surfaces.verdicts import brain_measures
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan


class _TruthInput(BaseInterfaceInputSpec):
    original = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True)
    alignment = File(exists=True, mandatory=True)
    version = traits.Str(mandatory=True, desc="of this app; part of the hash")


class _TruthOutput(TraitedSpec):
    skin = File(desc="level and surface, for this run alone (`surfaces.skin.read_skin`)")
    face_files = OutputMultiObject(File(), desc="original.surf.gii, original.npz: the face, and its map")
    voxels = File(desc="original.npz: facial voxels")
    brain = File(desc="JSON: brain measures")


class Truth(SimpleInterface):
    """What is compared with every defaced and every recovered image of a head."""

    input_spec = _TruthInput
    output_spec = _TruthOutput

    def _run_interface(self, runtime: Bunch) -> Bunch:
        given, folder = self.inputs, Path(runtime.cwd)
        scan, brain = read_scan(given.original), read_scan(given.brain_mask).stored > 0
        alignment, image = Alignment.from_json(Path(given.alignment)), scan.volume
        try:
            skin = original_skin(image)
        except SkinError as error:
            raise ImageError(
                f"{given.original}: {error} Check that the image shows a whole head that is brighter than the air "
                f"around it, or exclude it."
            ) from error
        face = true_face(skin, image.grid, alignment).patch
        surface, face_map = folder / products.surface(ORIGINAL), folder / products.face_map(ORIGINAL)
        (folder / "voxels").mkdir(exist_ok=True)
        voxels = folder / "voxels" / products.facial_voxels(ORIGINAL)
        write_skin(folder / "skin.npz", skin)
        write_surface(surface, face)
        files = [str(surface)]
        if len(face.faces):
            write_face_map(face_map, map_face(face, alignment))
            files.append(str(face_map))
        write_voxels(voxels, sample_voxels(image, brain, alignment))
        measures = write_report(folder / "brain.json", asdict(brain_measures(image, brain)))
        self._results.update(skin=str(folder / "skin.npz"), face_files=files)
        self._results.update(voxels=str(voxels), brain=measures)
        return runtime
