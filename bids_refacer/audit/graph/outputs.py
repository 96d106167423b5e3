"""What each publishing node puts where: for each file of a node, its place in the output and its sidecar."""

from __future__ import annotations

from pathlib import Path

from bids_refacer.audit.graph.jobs import ImageJob, OtherJob, ToolJob
from bids_refacer.audit.nodes import products
from bids_refacer.audit.nodes.products import FITTED, ORIGINAL, Kind
from bids_refacer.audit.nodes.publish import Output
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.sidecars import (
    HEADER_TEXT_BLANKED,
    HEADER_TEXT_KEPT,
    Sidecar,
    brain_mask_sidecar,
    defaced_sidecar,
    defacemask_sidecar,
    other_defaced_sidecar,
    other_mask_sidecar,
    refaced_sidecar,
    surface_sidecar,
)

Outputs = dict[str, Output]
"""Name of a file in its node's folder (`audit.nodes.products`) -> where it goes."""

_IMAGE_WORDS = {
    "original": "the original image",
    "defaced": "the defaced image",
    "refaced_mean": "the mean of the refaced samples",
    "average": "the defaced image with the population-average face",
    "average-fitted": "the defaced image with the population-average face, fitted to the original",
}


def brain_outputs(job: ImageJob) -> Outputs:
    """The brain mask."""
    return {products.BRAIN: Output(target=job.names.brain_mask(), sidecar=brain_mask_sidecar(job.image))}


def defaced_outputs(job: ImageJob, tool: ToolJob) -> Outputs:
    """The defaced image and the mask of what was removed."""
    defaced, mask = job.names.defaced(tool.tool), job.names.defacemask(tool.tool)
    brain_uri = _uri(job.names, job.names.brain_mask())
    image = defaced_sidecar(job.image, tool.tool, brain_mask_uri=brain_uri, header_text=_header_text(tool))
    removed = defacemask_sidecar(job.image, tool.tool, defaced_uri=_uri(job.names, defaced))
    return _defaced(defaced, image, mask, removed)


def other_outputs(job: OtherJob, tool: ToolJob) -> Outputs:
    """The same of an image that was defaced as its reference was, each naming where it came from."""
    names, name = job.names, tool.tool
    defaced, mask = names.defaced(name), names.defacemask(name)
    theirs, native = _uri(names, job.reference_names.defacemask(name)), name in job.native
    image = other_defaced_sidecar(
        job.image,
        name,
        mask_uri=_uri(names, mask),
        reference_mask_uri=theirs,
        native=native,
        header_text=_header_text(tool),
    )
    removed = other_mask_sidecar(
        job.image, job.reference, name, defaced_uri=_uri(names, defaced), reference_mask_uri=theirs, native=native
    )
    return _defaced(defaced, image, mask, removed)


def refaced_outputs(job: ImageJob, tool: ToolJob) -> Outputs:
    """Samples, their mean where there are several, and the average face; identifiable."""
    defaced_uri = _uri(job.names, job.names.defaced(tool.tool), dataset="shareable")

    def output(path: Path, description: str, seeds: tuple[int, ...]) -> Output:
        sidecar = refaced_sidecar(
            job.image, description, defaced_uri=defaced_uri, seeds=seeds, header_text=_header_text(tool)
        )
        return Output(target=path, sidecar=sidecar)

    outputs = {}
    for number, seed in enumerate(tool.seeds, start=1):
        description = f"Face painted back by a diffusion model, sample {number}" + _other_side(number)
        outputs[products.sample(number)] = output(job.names.refaced(tool.tool, number), description, (seed,))
    if len(tool.seeds) > 1:
        description = f"Mean of {len(tool.seeds)} samples of the face painted back by a diffusion model"
        outputs[products.MEAN] = output(job.names.refaced_mean(tool.tool), description, tool.seeds)
    description = "Population-average face, registered, in the place of what was removed"
    outputs[products.AVERAGE] = output(job.names.average_face(tool.tool), description, ())
    return outputs


def surface_outputs(job: ImageJob, tool: ToolJob) -> Outputs:
    """The true face, the recovered faces, and the distance of each vertex of the true face to them; identifiable."""
    outputs = _face_outputs(job, None, ORIGINAL)
    for kind in _kinds(tool):
        outputs |= _face_outputs(job, tool.tool, kind)
        outputs[products.distances(kind)] = _distance_output(job, tool.tool, kind)
    return outputs


def voxel_outputs(job: ImageJob, tool: ToolJob) -> Outputs:
    """Facial voxels of the original and of what was made of it, for phenotypes; identifiable."""
    outputs = {products.facial_voxels(ORIGINAL): _voxel_output(job, None, ORIGINAL)}
    for kind in _kinds(tool):
        if kind[1] in (None, 1):  # one sample says what a sample can
            outputs[products.facial_voxels(kind)] = _voxel_output(job, tool.tool, kind)
    return outputs


def descriptor_outputs(job: ImageJob, tool: ToolJob) -> Outputs:
    """What face-recognition programs see of the original and of what was made of it; identifiable, and biometric."""
    outputs = {products.descriptors(ORIGINAL): _descriptor_output(job, None, ORIGINAL)}
    return outputs | {
        products.descriptors(kind): _descriptor_output(job, tool.tool, kind) for kind in (*_kinds(tool), FITTED)
    }


def _header_text(tool: ToolJob) -> str:
    return HEADER_TEXT_KEPT if tool.keep_header_text else HEADER_TEXT_BLANKED


def _defaced(defaced: Path, image: Sidecar, mask: Path, removed: Sidecar) -> Outputs:
    return {
        products.DEFACED: Output(target=defaced, sidecar=image),
        products.DEFACEMASK: Output(target=mask, sidecar=removed),
    }


def _other_side(number: int) -> str:
    """What the description of an even sample adds: it is drawn with the noise of the one before, mirrored."""
    return "" if number % 2 else f": the other side of sample {number - 1}, mirrored about the learned mean"


def _kinds(tool: ToolJob) -> list[Kind]:
    """Images that are compared with the original."""
    samples: list[Kind] = [("refaced", number) for number in range(1, len(tool.seeds) + 1)]
    mean: list[Kind] = [("refaced_mean", None)] if len(tool.seeds) > 1 else []
    return [("defaced", None), ("average", None), *samples, *mean]


def _face_outputs(job: ImageJob, tool: str | None, kind: Kind) -> Outputs:
    """The face surface of an image, and the map by which the face is looked up in a crowd."""
    surface, face_map = job.names.face_surface(tool, *kind), job.names.face_map(tool, *kind)
    of_surface = surface_sidecar(
        f"Skin surface of {_words(kind)} in the face region",
        sources=[_source(job, tool, kind)],
        synthetic=_is_synthetic(kind),
        details={"Units": "mm"},
    )
    of_map = surface_sidecar(
        "Distance of the skin from the vertical axis of the head on a fixed cylindrical grid (NaN: no skin), and the "
        "rigid transformation into the canonical frame",
        sources=[_uri(job.names, surface)],
        synthetic=_is_synthetic(kind),
        details={"Units": "mm"},
    )
    return {
        products.surface(kind): Output(target=surface, sidecar=of_surface),
        products.face_map(kind): Output(target=face_map, sidecar=of_map),
    }


def _distance_output(job: ImageJob, tool: str, kind: Kind) -> Output:
    original = job.names.face_surface(None, "original")
    sidecar = surface_sidecar(
        f"Distance of each vertex of the original's skin surface to that of {_words(kind)}",
        sources=[_uri(job.names, original), _source(job, tool, kind)],
        synthetic=_is_synthetic(kind),
        details={"Units": "mm", "Surface": original.name},
    )
    return Output(target=job.names.distance_map(tool, *kind), sidecar=sidecar)


def _voxel_output(job: ImageJob, tool: str | None, kind: Kind) -> Output:
    sidecar = surface_sidecar(
        f"Voxels (4 mm, canonical frame, 8 bits, 255 is 2.5 times the brain median) of {_words(kind)}",
        sources=[_source(job, tool, kind)],
        synthetic=_is_synthetic(kind),
        details={"Coordinates": "RAS+ mm, canonical frame"},
    )
    return Output(target=job.names.facial_voxels(tool, *kind), sidecar=sidecar)


def _descriptor_output(job: ImageJob, tool: str | None, kind: Kind) -> Output:
    fitted = kind == FITTED
    source = _uri(job.names, job.names.defaced(str(tool)), dataset="shareable") if fitted else _source(job, tool, kind)
    sidecar = surface_sidecar(
        f"Biometric data: vectors (light, view, vector; NaN: no face) of face-recognition programs for {_words(kind)}",
        sources=[source],
        synthetic=_is_synthetic(kind),
        details={},
    )
    return Output(target=job.names.descriptors(tool, *kind), sidecar=sidecar)


def _is_synthetic(kind: Kind) -> bool:
    return kind[0] not in ("original", "defaced")


def _words(kind: Kind) -> str:
    return _IMAGE_WORDS.get(kind[0], f"refaced sample {kind[1]}")


def _source(job: ImageJob, tool: str | None, kind: Kind) -> str:
    """BIDS URI of the volume that something was measured on, as the identifiable dataset says it."""
    image_type, sample = kind
    if tool is None:
        return job.image.bids_uri
    if image_type == "defaced":
        return _uri(job.names, job.names.defaced(tool), dataset="shareable")
    if image_type == "average":
        return _uri(job.names, job.names.average_face(tool))
    return _uri(job.names, job.names.refaced_mean(tool) if sample is None else job.names.refaced(tool, sample))


def _uri(names: OutputNames, path: Path, *, dataset: str = "") -> str:
    """BIDS URI of an output: in its own dataset, or in the one that DatasetLinks calls `dataset`."""
    _, name = names.layout.root_of(names.layout.name_of(path))
    return f"bids:{dataset}:{name}"
