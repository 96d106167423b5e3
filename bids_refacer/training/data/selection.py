"""Which images can be trained on: a face that is all in view, no gross artefact, nobody twice; and why not the others.

What was measured on an image (`measurements`) is kept; what to leave out, and who is held out, is decided from it and
from participants.tsv at each call.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.participants import read_participants
from bids_refacer.files import unfinished
from bids_refacer.training.data.measurements import ImageFacts, SourceImage

TRAIN, VAL = "train", "val"

MOST_NOSE_CUT = 0.001
"""Largest share of the nose's front that may end where the view ends, not in air (docs/training.md: what it finds)."""

_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
Rows = Mapping[str, Mapping[str, str]]
"""Participant label -> row of participants.tsv."""


class TrainingDataError(ValueError):
    """The dataset cannot be trained on, or its table cannot be read: a sentence."""


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
    table = read_participants(path, participants)
    rows = {row["participant_id"].removeprefix("sub-"): row for row in table.rows()}
    return {label: rows.get(label, dict.fromkeys(table.columns, "")) for label in participants}


def table_notes(bids_dir: Path, participants: Sequence[str]) -> tuple[str, ...]:
    """Sentences about labels in participants.tsv that are not those of the participants; raises as `read_rows` does."""
    path = bids_dir / "participants.tsv"
    return read_participants(path, participants).notes if path.exists() else ()


def flagged(row: Mapping[str, str], split: str, limits: Limits) -> str | None:
    """Why the table alone says to leave a participant's images out; None when it does not.

    Raises
    ------
    TrainingDataError
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
        raise TrainingDataError(
            f"participants.tsv gives {text!r} for {column} of {row['participant_id']}: write a number or n/a."
        ) from error


def cut_off(facts: ImageFacts, row: Mapping[str, str]) -> str | None:
    """Why the face is not all in view; the column nose_in_fov, where it says yes, is believed."""
    if row.get("nose_in_fov", "").lower() in _YES or facts.nose_cut <= MOST_NOSE_CUT:
        return None
    return f"Its nose is cut off by the field of view ({100 * facts.nose_cut:.1f} % of its front)."


def decide(
    facts: Sequence[ImageFacts], rows: Rows, keep_cut_faces: bool = False
) -> tuple[list[ImageFacts], list[Dropped]]:
    """Which images to keep, and which to leave out: unreadable or faceless, twice there, cut off by the view.

    A participant who shares an image with an earlier one is left out whole: it is the same person, whose images must
    not end up on both sides of the split.
    """
    kept: list[ImageFacts] = []
    dropped: list[Dropped] = []
    owner: dict[str, SourceImage] = {}
    for participant in sorted({f.image.participant for f in facts}):
        images = sorted((f for f in facts if f.image.participant == participant), key=lambda f: f.image.bids_path)
        shared = next(((f, owner[key]) for f in images for key in _keys(f) if key in owner), None)
        for image in images:
            twin = next((owner[key] for key in _keys(image) if key in owner), None) if shared is None else None
            cut = None if keep_cut_faces else cut_off(image, rows[participant])
            reason = image.problem or _same_person(shared) or _same_image(twin) or cut
            if reason:
                dropped.append(_drop(image, reason))
            else:
                kept.append(image)
            if shared is None:
                owner.update({key: image.image for key in _keys(image) if key not in owner})
    return kept, dropped


def _keys(facts: ImageFacts) -> list[str]:
    return [facts.file_sha256, facts.voxels_sha256] if facts.voxels_sha256 else []


def _same_person(shared: tuple[ImageFacts, SourceImage] | None) -> str:
    if shared is None:
        return ""
    facts, other = shared
    return (
        f"Its participant has an image ({facts.image.bids_path}) that is also {other.bids_path}: the same person "
        "under two labels."
    )


def _same_image(twin: SourceImage | None) -> str:
    return f"It is the same image as {twin.bids_path}." if twin else ""


def _drop(facts: ImageFacts, reason: str) -> Dropped:
    return Dropped(participant=facts.image.participant, bids_path=facts.image.bids_path, reason=reason)


def split_of(participant: str, row: Mapping[str, str], seed: int, val_share: float) -> str:
    """The split of a participant: what the column `split` says, else a seeded hash of the label.

    Adding or removing participants moves no other, and neither does their order.

    Parameters
    ----------
    participant : label without "sub-"
    row : of participants.tsv; its `split` is taken as it is (only "train" and "val" are used)
    seed : another seed holds out others
    val_share : share of the participants to hold out, 0 to 1

    Returns
    -------
    "train", "val", or another word of the column
    """
    if "split" in row:
        return row["split"].strip()
    digest = hashlib.sha256(f"{seed}:{participant}".encode()).digest()
    return VAL if int.from_bytes(digest[:8], "big") < val_share * 2**64 else TRAIN


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
