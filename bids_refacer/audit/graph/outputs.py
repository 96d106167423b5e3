"""What the publishing nodes are told: for each file of a node, its place in the output and its sidecar.

Details that exist only once a node has run (command, quality control, run time) are laid over the sidecars by the node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_refacer.audit.graph.jobs import Attack, ImageJob, OtherJob, ToolJob
from bids_refacer.audit.nodes.score import label
from bids_refacer.dataset.names import OutputNames, identifiable_dir, sidecar_of
from bids_refacer.dataset.sidecars import (
    brain_mask_sidecar,
    defaced_sidecar,
    defacemask_sidecar,
    other_defaced_sidecar,
    other_mask_sidecar,
    refaced_sidecar,
    surface_sidecar,
)

Entries = dict[str, dict[str, Any]]

_LATER: dict[str, Any] = {"run_time_s": 0.0}  # the node knows, and lays it over
_IMAGE_WORDS = {
    "defaced": "the defaced image",
    "refaced_mean": "the mean of the refaced samples",
    "average": "the defaced image with the population-average face",
}


def brain_entries(job: ImageJob) -> Entries:
    """The brain mask."""
    return {"brain.nii.gz": _entry(job.names.brain_mask(), brain_mask_sidecar(job.image, **_LATER))}


def defaced_entries(job: ImageJob, tool: str) -> Entries:
    """The defaced image and the mask of what was removed."""
    defaced, mask = job.names.defaced(tool), job.names.defacemask(tool)
    brain, uri = _uri(job.names, job.names.brain_mask()), _uri(job.names, defaced)
    return {
        "defaced.nii.gz": _entry(defaced, defaced_sidecar(job.image, tool, {}, brain_mask_uri=brain, **_LATER)),
        "defacemask.nii.gz": _entry(mask, defacemask_sidecar(job.image, tool, {}, defaced_uri=uri, **_LATER)),
    }


def other_entries(job: OtherJob, tool: str) -> Entries:
    """The same of an image that was defaced as its reference was, each naming where it came from."""
    names = job.names
    defaced, mask = names.defaced(tool), names.defacemask(tool)
    theirs = _uri(names, job.reference_names.defacemask(tool))
    shared: dict[str, Any] = {"reference_mask_uri": theirs, "native": tool in job.native}
    image = other_defaced_sidecar(job.image, tool, mask_uri=_uri(names, mask), **shared, **_LATER)
    removed = other_mask_sidecar(job.image, job.reference, tool, defaced_uri=_uri(names, defaced), **shared, **_LATER)
    return {"defaced.nii.gz": _entry(defaced, image), "defacemask.nii.gz": _entry(mask, removed)}


def refaced_entries(job: ImageJob, tool: ToolJob, attack: Attack) -> Entries:
    """Samples, their mean where there are several, and the average face; identifiable."""

    def entry(path: Path, description: str, seeds: tuple[int, ...]) -> dict[str, Any]:
        content = refaced_sidecar(
            job.image,
            description,
            defaced_uri=_uri(job.names, job.names.defaced(tool.tool), dataset="shareable"),
            seeds=seeds,
            weights_sha256=attack.weights if seeds else {},
            options={},
            command="",
            **_LATER,
        )
        # the average face owes nothing to weights and sampler
        return _entry(path, content, omit=() if seeds else ("Options", "WeightsSHA256"))

    several = len(tool.seeds) > 1
    entries = {
        f"sample-{number}.nii.gz": entry(
            job.names.refaced(tool.tool, number),
            f"Face painted back by a diffusion model, sample {number}"
            + ("" if number % 2 else f": the other side of sample {number - 1}, mirrored about the learned mean"),
            (seed,),
        )
        for number, seed in enumerate(tool.seeds, start=1)
    }
    if several:
        description = f"Mean of {len(tool.seeds)} samples of the face painted back by a diffusion model"
        entries["mean.nii.gz"] = entry(job.names.refaced_mean(tool.tool), description, tool.seeds)
    description = "Population-average face, registered, in the place of what was removed"
    entries["average.nii.gz"] = entry(job.names.average_face(tool.tool), description, ())
    return entries


def surface_entries(job: ImageJob, tool: ToolJob) -> Entries:
    """The true face, the recovered faces, and the distance of each vertex of the true face to them; identifiable."""
    entries: Entries = {}
    original = job.names.face_surface(None, "original")
    content = surface_sidecar(
        "Skin surface of the original image in the face region",
        sources=[job.image.bids_uri],
        synthetic=False,
        details={"Units": "mm"},
        **_LATER,
    )
    entries[f"{label('original')}.surf.gii"] = _entry(original, content)
    target = job.names.face_map(None, "original")
    entries[f"{label('original')}.npz"] = _entry(target, _face_map_content(job.names, original, synthetic=False))
    kinds: list[tuple[str, int | None]] = [("defaced", None), ("average", None)]
    kinds += [("refaced", number) for number in range(1, len(tool.seeds) + 1)]
    kinds += [("refaced_mean", None)] if len(tool.seeds) > 1 else []
    for kind, sample in kinds:
        words = _IMAGE_WORDS.get(kind, f"refaced sample {sample}")
        synthetic = kind != "defaced"
        face, distance = (
            job.names.face_surface(tool.tool, kind, sample),
            job.names.distance_map(tool.tool, kind, sample),
        )
        source = _source(job.names, tool.tool, kind, sample)
        content = surface_sidecar(
            f"Skin surface of {words} in the face region",
            sources=[source],
            synthetic=synthetic,
            details={"Units": "mm"},
            **_LATER,
        )
        entries[f"{label(kind, sample)}.surf.gii"] = _entry(face, content)
        target = job.names.face_map(tool.tool, kind, sample)
        entries[f"{label(kind, sample)}.npz"] = _entry(target, _face_map_content(job.names, face, synthetic=synthetic))
        content = surface_sidecar(
            f"Distance of each vertex of the original's skin surface to that of {words}",
            sources=[_uri(job.names, original, dataset=""), source],
            synthetic=synthetic,
            details={"Units": "mm", "Surface": original.name},
            **_LATER,
        )
        entries[f"{label(kind, sample)}.shape.gii"] = _entry(distance, content)
    return entries


def voxel_entries(job: ImageJob, tool: ToolJob) -> Entries:
    """Facial voxels of the original and of what was made of it, for phenotypes; identifiable."""

    def entry(name: str | None, kind: str, words: str, source: str) -> dict[str, Any]:
        content = surface_sidecar(
            f"Voxels (4 mm, canonical frame, 8 bits, 255 is 2.5 times the brain median) of {words}",
            sources=[source],
            synthetic=kind not in ("original", "defaced"),
            details={"Coordinates": "RAS+ mm, canonical frame"},
            **_LATER,
        )
        number = 1 if kind == "refaced" else None
        return _entry(job.names.facial_voxels(name, kind, number), content)

    entries = {"original.npz": entry(None, "original", "the original image", job.image.bids_uri)}
    kinds: list[tuple[str, int | None]] = [("defaced", None), ("average", None), ("refaced", 1)]
    kinds += [("refaced_mean", None)] if len(tool.seeds) > 1 else []
    for kind, number in kinds:
        words = _IMAGE_WORDS.get(kind, "refaced sample 1")
        entries[f"{label(kind, number)}.npz"] = entry(
            tool.tool, kind, words, _source(job.names, tool.tool, kind, number)
        )
    return entries


def _face_map_content(names: OutputNames, surface: Path, *, synthetic: bool) -> dict[str, Any]:
    """Sidecar of the map by which a face is looked up in a crowd."""
    return surface_sidecar(
        "Distance of the skin from the vertical axis of the head on a fixed cylindrical grid (NaN: no skin), and the "
        "rigid transformation into the canonical frame",
        sources=[_uri(names, surface, dataset="")],
        synthetic=synthetic,
        details={"Units": "mm"},
        **_LATER,
    )


def _source(names: OutputNames, tool: str, kind: str, sample: int | None) -> str:
    """BIDS URI of the volume that a surface was drawn on, as the identifiable dataset says it."""
    if kind == "defaced":
        return _uri(names, names.defaced(tool), dataset="shareable")
    if kind == "refaced" and sample is not None:
        return _uri(names, names.refaced(tool, sample))
    return _uri(names, names.refaced_mean(tool) if kind == "refaced_mean" else names.average_face(tool))


def _uri(names: OutputNames, path: Path, *, dataset: str = "") -> str:
    """BIDS URI of an output: in its own dataset, or in the one that DatasetLinks calls `dataset`."""
    private = identifiable_dir(names.output_dir)
    root = private if path.is_relative_to(private) else names.output_dir
    return f"bids:{dataset}:{path.relative_to(root).as_posix()}"


def _entry(path: Path, content: dict[str, Any], omit: tuple[str, ...] = ()) -> dict[str, Any]:
    """`omit`: details of the node that are not true of this file."""
    return {"target": str(path), "sidecar": str(sidecar_of(path)), "content": content, "omit": list(omit)}
