"""Where the face maps of a group are, who is in the gallery, and who is looked up in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.names import OutputNames, identifiable_dir
from bids_refacer.group.outputs import Audit, AuditError
from bids_refacer.surfaces.face_map import halved, read_face_map
from bids_refacer.volumes.nifti import ImageError

PROBES = ("defaced", "average", "refaced", "refaced_mean")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One person of the gallery. `person` is the participant, and for a filler its dataset's number before it.

    `scan` is the path of the face map in its dataset: outputs that two jobs wrote of one image share it.
    """

    person: str
    path: Path
    scan: str


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One face that is looked up. `own` is the number of its person in the gallery, `scan` as in the table."""

    participant: str
    image: str
    path: Path
    own: int
    scan: str


def find_gallery(audit: Audit, fillers: Sequence[Path], suffix: str) -> list[Member]:
    """One true face of each person: of the first image, by path; participants first, then fillers.

    A filler with the label of a participant of the same raw dataset is the same person, and left out.
    """
    found: dict[str, Member] = {}
    for person, scan, path in _audited(audit, suffix):
        found.setdefault(person, Member(person=person, path=path, scan=scan))
    sources = {_source(output) for output in audit.outputs}
    for number, output in enumerate(fillers):
        for person, scan, path in _originals(output, suffix):
            if not (person in found and _source(output) in sources):
                name = f"{number}:{person}"
                found.setdefault(name, Member(person=name, path=path, scan=scan))
    return list(found.values())


def find_rescans(audit: Audit, gallery: Sequence[Member], suffix: str) -> list[Probe]:
    """The true faces of all other images of people who are in the gallery."""
    own = {member.person: number for number, member in enumerate(gallery)}
    return [
        Probe(participant=person, image=path.name, path=path, own=own[person], scan="other")
        for person, scan, path in _audited(audit, suffix)
        if scan != gallery[own[person]].scan
    ]


def find_probes(
    audit: Audit, gallery: Sequence[Member], suffix: str, tool: str, image_type: str
) -> tuple[list[Probe], int]:
    """Faces of one tool and type whose person is in the gallery, and how many images have none to look up."""
    rows = audit.distances
    rows = rows[(rows["part"] == "face") & (rows["suffix"] == suffix)]
    rows = rows[(rows["tool"] == tool) & (rows["image_type"] == image_type)]
    own = {member.person: number for number, member in enumerate(gallery)}
    found, missing = [], set()
    for participant, image, sample in zip(rows["participant_id"], rows["image"], rows["sample"], strict=True):
        for names in names_of(audit, image):
            path = names.face_map(tool, image_type, None if pd.isna(sample) else int(sample))
            if participant in own and path.is_file():
                original = names.face_map(None, "original").relative_to(identifiable_dir(names.output_dir)).as_posix()
                scan = "same" if original == gallery[own[participant]].scan else "other"
                found.append(Probe(participant=participant, image=image, path=path, own=own[participant], scan=scan))
                break
        else:
            missing.add(image)
    return found, len(missing)


def load_maps(paths: Sequence[Path]) -> np.ndarray:
    """Face maps at half their resolution, enough to search by: (n, rows, columns) float32, mm.

    Raises
    ------
    AuditError
        When a file cannot be read or is of another version.
    """
    try:
        return np.stack([halved(read_face_map(path).depth) for path in paths])
    except ImageError as error:
        raise AuditError(str(error)) from error


def surface_of(face_map: Path) -> Path:
    """The surface that a face map was made of, beside it."""
    return face_map.with_name(face_map.name.replace("_facemap.npz", "_face.surf.gii"))


def _originals(output: Path, suffix: str) -> Iterator[tuple[str, str, Path]]:
    """Participant, path in the dataset, and path of every original's face map, in the order of these paths."""
    root = identifiable_dir(output)
    for path in sorted(root.glob(f"sub-*/**/*_mod-{suffix}_desc-original_facemap.npz")):
        yield f"sub-{ImageKey.of(path).participant}", path.relative_to(root).as_posix(), path


def _audited(audit: Audit, suffix: str) -> list[tuple[str, str, Path]]:
    """The originals of all outputs, each scan once, sorted: sessions and runs in the order of their names."""
    found = {scan: (person, scan, path) for output in reversed(audit.outputs)
             for person, scan, path in _originals(output, suffix)}  # fmt: skip
    return [found[scan] for scan in sorted(found)]


def names_of(audit: Audit, image: str) -> Iterator[OutputNames]:
    """Names of an image's outputs in each output directory."""
    key = ImageKey.of(image)
    for output in audit.outputs:
        yield OutputNames.of(output, key)


def _source(output: Path) -> str:
    """The raw dataset that an output says it comes from; the output itself when it does not say."""
    try:
        description = json.loads((output / "dataset_description.json").read_text(encoding="utf-8"))
        return json.dumps(description["SourceDatasets"], sort_keys=True)
    except (OSError, ValueError, KeyError, TypeError):
        return str(output)
