"""What is to be done with each file: which images go, which are held back and why. Nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.image_key import without_extension
from bids_refacer.dataset.rows.release import ReleaseRow, ReviewRow
from bids_refacer.dataset.rows.table import read_rows
from bids_refacer.dataset.tables import data_dictionary
from bids_refacer.release.audit_results import judge_images
from bids_refacer.release.content.descriptions import MASKS
from bids_refacer.release.inventory import Found, Kind
from bids_refacer.release.judged import Judged
from bids_refacer.release.making import ImageTask
from bids_refacer.release.settings import ReleaseSettings

ACCEPTED = "Accepted with --accept-warnings."
TO_REVIEW = "Look at it and decide in a review list (--review-list), or accept all warnings (--accept-warnings)."
_HELD, _OUT = "held back", "left out"
_NOT_RELEASED = {Kind.UNCHECKED: _HELD, Kind.UNREADABLE: _HELD, Kind.LEFT_OUT: _OUT}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Images that are to be written, files that are not released, those that follow, and images for a person to see."""

    tasks: tuple[ImageTask, ...]
    withheld: tuple[ReleaseRow, ...]
    rest: tuple[Found, ...]
    to_review: tuple[ReviewRow, ...]


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
    judged = judge_images([one.path for one in images if needs_verdict(one.path)], settings)
    decisions = _read_review(settings.review_list, judged)
    tasks, to_review = [], []
    for one in images:
        own = judged.get(one.path)
        if own is not None and own.verdict == "warn":
            to_review.append(_review_row(one.path, own, decisions.get(one.path)))
        refusal, accepted = (None, None) if own is None else decide(own, decisions.get(one.path), settings)
        if own is not None and refusal:
            withheld.append(_withheld(one.path, own, refusal, settings.tool))
        else:
            tasks.append(_task(one, own, accepted, settings))
    rest = tuple(one for one in every if one.kind not in (*_NOT_RELEASED, Kind.IMAGE))
    return Plan(tasks=tuple(tasks), withheld=tuple(withheld), rest=rest, to_review=tuple(to_review))


def needs_verdict(path: str) -> bool:
    """Whether an image goes only with a verdict: all that lie in an ``anat`` folder."""
    return "anat" in PurePosixPath(path).parts[:-1]


def decide(judged: Judged, review: ReviewRow | None, settings: ReleaseSettings) -> tuple[str | None, str | None]:
    """Why an image is held back (None: it goes), and who accepted a warning."""
    if review is not None and review.decision == "hold back":
        return f"Held back by {review.initials}, who looked at it.", None
    if judged.verdict == "pass":
        return None, None
    if judged.verdict == "warn" and review is not None and review.decision == "release":
        return None, f"Accepted by {review.initials}, who looked at it."
    if judged.verdict == "warn" and settings.accept_warnings:
        return None, ACCEPTED
    return " ".join(filter(None, (judged.reason, TO_REVIEW if judged.verdict == "warn" else None))), None


def mask_path(path: str, mask: Path) -> str:
    """Where the mask of an image lies in the release: under the audit's name, in the derivative dataset of masks."""
    return (PurePosixPath(MASKS) / PurePosixPath(path).parent / mask.name).as_posix()


def sidecar_path(path: str) -> str:
    """The sidecar beside an image."""
    return f"{without_extension(path)}.json"


def _task(found: Found, judged: Judged | None, accepted: str | None, settings: ReleaseSettings) -> ImageTask:
    mask = mask_path(found.path, judged.mask) if judged and judged.mask else None
    return ImageTask(
        path=found.path,
        source=found.source,
        target=settings.release_dir / found.path,
        mode=settings.link_mode,
        tool=settings.tool,
        judged=judged,
        accepted=accepted,
        mask=mask,
        mask_target=settings.release_dir / mask if mask else None,
    )


def _withheld(path: str, judged: Judged, refusal: str, tool: str) -> ReleaseRow:
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


def _review_row(path: str, judged: Judged, known: ReviewRow | None) -> ReviewRow:
    return ReviewRow(
        participant_id=PurePosixPath(path).parts[0],
        image=path,
        verdict=judged.verdict,
        reason=judged.reason,
        decision=known.decision if known else None,
        initials=known.initials if known else None,
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
