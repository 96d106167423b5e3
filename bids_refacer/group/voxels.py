"""Where the facial voxels of a group are, and each participant's as one row of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bids_refacer.group.faces import names_of
from bids_refacer.group.outputs import SUBJECT, GroupError, ParticipantOutputs
from bids_refacer.phenotypes.voxels import read_voxels
from bids_refacer.volumes.nifti import ImageError

Kind = tuple[str | None, str]
"""Tool, or None for the original, and type of image."""

ORIGINAL: Kind = (None, "original")
IMAGE_TYPES = ("defaced", "average", "refaced", "refaced_mean")
Paths = dict[str, list[Path]]
"""Participant -> one file for each of its images."""


def voxel_paths(outputs: ParticipantOutputs, reasons: pd.DataFrame, suffix: str) -> dict[Kind, Paths]:
    """Files of facial voxels of one kind of image, the original first.

    What a tool made of an image whose defacing failed (gate) is left out: a face that was left, or a brain that was
    cut, says nothing about what is lost when the tool works.
    """
    rows = outputs.distances[outputs.distances["suffix"] == suffix][SUBJECT].drop_duplicates().astype(str)
    rows = rows.merge(reasons[[*SUBJECT, "reason"]], on=SUBJECT, how="left").sort_values(SUBJECT)
    found: dict[Kind, Paths] = {ORIGINAL: {}}
    seen = set()
    for participant, image, tool, reason in rows[[*SUBJECT, "reason"]].itertuples(index=False):
        if image not in seen:
            seen.add(image)
            _add(found, ORIGINAL, participant, _paths(outputs, image, ORIGINAL))
        for image_type in IMAGE_TYPES if not reason else ():
            _add(found, (tool, image_type), participant, _paths(outputs, image, (tool, image_type)))
    return {kind: found[kind] for kind in sorted(found, key=_order)}


def _paths(outputs: ParticipantOutputs, image: str, kind: Kind) -> Iterator[Path]:
    for names in names_of(outputs, image):
        yield names.facial_voxels(*kind, 1 if kind[1] == "refaced" else None)


def _add(found: dict[Kind, Paths], kind: Kind, participant: str, paths: Iterator[Path]) -> None:
    """Take the first that is there: an image is in one output, or the same in several."""
    path = next((path for path in paths if path.is_file()), None)
    if path is not None:
        found.setdefault(kind, {}).setdefault(participant, []).append(path)


def _order(kind: Kind) -> tuple[str, int]:
    tool, image_type = kind
    return tool or "", IMAGE_TYPES.index(image_type) if tool else 0


def load_voxels(paths: Mapping[str, Sequence[Path]]) -> np.ndarray:
    """Voxels of each participant, the mean where there are several images: (participants, voxels) uint8.

    Raises
    ------
    GroupError
        When a file cannot be read or is of another version.
    """
    try:
        rows = []
        for files in paths.values():
            total = sum(read_voxels(path).astype(np.float32) for path in files)
            rows.append(np.rint(total / np.float32(len(files))).astype(np.uint8))
    except ImageError as error:
        raise GroupError(str(error)) from error
    return np.stack(rows)
