"""From a BIDS dataset to cached heads: every image is looked at once; what can be trained on is in `heads.json`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bids_refacer.dataset.images import find_images, participant_labels
from bids_refacer.files import unfinished
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.settings import TrainSettings
from bids_refacer.training.data.heads import Head, head_file, load_head
from bids_refacer.training.data.measurements import ImageFacts, examine
from bids_refacer.training.data.priors import cross_fitted_priors, load_priors, save_priors, stored_mark
from bids_refacer.training.data.selection import (
    TRAIN,
    Dropped,
    Limits,
    TrainingDataError,
    decide,
    flagged,
    read_rows,
    splits,
    table_notes,
    write_dropped,
)
from bids_refacer.wording import counted

LEAST_HEADS = 10
LEAST_PEOPLE = 2  # the linear estimate is fitted without the participant that it is used on
_PREPARING = ("val_share", "split_seed", "max_roughness_mm", "max_dental_void_cm2", "keep_cut_faces")
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cached head that can be used: name of its file, label of its participant, split, hash of its voxels."""

    name: str
    participant: str
    split: str
    voxels_sha256: str


def listing_of(out: Path) -> Path:
    """The list of the heads of a training, in its folder."""
    return out / "heads.json"


def listed_heads(out: Path) -> list[Entry]:
    """The heads of a training, in the order in which they are trained on, by the list in its folder."""
    return [Entry(**entry) for entry in json.loads(listing_of(out).read_text())["heads"]]


def prepare(settings: TrainSettings, say: Say, anew: bool = False) -> list[Entry]:
    """The heads of the dataset, in the order in which they are trained on.

    The dataset is looked at once; later calls take what OUT/heads.json says, so that a training goes on also where
    the dataset is not, unless `anew` is true or settings of the preparation have changed.

    Raises
    ------
    TrainingDataError
        When there is no dataset, or too little in it to train on.
    """
    listing = listing_of(settings.out)
    wanted = {name: getattr(settings, name) for name in _PREPARING}
    if listing.exists() and not anew:
        if json.loads(listing.read_text())["settings"] == wanted:
            entries = listed_heads(settings.out)
            known = counted(len(entries), "head")
            say(f"{known} of an earlier preparation ({listing}); --prepare-only looks at the data again.")
            return entries
    entries = _examine_dataset(settings, say)
    settings.out.mkdir(parents=True, exist_ok=True)
    with unfinished(listing) as temporary:
        temporary.write_text(json.dumps({"settings": wanted, "heads": [vars(e) for e in entries]}, indent=1) + "\n")
    return entries


def _examine_dataset(settings: TrainSettings, say: Say) -> list[Entry]:
    """Examine every image, say what is left out, write dropped.tsv."""
    bids_dir = settings.bids_dir
    if not bids_dir.is_dir():
        raise TrainingDataError(f"The input {bids_dir} is not a folder: give the root of a BIDS dataset.")
    selection = find_images(bids_dir)
    labels = sorted({*participant_labels(bids_dir), *(image.participant for image in selection.images)})
    rows, notes = read_rows(bids_dir, labels), table_notes(bids_dir, labels)
    for note in notes:
        say(f"Warning: {note}")
    split = splits(labels, rows, settings.split_seed, settings.val_share)
    limits = Limits(**{item.name: getattr(settings, item.name) for item in fields(Limits)})
    dropped = [
        Dropped(participant=p.participant, bids_path=p.bids_path or "", reason=p.message) for p in selection.problems
    ]
    measured = []
    for number, image in enumerate(selection.images, 1):
        reason = flagged(rows[image.participant], split[image.participant], limits)
        if reason:
            dropped.append(Dropped(participant=image.participant, bids_path=image.bids_path, reason=reason))
        else:
            say(f"{number} of {len(selection.images)}: {image.bids_path}")
            measured.append(examine(image, settings.out / "cache"))
    kept, more = decide(measured, rows, settings.keep_cut_faces)
    dropped += more
    settings.out.mkdir(parents=True, exist_ok=True)
    write_dropped(settings.out / "dropped.tsv", dropped)
    entries = [_entry(facts, split) for facts in kept]
    _say_left_out(dropped, say)
    table = settings.out / "dropped.tsv"
    say(f"{_count(entries)}; {len(dropped)} left out (see {table}).")
    _require_enough(entries, table)
    return entries


def _entry(facts: ImageFacts, split: Mapping[str, str]) -> Entry:
    image = facts.image
    return Entry(
        name=image.name,
        participant=image.participant,
        split=split[image.participant],
        voxels_sha256=facts.voxels_sha256,
    )


def _say_left_out(dropped: Sequence[Dropped], say: Say) -> None:
    for item in sorted(dropped, key=lambda d: (d.participant, d.bids_path)):
        say(f"Left out: {item.bids_path or 'sub-' + item.participant}. {item.reason}")


def _participants(entries: Sequence[Entry], split: str) -> int:
    return len({entry.participant for entry in entries if entry.split == split})


def _count(entries: Sequence[Entry]) -> str:
    """``4 train heads of 3 participants, 2 val heads of 1 participant``."""
    heads = Counter(entry.split for entry in entries)
    counts = [
        f"{counted(heads[name], f'{name} head')} of {counted(_participants(entries, name), 'participant')}"
        for name in sorted(heads)
    ]
    return ", ".join(counts) or "0 heads"


def _require_enough(entries: Sequence[Entry], table: Path) -> None:
    heads, people = sum(entry.split == TRAIN for entry in entries), _participants(entries, TRAIN)
    if heads < LEAST_HEADS or people < LEAST_PEOPLE:
        raise TrainingDataError(
            f"{counted(heads, 'head')} of {counted(people, 'participant')} to train on, and at least {LEAST_HEADS} "
            f"heads of {LEAST_PEOPLE} are needed: {table} says why the others are left out."
        )


def load_heads(entries: Sequence[Entry], split: str, out: Path) -> list[Head]:
    """The cached heads of a split.

    Raises
    ------
    TrainingDataError
        When one is not in the cache, or cannot be read.
    """
    heads = []
    for entry in entries:
        if entry.split == split:
            path = head_file(out / "cache", entry.name)
            try:
                heads.append(load_head(path))
            except Exception as error:  # numpy has one of its own for an empty, a cut and a foreign file
                path.with_suffix(".json").unlink(missing_ok=True)
                raise TrainingDataError(
                    f"The cached head {path} cannot be read ({error}): make it anew with --prepare-only."
                ) from error
    return heads


def heads_sha256(entries: Sequence[Entry]) -> str:
    """Start of the SHA-256 of what is trained on: names, splits and voxels, in order."""
    return hashlib.sha256(json.dumps([vars(e) for e in entries]).encode()).hexdigest()[:12]


def cached_priors(heads: list[Head], sha256: str, settings: TrainSettings) -> list[LinearPrior]:
    """The cross-fitted priors, made on the first call, and again when heads or settings have changed."""
    target = settings.out / "priors.npz"
    mark = json.dumps([sha256, settings.modes, settings.ridge])
    if stored_mark(target) != mark:
        save_priors(cross_fitted_priors(heads, settings.modes, settings.ridge), target, mark)
    return load_priors(target)
