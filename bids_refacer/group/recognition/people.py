"""Where the descriptors of a group are, who is in the gallery, and who is looked up in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.names import dataset_table
from bids_refacer.dataset.rows.recognition import RecognitionRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.group.faces import Member, names_of
from bids_refacer.group.outputs import ParticipantOutputs
from bids_refacer.layout import Layout
from bids_refacer.recognition.descriptors import mean_descriptor, read_descriptors
from bids_refacer.volumes.image_file import ImageError

GALLERY_LIGHT, PROBE_LIGHT = 0, -1
"""Place of each light in the descriptors of an original; all other images have the last alone."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """An image of which there are descriptors, and how well its views show a face to one recogniser."""

    participant: str
    image: str
    tool: str
    image_type: str
    path: Path
    n_views: int
    n_detected: int


def means_of(outputs: ParticipantOutputs) -> list[RecognitionRow]:
    """The rows of means of recognition.tsv, of all outputs, each once."""
    found: dict[tuple[str | int | None, ...], RecognitionRow] = {}
    for folder in outputs.folders:
        for row in read_rows(dataset_table(Layout.found(folder), RecognitionRow.table), RecognitionRow):
            if row.view == "mean" and row.participant_id in outputs.participants:
                key = (row.image, row.tool, row.image_type, row.sample, row.recogniser)
                found.setdefault(key, row)
    return list(found.values())


def problems_of(outputs: ParticipantOutputs) -> list[str]:
    """A sentence for each reason why heads could not be described."""
    notes: dict[str, int] = {}
    for folder in outputs.folders:
        for row in read_rows(dataset_table(Layout.found(folder), RecognitionRow.table), RecognitionRow):
            if row.note:
                notes[row.note] = notes.get(row.note, 0) + 1
    return [f"Recognition: {count} image x tool could not be described ({note})" for note, count in notes.items()]


def descriptors_of(face_map: Path) -> Path:
    """The descriptors of the original that a face map is of, beside it."""
    return face_map.with_name(face_map.name.replace("_facemap.npz", "_descriptors.npz"))


def described_images(
    outputs: ParticipantOutputs, rows: Sequence[RecognitionRow], suffix: str, recogniser: str
) -> tuple[list[Described], dict[tuple[str, str], set[str]]]:
    """Images that a recogniser described, and (tool, type) -> images whose files are missing."""
    found: list[Described] = []
    missing: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.recogniser != recogniser or ImageKey.of(str(row.image)).suffix != suffix:
            continue
        path = _path_of(outputs, row)
        if path is None:
            missing.setdefault((str(row.tool), str(row.image_type)), set()).add(str(row.image))
            continue
        found.append(
            Described(
                participant=row.participant_id,
                image=str(row.image),
                tool=str(row.tool),
                image_type=str(row.image_type),
                path=path,
                n_views=row.n_views or 0,
                n_detected=row.n_detected or 0,
            )
        )
    return found, missing


def _path_of(outputs: ParticipantOutputs, row: RecognitionRow) -> Path | None:
    tool = None if row.image_type == "original" else row.tool
    paths = (names.descriptors(tool, str(row.image_type), row.sample) for names in names_of(outputs, str(row.image)))
    return next((path for path in paths if path.is_file()), None)


def load_gallery(
    members: Sequence[Member], recogniser: str, say: Callable[[str], None]
) -> tuple[list[Member], np.ndarray]:
    """Members with descriptors, and these: (g, d) float32, NaN where the original shows no face.

    Members without descriptors are counted in a sentence.
    """
    kept: list[Member] = []
    vectors: list[np.ndarray] = []
    lacking = 0
    for member in members:
        vector = _vector(descriptors_of(member.path), recogniser, GALLERY_LIGHT, say)
        if vector is None or (vectors and vector.shape != vectors[0].shape):
            lacking += 1
        else:
            kept.append(member)
            vectors.append(vector)
    if lacking and kept:
        say(f"Recognition by {recogniser}: {lacking} originals have no descriptors, and are not in the gallery.")
    return kept, np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)


def load_probes(
    images: Sequence[Described], recogniser: str, size: int, say: Callable[[str], None]
) -> tuple[list[Described], np.ndarray]:
    """Images whose descriptors can be read, and these under the light of probes: (p, size) float32, NaN: no face."""
    kept: list[Described] = []
    vectors: list[np.ndarray] = []
    for image in images:
        vector = _vector(image.path, recogniser, PROBE_LIGHT, say)
        if vector is not None and len(vector) == size:
            kept.append(image)
            vectors.append(vector)
    return kept, np.stack(vectors) if vectors else np.zeros((0, size), dtype=np.float32)


def _vector(path: Path, recogniser: str, light: int, say: Callable[[str], None]) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        return mean_descriptor(read_descriptors(path, [recogniser])[recogniser][light])
    except ImageError as error:
        say(f"{error} Its face is left out.")
        return None
