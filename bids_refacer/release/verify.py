"""A release looked at again: checksums, verdicts, masks, headers, identifying fields, valid BIDS.

It needs the release alone. What only the originals could show, such as whether a kept voxel is the original's, rests on
the checksums.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.dataset.image_key import EXTENSIONS
from bids_refacer.dataset.records import fingerprint
from bids_refacer.dataset.rows.checked import is_inside
from bids_refacer.dataset.rows.release import ReleaseRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.rows.tsv import NOT_AVAILABLE, TableError
from bids_refacer.dataset.validation import validate
from bids_refacer.release.certificate import CERTIFICATE
from bids_refacer.release.content.descriptions import MASKS
from bids_refacer.release.content.headers import has_clean_gzip_header, has_texts
from bids_refacer.release.content.masks import has_one_value, mask_of
from bids_refacer.release.content.metadata import Lists, metadata_lists
from bids_refacer.release.content.people import TableRules, release_table
from bids_refacer.release.documents import SCRUB
from bids_refacer.release.errors import ReleaseError
from bids_refacer.release.images.making import in_parallel
from bids_refacer.release.inventory import OF_GIT, Kind, kind_of
from bids_refacer.release.plan import needs_verdict, sidecar_path
from bids_refacer.volumes.image_file import ImageError
from bids_refacer.volumes.nifti import read_series
from bids_refacer.wording import counted

_SHIFTED_BEFORE = "1925"
_RELEASED = ("copied", "defaced", "scrubbed", "completed", "added")
_MOST = 50  # lines on the terminal
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a file of a release."""

    path: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class FileTask:
    """A released file to look at; `keep` are fields and columns that were kept on purpose."""

    root: Path
    row: ReleaseRow
    keep: tuple[str, ...]


def verify_release(
    root: Path, *, keep: tuple[str, ...] = (), with_validator: bool = True, nprocs: int = 1, say: Say = print
) -> int:
    """Look at all of a release and say what is wrong with it.

    Parameters
    ----------
    root : of the release
    keep : fields and columns that were kept on purpose
    with_validator : whether it must be valid BIDS
    nprocs : processes at a time
    say : gets each line

    Returns
    -------
    int
        0 when nothing is wrong, 1 otherwise.

    Raises
    ------
    ReleaseError
        When there is no certificate that can be read.
    """
    rows = read_certificate(root)
    faults = list(find_faults(root, rows, keep=keep, nprocs=nprocs))
    if with_validator:
        faults += [Fault(path="", sentence=sentence) for sentence in validate(root)]
    for fault in faults[:_MOST]:
        say(f"{fault.path}: {fault.sentence}" if fault.path else fault.sentence)
    if faults[_MOST:]:
        say(f"... and {len(faults) - _MOST} more.")
    released = [row for row in rows if row.action in _RELEASED]
    defaced = sum(row.action == "defaced" for row in released)
    result = f"{counted(len(faults), 'fault')} found" if faults else "nothing is wrong"
    say(f"{counted(len(released), 'file')} looked at, {counted(defaced, 'defaced image')} among them: {result}.")
    return 1 if faults else 0


def read_certificate(root: Path) -> list[ReleaseRow]:
    """The rows of ``release.tsv``. Raises ReleaseError where they cannot be read, or name files outside."""
    path = root / CERTIFICATE[0]
    if not path.is_file():
        raise ReleaseError(
            f"{root} has no release.tsv, so it is no finished release: run 'bids_refacer release' again."
        )
    try:
        rows = read_rows(path, ReleaseRow)
    except (ValueError, TypeError) as error:
        raise ReleaseError(f"The certificate cannot be read: {error}") from error
    for row in rows:
        for name in filter(None, (row.path.removesuffix("/"), row.mask)):
            if not is_inside(name):
                raise ReleaseError(f"{path} names {name!r}, which lies outside of the release: somebody changed it.")
    return rows


def find_faults(root: Path, rows: Sequence[ReleaseRow], *, keep: tuple[str, ...], nprocs: int) -> Iterator[Fault]:
    """Everything that is wrong, but for what a validator says."""
    yield from _faults_of_list(root, rows)
    released = [row for row in rows if row.action in _RELEASED and (root / row.path).is_file()]
    tasks = [FileTask(root=root, row=row, keep=keep) for row in released]
    images = [task for task in tasks if task.row.path.endswith(EXTENSIONS)]
    others = [task for task in tasks if not task.row.path.endswith(EXTENSIONS)]
    for found in in_parallel(faults_of_file, images, nprocs):
        yield from found
    for task in others:
        yield from faults_of_file(task)


def _faults_of_list(root: Path, rows: Sequence[ReleaseRow]) -> Iterator[Fault]:
    """What the list of files alone shows: missing and additional files, verdicts that must not be there."""
    for name, number in Counter(row.path for row in rows).items():
        if number > 1:
            yield Fault(path=name, sentence="It has more than one row in release.tsv.")
    known = {row.path: row for row in rows}
    for row in rows:
        there = (root / row.path).exists()
        if row.action in _RELEASED and not there:
            yield Fault(path=row.path, sentence="It is missing.")
        if row.action not in _RELEASED and there and not row.path.endswith("/"):
            yield Fault(path=row.path, sentence="It was not released, and is here all the same.")
        yield from _faults_of_verdict(row)
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_dir() and name not in CERTIFICATE and name not in known and name.split("/")[0] not in OF_GIT:
            yield Fault(path=name, sentence="It has no row in release.tsv: nobody looked at it.")
    for name in CERTIFICATE:
        if not (root / name).is_file():
            yield Fault(path=name, sentence="It is missing.")


def _faults_of_verdict(row: ReleaseRow) -> Iterator[Fault]:
    if row.action == "defaced":
        accepted = row.verdict == "warn" and "Accepted" in str(row.reason)
        if row.verdict != "pass" and not accepted:
            yield Fault(path=row.path, sentence=f"It was released with the verdict {row.verdict or 'not judged'}.")
        if row.kept_voxels != "equal":
            yield Fault(path=row.path, sentence="Its kept voxels were not seen to be the original's.")
    elif row.action in _RELEASED and _is_head(row.path) and row.looked_at != "yes":
        yield Fault(path=row.path, sentence="It lies where images of heads lie and was released without a verdict.")


def _is_head(path: str) -> bool:
    return path.endswith(EXTENSIONS) and needs_verdict(path) and not path.startswith(f"{MASKS}/")


def faults_of_file(task: FileTask) -> list[Fault]:
    """What is wrong with the content of one file."""
    row, path = task.row, task.root / task.row.path
    sentences = []
    if fingerprint(path).sha256 != row.sha256:
        sentences.append("Its content is not what was released (SHA-256).")
    lists = metadata_lists(task.keep)
    try:
        if row.path.endswith(EXTENSIONS):
            sentences += _faults_of_image(task, path)
        else:
            sentences += _faults_of_text(row.path, path, lists)
    except (ImageError, TableError) as error:
        sentences.append(str(error))
    if row.action == "defaced" and not _says_how(task.root / sidecar_path(row.path)):
        sentences.append("Its sidecar does not say how it was defaced (DeidentificationMethod).")
    return [Fault(path=row.path, sentence=sentence) for sentence in sentences]


def _faults_of_image(task: FileTask, path: Path) -> list[str]:
    found = ["Its header, or gzip's, holds texts, extensions or a time."] if has_texts(path) else []
    if task.row.action != "defaced":
        return found
    place = task.root / (task.row.mask or "")
    if not place.is_file():
        return [*found, "Its mask is missing, so that nobody can see whether the face is gone."]
    image, mask = read_series(path), mask_of(place)
    if image.stored.shape[:3] != mask.shape or not mask.any():
        return [*found, "Its mask is empty or does not fit it."]
    if task.row.removed_voxels == "one value" and not has_one_value(image.stored[mask]):
        found.append("Inside its mask, it holds more than one value: what was removed is there again.")
    return found


def _faults_of_text(name: str, path: Path, lists: Lists) -> list[str]:
    kind = kind_of(path, name)
    if kind in SCRUB and not name.startswith(MASKS):
        return _faults_of_json(kind, path, lists)
    if kind is Kind.TABLE:
        _, removed = release_table(path, name, TableRules(lists=lists, shift_key=None), ())
        named = [one.field for one in removed if not (one.field in lists.time_columns and _are_shifted(one.value))]
        return [f"It has columns that were to be removed: {', '.join(named)}."] if named else []
    if kind is Kind.PACKED and not has_clean_gzip_header(path):
        return ["The header of gzip holds a name or a time."]
    return []


def _are_shifted(cells: Sequence[str]) -> bool:
    """Whether all times of a column lie before the year by which BIDS knows shifted dates."""
    return all(cell == NOT_AVAILABLE or cell[:4] < _SHIFTED_BEFORE for cell in cells)


def _faults_of_json(kind: Kind, path: Path, lists: Lists) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return [f"It is no JSON ({error})."]
    if not isinstance(content, dict):
        return ["It is no JSON object."]
    named = [one.field for one in SCRUB[kind](content, lists)[1]]
    return [f"It has fields that were to be removed: {', '.join(named)}."] if named else []


def _says_how(sidecar: Path) -> bool:
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and bool(content.get("DeidentificationMethod"))
