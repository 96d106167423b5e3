"""What is to be done with each file: which images go, which are held back and why. Nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.image_key import without_extension
from bids_refacer.dataset.inputs.naming import FOREIGN
from bids_refacer.dataset.rows.release import ReleaseRow, ReviewRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.tables import data_dictionary
from bids_refacer.release.audit_results import (
    NO_REFERENCE,
    NOT_AUDITED,
    judge_images,
    mask_name,
    private_dir,
    references_of,
    session_of,
)
from bids_refacer.release.content.descriptions import MASKS
from bids_refacer.release.images.judged import Acceptance, Judged, Reference
from bids_refacer.release.images.making import ImageTask
from bids_refacer.release.inventory import Found, Kind
from bids_refacer.release.journal import journal_folder
from bids_refacer.release.settings import ReleaseSettings

_HELD, _OUT = "held back", "left out"
_NOT_RELEASED = {Kind.UNCHECKED: _HELD, Kind.UNREADABLE: _HELD, Kind.LEFT_OUT: _OUT}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Images that are to be written, files that are not released, those that follow, decisions on images.

    `warned` are the audit's files of images whose verdict is a warning.
    """

    tasks: tuple[ImageTask, ...]
    withheld: tuple[ReleaseRow, ...]
    rest: tuple[Found, ...]
    decisions: Mapping[str, ReviewRow]
    warned: Mapping[str, Path]


def review_dir(settings: ReleaseSettings) -> Path:
    """Where images lie that a person has to look at and that the audit does not have; identifiable."""
    return journal_folder(private_dir(settings.layout), settings.release_dir) / "images"


def make_plan(found: Iterable[Found], settings: ReleaseSettings) -> Plan:
    """Decide about each file.

    Raises
    ------
    DatasetError
        When the review list cannot be used.
    """
    every = list(found)
    withheld = [
        ReleaseRow(path=one.path, action=_NOT_RELEASED[one.kind], looked_at="no", reason=one.note)
        for one in every
        if one.kind in _NOT_RELEASED
    ]
    images = [one for one in every if one.kind is Kind.IMAGE]
    wanted = [one.path for one in images if needs_verdict(one.path, settings.also, everything=settings.scan_everything)]
    judged = judge_images(wanted, settings)
    decisions = _read_review(settings.review_list, judged)
    references = references_of(judged, settings)
    tasks = []
    for one in images:
        review = decisions.get(one.path)
        acceptance = Acceptance(all_warnings=settings.accept_warnings, review=review)
        task = _task(one, judged.get(one.path), acceptance, references, settings)
        if isinstance(task, ReleaseRow):
            withheld.append(task)
        else:
            tasks.append(task)
    rest = tuple(one for one in every if one.kind not in (*_NOT_RELEASED, Kind.IMAGE))
    warned = {path: one.defaced for path, one in judged.items() if one.verdict == "warn" and one.defaced}
    return Plan(tasks=tuple(tasks), withheld=tuple(withheld), rest=rest, decisions=decisions, warned=warned)


def needs_verdict(path: str, also: Sequence[str] = (), *, everything: bool = False) -> bool:
    """Whether an image goes only with a verdict.

    These are all in ``anat`` folders, in other datasets (``derivatives``, ``sourcedata``), and in folders that a person
    names; with `everything`, all.
    """
    return everything or not {"anat", *FOREIGN, *also}.isdisjoint(PurePosixPath(path).parts[:-1])


def mask_path(path: str, mask: Path) -> str:
    """Where the mask of an image lies in the release: under the audit's name, in the derivative dataset of masks."""
    return (PurePosixPath(MASKS) / PurePosixPath(path).parent / mask.name).as_posix()


def sidecar_path(path: str) -> str:
    """The sidecar beside an image."""
    return f"{without_extension(path)}.json"


def _task(
    found: Found,
    judged: Judged | None,
    acceptance: Acceptance,
    references: Mapping[str, Reference],
    settings: ReleaseSettings,
) -> ImageTask | ReleaseRow:
    """What is done with an image, or its row where it is held back."""
    task = ImageTask(
        path=found.path,
        source=found.source,
        target=settings.release_dir / found.path,
        mode=settings.link_mode,
        tool=settings.tool,
        acceptance=acceptance,
        limits=settings.face_left_limits,
    )
    if judged is None:
        return task
    if judged.reason == NOT_AUDITED:
        reference = references.get(session_of(found.path))
        if reference is None or (acceptance.review and acceptance.review.decision == "hold back"):
            return _withheld(found.path, judged, acceptance.decide(None, judged.said or NO_REFERENCE)[0], settings.tool)
        mask = Path(mask_name(found.path, settings))
        place = review_dir(settings) / found.path
        return _with_mask(replace(task, reference=reference, review_target=place), mask, settings)
    refusal, accepted = acceptance.decide(judged.verdict, judged.reason)
    if refusal or judged.mask is None:
        return _withheld(found.path, judged, refusal, settings.tool)
    return _with_mask(replace(task, judged=judged, accepted=accepted), judged.mask, settings)


def _with_mask(task: ImageTask, mask: Path, settings: ReleaseSettings) -> ImageTask:
    name = mask_path(task.path, mask)
    return replace(task, mask=name, mask_target=settings.release_dir / name)


def _withheld(path: str, judged: Judged, refusal: str | None, tool: str) -> ReleaseRow:
    return ReleaseRow(
        path=path,
        action=_HELD,
        looked_at="no" if judged.verdict is None else "yes",
        verdict=judged.verdict or "not judged",
        face_verdict=judged.face,
        brain_verdict=judged.brain,
        tool=tool,
        version=judged.version,
        reason=refusal,
    )


def _read_review(path: Path | None, judged: Mapping[str, Judged]) -> dict[str, ReviewRow]:
    """The decisions of a review list, by images; lines without a decision are passed over."""
    if path is None:
        return {}
    if not path.is_file():
        raise DatasetError(f"The review list {path} is not there: check the path.")
    try:
        rows = read_rows(path, ReviewRow)
    except ValueError as error:
        raise DatasetError(f"The review list cannot be used: {error}") from error
    decisions = {row.image: row for row in rows if row.decision is not None}
    levels = list(data_dictionary(ReviewRow.table)["decision"]["Levels"])
    for image, row in decisions.items():
        if row.decision not in levels:
            known = " or ".join(levels)
            raise DatasetError(f"{path} has the decision {row.decision!r} for {image}: write {known}.")
        if not row.initials:
            raise DatasetError(f"{path} has a decision for {image} and no initials: write who looked at it.")
        if image not in judged:
            raise DatasetError(f"{path} decides about {image}, which the dataset does not have: correct its path.")
    return decisions
