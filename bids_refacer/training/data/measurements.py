"""What is measured on each image once, while its head is brought into the cache, and kept beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bids_refacer.dataset.images import HeadImage
from bids_refacer.files import unfinished
from bids_refacer.training.data.heads import Head, head_file, make_head, save_head
from bids_refacer.volumes.brain import extract_brain, require_face
from bids_refacer.volumes.content.faults import require_sound
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.registration import RegistrationError, align_brain
from bids_refacer.volumes.templates import asset
from bids_refacer.work_folder import make_private

NOSE_LABEL = 2
"""Of the nose in face_parts.nii.gz; `surfaces.region.PARTS` names the labels."""

TISSUE = -0.6
"""Model intensity above which a voxel counts as tissue."""


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One image of the dataset: `name` is its file name's entities (its head's name in the cache)."""

    name: str
    participant: str
    bids_path: str


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What was measured on one image; `problem` is a sentence when it cannot be read or aligned, or has no face."""

    image: SourceImage
    file_sha256: str
    voxels_sha256: str = ""
    nose_cut: float = 0.0
    problem: str = ""

    def write(self, path: Path) -> None:
        """Write as JSON; the file appears whole or not at all."""
        with unfinished(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> ImageFacts:
        """Read what `write` wrote."""
        content = json.loads(path.read_text())
        return cls(**{**content, "image": SourceImage(**content["image"])})


def examine(image: HeadImage, cache: Path) -> ImageFacts:
    """Facts about an image, and its head in the cache: from an earlier call when the image file is the same."""
    make_private(cache)
    name = image.path.name.split(".")[0].removesuffix("_T1w")
    source = SourceImage(name=name, participant=image.participant, bids_path=image.bids_path)
    note = cache / f"{name}.json"
    file_sha256 = _sha256(image.path)
    if note.exists():
        earlier = ImageFacts.read(note)
        if earlier.file_sha256 == file_sha256 and (earlier.problem or head_file(cache, name).exists()):
            return earlier
    facts = _measure(source, image.path, file_sha256, cache)
    facts.write(note)
    return facts


def _measure(image: SourceImage, path: Path, file_sha256: str, cache: Path) -> ImageFacts:
    try:
        scan = read_scan(path)
        require_sound(scan)
        brain = extract_brain(scan.volume, name=path)
        alignment = align_brain(scan.volume, brain)
        require_face(scan.volume, brain, alignment, name=path)
        head = make_head(image.name, scan.volume, brain, alignment)
    except (ImageError, RegistrationError, ValueError) as error:
        return ImageFacts(image=image, file_sha256=file_sha256, problem=str(error))
    save_head(head, cache)
    voxels = hashlib.sha256(np.ascontiguousarray(head.stored).data).hexdigest()
    return ImageFacts(image=image, file_sha256=file_sha256, voxels_sha256=voxels, nose_cut=nose_cut(head))


def nose_cut(head: Head) -> float:
    """Share of the nose's front that is cut off by the field of view, 0 to 1.

    Skin in the nose part of the face region is tissue without tissue before it. Where air is before it, the nose is in
    view; where the view has ended, nobody knows how long the nose is.
    """
    tissue = (head.values > TISSUE) & head.seen
    skin = tissue & (asset("face_parts.nii.gz").values == NOSE_LABEL) & ~_voxel_ahead(tissue)
    return float((skin & ~_voxel_ahead(head.seen)).sum() / max(1, skin.sum()))


def _voxel_ahead(mask: np.ndarray) -> np.ndarray:
    """The mask of the next voxel towards the front (+y)."""
    return np.concatenate([mask[:, 1:], np.zeros_like(mask[:, :1])], axis=1)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
