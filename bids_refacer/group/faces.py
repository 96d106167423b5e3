"""Where the face maps of a group are, who is in the gallery, and who is looked up in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from bids_refacer.dataset.descriptions.derivatives import read_description
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.names import OutputNames
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.layout import Layout
from bids_refacer.surfaces.face_map import halved, read_face_map
from bids_refacer.volumes.image_file import ImageError

Face = TypeVar("Face", "Member", "Probe")
PROBES = ("defaced", "average", "refaced", "refaced_mean")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One person of the gallery.

    Attributes
    ----------
    person : the participant; for a filler with the number of its dataset before it
    path : of the face map
    scan : path of the face map in its dataset, which is the same in the outputs of two jobs about one image
    """

    person: str
    path: Path
    scan: str


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One face that is looked up.

    Attributes
    ----------
    path : of the face map
    own : number of its person in the gallery
    scan : whether the true face in the gallery is from the ``same`` scan or an ``other``
    """

    participant: str
    image: str
    path: Path
    own: int
    scan: str


def find_gallery(outputs: ParticipantOutputs, fillers: Sequence[Path], suffix: str) -> list[Member]:
    """One true face of each person: of the first image, by path; participants first, then fillers.

    A filler with the label of a participant of the same raw dataset is the same person, and left out.
    """
    gallery: dict[str, Member] = {}
    for face in _true_faces(outputs, suffix):
        gallery.setdefault(face.person, face)
    sources = {_source(folder) for folder in outputs.folders}
    for number, folder in enumerate(fillers):
        for face in _originals(folder, suffix):
            if not (face.person in gallery and _source(folder) in sources):
                name = f"{number}:{face.person}"
                gallery.setdefault(name, replace(face, person=name))
    return list(gallery.values())


def find_rescans(outputs: ParticipantOutputs, gallery: Sequence[Member], suffix: str) -> list[Probe]:
    """The true faces of all other images of people who are in the gallery."""
    own = {member.person: number for number, member in enumerate(gallery)}
    return [
        Probe(participant=face.person, image=face.path.name, path=face.path, own=own[face.person], scan="other")
        for face in _true_faces(outputs, suffix)
        if face.person in own and face.scan != gallery[own[face.person]].scan
    ]


def find_probes(
    outputs: ParticipantOutputs, gallery: Sequence[Member], suffix: str, tool: str, image_type: str
) -> tuple[list[Probe], int]:
    """Faces of one tool and type whose person is in the gallery, and how many images have none to look up."""
    rows = outputs.distances
    rows = rows[(rows["part"] == "face") & (rows["suffix"] == suffix)]
    rows = rows[(rows["tool"] == tool) & (rows["image_type"] == image_type)]
    own = {member.person: number for number, member in enumerate(gallery)}
    probes, missing = [], set()
    for participant, image, sample in zip(rows["participant_id"], rows["image"], rows["sample"], strict=True):
        for names in names_of(outputs, image):
            path = names.face_map(tool, image_type, None if pd.isna(sample) else int(sample))
            if participant in own and path.is_file():
                original = names.face_map(None, "original").relative_to(names.layout.identifiable).as_posix()
                scan = "same" if original == gallery[own[participant]].scan else "other"
                probes.append(Probe(participant=participant, image=image, path=path, own=own[participant], scan=scan))
                break
        else:
            missing.add(image)
    return probes, len(missing)


def load_faces(faces: Sequence[Face], say: Callable[[str], None]) -> tuple[list[Face], np.ndarray]:
    """Face maps at half their resolution, enough to search by, without those that cannot be read, which are named.

    Returns
    -------
    faces : those that could be read
    maps : (n, rows, columns) float32, mm, in the same order
    """
    kept, maps = [], []
    for face in faces:
        try:
            maps.append(halved(read_face_map(face.path).depth))
            kept.append(face)
        except ImageError as error:
            say(f"{error} Its face is left out.")
    return kept, np.stack(maps) if maps else np.zeros((0, 0, 0), dtype=np.float32)


def surface_of(face_map: Path) -> Path:
    """The surface that a face map was made of, beside it."""
    return face_map.with_name(face_map.name.replace("_facemap.npz", "_face.surf.gii"))


def _originals(folder: Path, suffix: str) -> Iterator[Member]:
    """Every original's face in an output directory, in the order of their paths."""
    root = Layout.found(folder).identifiable
    for path in sorted(root.glob(f"sub-*/**/*_mod-{suffix}_desc-original_facemap.npz")):
        person = f"sub-{ImageKey.of(path).participant}"
        yield Member(person=person, path=path, scan=path.relative_to(root).as_posix())


def _true_faces(outputs: ParticipantOutputs, suffix: str) -> list[Member]:
    """The originals of all outputs, each scan once, sorted: sessions and runs in the order of their names."""
    faces = [face for folder in reversed(outputs.folders) for face in _originals(folder, suffix)]
    by_scan = {face.scan: face for face in faces}
    return [by_scan[scan] for scan in sorted(by_scan)]


def names_of(outputs: ParticipantOutputs, image: str) -> Iterator[OutputNames]:
    """Names of an image's outputs in each output directory."""
    key = ImageKey.of(image)
    for folder in outputs.folders:
        yield OutputNames.of(Layout.found(folder), key)


def _source(folder: Path) -> str:
    """The raw dataset that an output directory says it comes from; the directory itself when it does not say."""
    try:
        description = read_description(Layout.found(folder).shareable)
        return json.dumps(description["SourceDatasets"], sort_keys=True)
    except (DatasetError, KeyError):
        return str(folder)
