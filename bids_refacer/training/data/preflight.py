"""Which images can be trained on: a face that is all in view, no gross artefact, nobody twice; and why not the others.

Facts are measured once per image and kept beside its cached head; what to leave out is decided from them at each call.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bids_refacer.dataset.participants import read_participants
from bids_refacer.files import unfinished
from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.split import TRAIN, VAL, split_of
from bids_refacer.volumes.templates import asset

NOSE_LABEL = 2
"""Of the nose in face_parts.nii.gz; `surfaces.region.PARTS` names the labels."""

TISSUE = -0.6
"""Model intensity above which a voxel counts as tissue."""

MOST_NOSE_CUT = 0.001
"""Share of the nose's front that ends where the view ends, not in air. In 160 IXI heads, flagged by another measure: 0
in all 113 whose nose is in view, more than this in 41 of 47 whose nose is not (six of these end in the last voxel)."""

_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
Rows = Mapping[str, Mapping[str, str]]
"""Participant label -> row of participants.tsv."""


class PreflightError(ValueError):
    """The dataset cannot be trained on, or its table cannot be read: a sentence."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of the dataset: `name` is its file name's entities (its head's name in the cache)."""

    name: str
    participant: str
    bids_path: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was measured on one image; `problem` is a sentence when it cannot be read or aligned, or has no face."""

    image: Image
    file_sha256: str
    voxels_sha256: str = ""
    nose_cut: float = 0.0
    problem: str = ""

    def write(self, path: Path) -> None:
        """Write as JSON; the file appears whole or not at all."""
        with unfinished(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Facts:
        """Read what `write` wrote."""
        content = json.loads(path.read_text())
        return cls(**{**content, "image": Image(**content["image"])})


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """An image (or, with an empty `bids_path`, a participant) that is left out, and why: a sentence."""

    participant: str
    bids_path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What leads to an image being left out.

    max_roughness_mm, max_dental_void_cm2 : artefacts, by columns `roughness_mm`, `dental_void_cm2` of participants.tsv
    keep_cut_faces : keep images whose nose ends outside the view (what is cut is masked from the loss)
    """

    max_roughness_mm: float
    max_dental_void_cm2: float
    keep_cut_faces: bool = False


def read_rows(bids_dir: Path, participants: Sequence[str]) -> dict[str, dict[str, str]]:
    """The rows of participants.tsv by label; empty rows for who is not in it, and for all without the file.

    Raises
    ------
    TableError
        When the table cannot be read or has no column participant_id.
    """
    path = bids_dir / "participants.tsv"
    if not path.exists():
        return {label: {} for label in participants}
    table = read_participants(path)
    rows = {row["participant_id"].removeprefix("sub-"): row for row in table.rows()}
    return {label: rows.get(label, dict.fromkeys(table.columns, "")) for label in participants}


def flagged(row: Mapping[str, str], split: str, limits: Limits) -> str | None:
    """Why the table alone says to leave a participant's images out; None when it does not.

    Raises
    ------
    PreflightError
        When a number of the table is none.
    """
    if split not in (TRAIN, VAL):
        return f"Its split in participants.tsv is {split!r}, neither {TRAIN} nor {VAL}."
    if row.get("nose_in_fov", "").lower() in _NO and not limits.keep_cut_faces:
        return "Its nose is not in the field of view (nose_in_fov in participants.tsv)."
    for column, most, unit in (
        ("roughness_mm", limits.max_roughness_mm, "mm"),
        ("dental_void_cm2", limits.max_dental_void_cm2, "cm2"),
    ):
        value = _number(row, column)
        if value is not None and value > most:
            return f"Artefact: its {column} in participants.tsv is {value:g} {unit}, above {most:g}."
    return None


def _number(row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "").strip()
    if text in ("", "n/a"):
        return None
    try:
        return float(text)
    except ValueError as error:
        raise PreflightError(
            f"participants.tsv gives {text!r} for {column} of {row['participant_id']}: write a number or n/a."
        ) from error


def nose_cut(head: Head) -> float:
    """Share of the nose's front that is cut off by the field of view, 0 to 1.

    Skin in the nose part of the face region is tissue without tissue before it. Where air is before it, the nose is in
    view; where the view has ended, nobody knows how long the nose is.
    """
    tissue = (head.values > TISSUE) & head.seen
    skin = tissue & (asset("face_parts.nii.gz")[0] == NOSE_LABEL) & ~_voxel_ahead(tissue)
    return float((skin & ~_voxel_ahead(head.seen)).sum() / max(1, skin.sum()))


def _voxel_ahead(mask: np.ndarray) -> np.ndarray:
    """The mask of the next voxel towards the front (+y)."""
    return np.concatenate([mask[:, 1:], np.zeros_like(mask[:, :1])], axis=1)


def cut_off(facts: Facts, row: Mapping[str, str]) -> str | None:
    """Why the face is not all in view; the column nose_in_fov, where it says yes, is believed."""
    if row.get("nose_in_fov", "").lower() in _YES or facts.nose_cut <= MOST_NOSE_CUT:
        return None
    return f"Its nose is cut off by the field of view ({100 * facts.nose_cut:.1f} % of its front)."


def decide(facts: Sequence[Facts], rows: Rows, keep_cut_faces: bool = False) -> tuple[list[Facts], list[Dropped]]:
    """Which images to keep, and which to leave out: unreadable or faceless, twice there, cut off by the view.

    A participant who shares an image with an earlier one is left out whole: it is the same person, whose images must
    not end up on both sides of the split.
    """
    kept: list[Facts] = []
    dropped: list[Dropped] = []
    owner: dict[str, Image] = {}
    for participant in sorted({f.image.participant for f in facts}):
        own = sorted((f for f in facts if f.image.participant == participant), key=lambda f: f.image.bids_path)
        twin = next(((f, owner[key]) for f in own for key in _keys(f) if key in owner), None)
        for fact in own:
            again = next((owner[key] for key in _keys(fact) if key in owner), None) if twin is None else None
            cut = None if keep_cut_faces else cut_off(fact, rows[participant])
            reason = fact.problem or _same_person(twin) or _same_image(again) or cut
            if reason:
                dropped.append(_drop(fact, reason))
            else:
                kept.append(fact)
            if twin is None:
                owner.update({key: fact.image for key in _keys(fact) if key not in owner})
    return kept, dropped


def _keys(facts: Facts) -> list[str]:
    return [facts.file_sha256, facts.voxels_sha256] if facts.voxels_sha256 else []


def _same_person(twin: tuple[Facts, Image] | None) -> str:
    if twin is None:
        return ""
    return (
        f"Its participant has an image ({twin[0].image.bids_path}) that is also {twin[1].bids_path}: the same person "
        "under two labels."
    )


def _same_image(again: Image | None) -> str:
    return f"It is the same image as {again.bids_path}." if again else ""


def _drop(facts: Facts, reason: str) -> Dropped:
    return Dropped(participant=facts.image.participant, bids_path=facts.image.bids_path, reason=reason)


def splits(participants: Sequence[str], rows: Rows, seed: int, val_share: float) -> dict[str, str]:
    """Participant -> split, see `split_of`."""
    return {label: split_of(label, rows[label], seed, val_share) for label in participants}


def write_dropped(path: Path, dropped: Sequence[Dropped]) -> None:
    """Write the table of what is left out, sorted; the file appears whole or not at all."""
    with unfinished(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["participant_id", "image", "reason"])
        rows = sorted((f"sub-{d.participant}", d.bids_path or "n/a", d.reason) for d in dropped)
        writer.writerows(rows)
