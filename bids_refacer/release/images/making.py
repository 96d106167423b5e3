"""One file on its way into a release: checked, written under its name when it is complete, and described."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bids_refacer import __version__
from bids_refacer.dataset.names import sidecar_of
from bids_refacer.dataset.records import fingerprint
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.files import unfinished, write_json
from bids_refacer.processes import end_with_parent, kill_workers
from bids_refacer.release.content.descriptions import carried_mask_sidecar
from bids_refacer.release.content.headers import copy_without_texts
from bids_refacer.release.content.masks import has_one_value, mask_of
from bids_refacer.release.images.judged import Acceptance, Judged, Reference
from bids_refacer.release.journal import Made, place_of
from bids_refacer.volumes.grid import Volume
from bids_refacer.volumes.header_texts import without_texts
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume
from bids_refacer.volumes.scan import Scan

T = TypeVar("T")
R = TypeVar("R")

_FICLONE = 0x40049409  # ioctl of Linux: share the blocks of another file until one of the two is changed
DIFFERS = (
    "What the audit made of it differs from the original outside the mask, in its header, or holds no mask: run the "
    "audit again."
)
STILL_THERE = "What the mask says was removed is still there in what the audit made of it: run the audit again."
_MOST_LEFT = 0.05
"""Share of the voxels of tissue in a mask that may be what they were: another face has some values by chance."""


def place(source: Path, target: Path, mode: str) -> None:
    """Put a file at its place in a release, as it is.

    Parameters
    ----------
    source, target : files; links are followed
    mode : ``hardlink`` (one file under two names), ``reflink`` (two files that share their blocks) or ``copy``; what
        the file system cannot do becomes a copy
    """
    real = Path(os.path.realpath(source))
    with unfinished(target) as temporary:
        if mode == "hardlink":
            with suppress(OSError):
                os.link(real, temporary)
                return
        if mode == "reflink" and _cloned(real, temporary):
            return
        shutil.copyfile(real, temporary)


def _cloned(source: Path, target: Path) -> bool:
    with source.open("rb") as read, target.open("wb") as write:
        try:
            fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
        except OSError:
            return False
    return True


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """An image to release.

    Attributes
    ----------
    path : in the dataset
    source, target : files
    mode : how it is copied where nothing changes
    tool : whose defaced image is released
    judged : what the audit says; None for an image that is released as it is
    accepted : who accepted a warning, as a sentence
    reference : an audited image of the session, for an image that has to be looked at
    acceptance, limits : for the verdict on such an image
    review_target : where such an image goes when a person has to look at it first
    mask : where the mask goes, in the release
    mask_target : the same as a file
    """

    path: str
    source: Path
    target: Path
    mode: str
    tool: str
    judged: Judged | None = None
    accepted: str | None = None
    reference: Reference | None = None
    acceptance: Acceptance = Acceptance()
    limits: tuple[float, float] = (0.0, 0.0)
    review_target: Path | None = None
    mask: str | None = None
    mask_target: Path | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the result depends on."""
        return (__version__, self.tool, place_of(self.source), self._key_of_audit(), self._key_of_look())

    def _key_of_audit(self) -> tuple[object, ...]:
        judged = self.judged
        if judged is None or judged.defaced is None or judged.mask is None:
            return ()
        verdicts = (judged.version, judged.face, judged.brain, self.accepted)
        return (place_of(judged.defaced), place_of(judged.mask), verdicts)

    def _key_of_look(self) -> tuple[object, ...]:
        if self.reference is None:
            return ()
        places = tuple(map(place_of, (self.reference.path, self.reference.brain_mask, self.reference.mask)))
        review = self.acceptance.review
        decided = (review.decision, review.initials) if review else ()
        return (places, self.limits, self.acceptance.all_warnings, decided)


def make_image(task: ImageTask) -> Made:
    """Write one image; one that cannot be released is held back, with a sentence."""
    try:
        row = _made(task)
    except ImageError as error:
        row = ReleaseRow(path=task.path, action="held back", looked_at="no", reason=str(error))
    if row.action == "held back":
        task.target.unlink(missing_ok=True)
        return Made(row=row)
    before = None if row.action == "copied" else fingerprint(task.source).sha256
    return Made(row=row, before=before, key=task.key, place=place_of(task.target))


def _made(task: ImageTask) -> ReleaseRow:
    if task.judged is not None:
        return _defaced(task, task.judged)
    return _copied(task) if task.reference is None else _looked_at(task, task.reference)


def _looked_at(task: ImageTask, reference: Reference) -> ReleaseRow:
    """An image that the audit did not judge, masked as the audited image of its session where it shows a face."""
    from bids_refacer.release.images.looking import look, masked  # loads Nipype, which other images do not need

    seen = look(task.source, reference, task.limits, task.tool)
    about = {"path": task.path, "looked_at": "yes", "verdict": seen.verdict or "not judged"}
    refusal, accepted = task.acceptance.decide(seen.verdict, seen.reason)
    if refusal:
        face = None if seen.removed is None else seen.verdict
        if seen.verdict == "warn" and seen.removed is not None and task.review_target:
            write_scan(task.review_target, seen.scan, masked(seen.scan, seen.removed))
        return ReleaseRow(**about, action="held back", face_verdict=face, tool=task.tool, reason=refusal)
    if seen.removed is None:
        return replace(_copied(task), looked_at="yes", verdict="pass", reason=seen.reason)
    write_scan(task.target, seen.scan, masked(seen.scan, seen.removed))
    if task.mask_target:
        write_volume(task.mask_target, Volume(seen.removed, seen.scan.affine), bool)
        write_json(sidecar_of(task.mask_target), carried_mask_sidecar(task.path, reference.name, task.tool))
    return ReleaseRow(
        **about,
        action="defaced",
        face_verdict=seen.verdict,
        tool=task.tool,
        kept_voxels="equal",
        removed_voxels="one value",
        mask=task.mask,
        reason=" ".join(filter(None, (f"With the mask of {reference.name}.", seen.reason, accepted))),
        sha256=fingerprint(task.target).sha256,
    )


def _copied(task: ImageTask) -> ReleaseRow:
    changed = copy_without_texts(task.source, task.target)
    if not changed:
        place(task.source, task.target, task.mode)
    return ReleaseRow(
        path=task.path,
        action="scrubbed" if changed else "copied",
        looked_at="no",
        reason="Texts of its header, or of gzip's." if changed else None,
        sha256=fingerprint(task.target).sha256,
    )


def _defaced(task: ImageTask, judged: Judged) -> ReleaseRow:
    """The defaced image with the original's own header, once the original's other voxels are seen to be in it."""
    original, defaced = read_scan(task.source), read_scan(judged.defaced or Path())
    mask = mask_of(judged.mask or Path())
    about: dict[str, Any] = {
        "path": task.path,
        "looked_at": "yes",
        "verdict": judged.verdict,
        "face_verdict": judged.face,
        "brain_verdict": judged.brain,
        "tool": task.tool,
        "version": judged.version,
        "mask": task.mask,
    }
    if not _is_the_originals(original, defaced, mask):
        return ReleaseRow(**about, action="held back", kept_voxels="differ", reason=DIFFERS)
    if _shows_what_was_removed(original, defaced, mask):
        return ReleaseRow(**about, action="held back", kept_voxels="equal", reason=STILL_THERE)
    write_scan(task.target, original, defaced.stored)
    if task.mask_target and judged.mask:
        place(judged.mask, task.mask_target, "copy")
    return ReleaseRow(
        **about,
        action="defaced",
        kept_voxels="equal",
        removed_voxels="one value" if has_one_value(defaced.stored[mask]) else "replaced",
        reason=" ".join(filter(None, (judged.reason, task.accepted))) or None,
        sha256=fingerprint(task.target).sha256,
    )


def _is_the_originals(original: Scan, defaced: Scan, mask: np.ndarray) -> bool:
    """Whether a defaced image is the original but for what its mask covers."""
    shapes = {original.stored.shape, defaced.stored.shape, mask.shape}
    if len(shapes) > 1 or original.stored.dtype != defaced.stored.dtype or not mask.any():
        return False
    headers = [without_texts(scan.header).binaryblock for scan in (original, defaced)]
    kept = ~mask
    return headers[0] == headers[1] and bool((original.stored[kept] == defaced.stored[kept]).all())


def _shows_what_was_removed(original: Scan, defaced: Scan, mask: np.ndarray) -> bool:
    """Whether tissue of the original is still there inside the mask."""
    before, after = original.stored[mask], defaced.stored[mask]
    tissue = before != original.fill
    return int(((before == after) & tissue).sum()) > _MOST_LEFT * max(int(tissue.sum()), 1)


def in_parallel(function: Callable[[T], R], tasks: Sequence[T], nprocs: int) -> Iterator[R]:
    """What a function makes of each task, as it becomes ready; nothing that was started outlives this process."""
    if nprocs == 1 or len(tasks) < 2:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(nprocs, len(tasks)), mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)
    ) as pool:
        try:
            for done in as_completed([pool.submit(function, task) for task in tasks]):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            kill_workers()
            raise
