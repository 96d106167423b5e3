"""From a BIDS dataset to cached heads: every image is looked at once; what can be trained on is in `heads.json`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from bids_refacer.dataset.images import HeadImage, find_images, participant_labels
from bids_refacer.environment import make_private
from bids_refacer.files import unfinished
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.settings import TrainSettings
from bids_refacer.training.data.heads import Head, head_file, load_head, make_head, save_head
from bids_refacer.training.data.preflight import (
    Dropped,
    Facts,
    Image,
    Limits,
    PreflightError,
    decide,
    flagged,
    nose_cut,
    read_rows,
    splits,
    write_dropped,
)
from bids_refacer.training.data.priors import cross_fitted_priors, load_priors, save_priors, stored_mark
from bids_refacer.training.data.split import TRAIN
from bids_refacer.volumes.brain import extract_brain, require_face
from bids_refacer.volumes.nifti import ImageError, read_scan
from bids_refacer.volumes.registration import RegistrationError, align_brain

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


def prepare(settings: TrainSettings, say: Say, again: bool = False) -> list[Entry]:
    """The heads of the dataset, in the order in which they are trained on.

    The dataset is looked at once; later calls take what OUT/heads.json says, so that a training goes on also where
    the dataset is not, unless it is asked for `again` or settings of the preparation have changed.

    Raises
    ------
    PreflightError
        When there is no dataset, or too little in it to train on.
    """
    listing = settings.out / "heads.json"
    wanted = {name: getattr(settings, name) for name in _PREPARING}
    if listing.exists() and not again:
        content = json.loads(listing.read_text())
        if content["settings"] == wanted:
            entries = [Entry(**entry) for entry in content["heads"]]
            say(f"{len(entries)} heads of an earlier preparation ({listing}); --prepare-only looks at the data again.")
            return entries
    entries = _look(settings, say)
    settings.out.mkdir(parents=True, exist_ok=True)
    _write(listing, json.dumps({"settings": wanted, "heads": [vars(e) for e in entries]}, indent=1) + "\n")
    return entries


def _look(settings: TrainSettings, say: Say) -> list[Entry]:
    """Examine every image, say what is left out, write dropped.tsv."""
    bids_dir = settings.bids_dir
    if not bids_dir.is_dir():
        raise PreflightError(f"The input {bids_dir} is not a folder: give the root of a BIDS dataset.")
    selection = find_images(bids_dir)
    labels = sorted({*participant_labels(bids_dir), *(image.participant for image in selection.images)})
    rows = read_rows(bids_dir, labels)
    split = splits(labels, rows, settings.split_seed, settings.val_share)
    limits = Limits(**{item.name: getattr(settings, item.name) for item in fields(Limits)})
    dropped = [
        Dropped(participant=p.participant, bids_path=p.bids_path or "", reason=p.message) for p in selection.problems
    ]
    facts = []
    for number, image in enumerate(selection.images, 1):
        reason = flagged(rows[image.participant], split[image.participant], limits)
        if reason:
            dropped.append(Dropped(participant=image.participant, bids_path=image.bids_path, reason=reason))
        else:
            say(f"{number} of {len(selection.images)}: {image.bids_path}")
            facts.append(examine(image, settings.out / "cache"))
    kept, more = decide(facts, rows, settings.keep_cut_faces)
    settings.out.mkdir(parents=True, exist_ok=True)
    write_dropped(settings.out / "dropped.tsv", [*dropped, *more])
    _report(kept, [*dropped, *more], split, settings.out, say)
    return [
        Entry(
            name=fact.image.name,
            participant=fact.image.participant,
            split=split[fact.image.participant],
            voxels_sha256=fact.voxels_sha256,
        )
        for fact in kept
    ]


def _report(kept: Sequence[Facts], dropped: Sequence[Dropped], split: dict[str, str], out: Path, say: Say) -> None:
    for item in sorted(dropped, key=lambda d: (d.participant, d.bids_path)):
        say(f"Left out: {item.bids_path or 'sub-' + item.participant}. {item.reason}")
    heads = Counter(split[fact.image.participant] for fact in kept)
    people = Counter(split[label] for label in {fact.image.participant for fact in kept})
    said = (
        ", ".join(f"{heads[name]} {name} heads of {people[name]} participants" for name in sorted(heads)) or "0 heads"
    )
    say(f"{said}; {len(dropped)} left out (see {out / 'dropped.tsv'}).")
    if heads[TRAIN] < LEAST_HEADS or people[TRAIN] < LEAST_PEOPLE:
        raise PreflightError(
            f"{heads[TRAIN]} heads of {people[TRAIN]} participants to train on, and at least {LEAST_HEADS} heads of "
            f"{LEAST_PEOPLE} are needed: {out / 'dropped.tsv'} says why the others are left out."
        )


def examine(image: HeadImage, cache: Path) -> Facts:
    """Facts about an image and its head in the cache: from an earlier call when the image file is the same."""
    make_private(cache)
    name = image.path.name.split(".")[0].removesuffix("_T1w")
    told = Image(name=name, participant=image.participant, bids_path=image.bids_path)
    note = cache / f"{name}.json"
    file_sha256 = _sha256(image.path)
    if note.exists():
        known = Facts.read(note)
        if known.file_sha256 == file_sha256 and (known.problem or head_file(cache, name).exists()):
            return known
    facts = _measure(told, image.path, file_sha256, cache)
    facts.write(note)
    return facts


def _measure(image: Image, path: Path, file_sha256: str, cache: Path) -> Facts:
    try:
        scan = read_scan(path)
        brain = extract_brain(scan.values, scan.affine, name=path)
        alignment = align_brain(scan.values, scan.affine, brain)
        require_face(scan.values, scan.affine, brain, alignment, name=path)
        head = make_head(image.name, scan.values, scan.affine, brain, alignment)
    except (ImageError, RegistrationError, ValueError) as error:
        return Facts(image=image, file_sha256=file_sha256, problem=str(error))
    save_head(head, cache)
    voxels = hashlib.sha256(np.ascontiguousarray(head.stored).data).hexdigest()
    return Facts(image=image, file_sha256=file_sha256, voxels_sha256=voxels, nose_cut=nose_cut(head))


def load_heads(entries: Sequence[Entry], split: str, out: Path) -> list[Head]:
    """The cached heads of a split.

    Raises
    ------
    PreflightError
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
                raise PreflightError(
                    f"The cached head {path} cannot be read ({error}): make it anew with --prepare-only."
                ) from error
    return heads


def data_mark(entries: Sequence[Entry]) -> str:
    """Start of the SHA-256 of what is trained on: names, splits and voxels, in order."""
    return hashlib.sha256(json.dumps([vars(e) for e in entries]).encode()).hexdigest()[:12]


def cached_priors(heads: list[Head], mark: str, settings: TrainSettings) -> list[LinearPrior]:
    """The cross-fitted priors, made on the first call, and again when heads or settings have changed."""
    target = settings.out / "priors.npz"
    mark = json.dumps([mark, settings.modes, settings.ridge])
    if stored_mark(target) != mark:
        save_priors(cross_fitted_priors(heads, settings.modes, settings.ridge), target, mark)
    return load_priors(target)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _write(path: Path, text: str) -> None:
    with unfinished(path) as temporary:
        temporary.write_text(text)
