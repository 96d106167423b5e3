"""What the audit says of each image and of the tool: read from its records and tables, and from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bids_refacer.audit.status import recovered_and_average
from bids_refacer.audit.tables import Limits, VerdictLimits, defacing_row
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import HeadImage, head_image
from bids_refacer.dataset.inputs.naming import FOREIGN
from bids_refacer.dataset.names import OutputNames, records_dir
from bids_refacer.dataset.records import DefacedRecord, is_current, read_defaced_record
from bids_refacer.dataset.rows.audit import DefacingRow, DistanceRow, StatusRow, subject_columns
from bids_refacer.dataset.rows.group import SummaryRow
from bids_refacer.dataset.rows.table import rows_of
from bids_refacer.layout import Layout
from bids_refacer.release.images.judged import Judged, Reference
from bids_refacer.release.settings import ReleaseSettings
from bids_refacer.reports.findings import distance_line, face_line, identity_line, image_marks, tool_marks
from bids_refacer.surfaces.verdicts import worse
from bids_refacer.wording import counted

NOT_AUDITED = "Not judged: the audit has no finished result of it with this tool."
NO_REFERENCE = (
    f"{NOT_AUDITED} No audited image of its session lends it a mask either: run the audit again with "
    "--apply-to-others, or have it audited itself with --suffix."
)
NAMELESS = "Not judged: its name or its place is not what BIDS asks for, so that nobody knows whose image it is."
CHANGED = "Not judged: the image, or what the audit made of it, has changed since it was audited. Run the audit again."
NO_FIGURES = (
    "Not judged: neither nose, eyes, mouth nor chin is in its field of view, so that no verdict could be given."
)
FACE_THERE = "The face is still there: take another tool for it, or deface it by hand."
BRAIN_CUT = "The brain is cut: take another tool for it."
LOOK_AT_FACE = "Facial skin is left, to look at."
LOOK_AT_BRAIN = "A little brain was removed, to look at."


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """What the audit found of the tool: sentences, and whether it withstood (``yes``, ``no``, ``not shown``).

    `withstood` is None where no face was painted back, so that nothing is known.
    """

    sentences: tuple[str, ...]
    withstood: str | None


def check_audit(settings: ReleaseSettings) -> None:
    """Raise DatasetError unless the audit has finished results of the tool."""
    folder = records_dir(settings.layout)
    if not folder.is_dir():
        raise DatasetError(
            f"{settings.output_dir} has no records of an audit: run 'bids_refacer {settings.bids_dir} "
            f"{settings.output_dir} participant' first, and keep its folder identifiable."
        )
    records = filter(None, map(read_defaced_record, sorted(folder.glob("sub-*/**/*.json"))))
    tools = {record.tool for record in records}
    if settings.tool not in tools:
        known = f"it has {', '.join(sorted(tools))}" if tools else "it has none at all"
        raise DatasetError(f"The audit in {settings.output_dir} has no image defaced with {settings.tool}; {known}.")


def private_dir(layout: Layout) -> Path:
    """The folder of what releases keep for themselves; identifiable."""
    return layout.identifiable / "release"


def judge_images(paths: list[str], settings: ReleaseSettings) -> dict[str, Judged]:
    """The verdict of each image, by its path in the dataset; images without a BIDS name are not judged."""
    said = {row.image: row for row in rows_of(settings.layout, DefacingRow) if row.tool == settings.tool}
    status = [row for row in rows_of(settings.layout, StatusRow) if row.tool in (settings.tool, None)]
    failed = {row.image: row.message for row in status if row.status == "failed"}
    found = {}
    for path in paths:
        image = head_image(settings.bids_dir / path, settings.bids_dir)
        judged = _judge(image, settings, said) if image else Judged(reason=_not_of_the_audit(path))
        message = failed.get(path) if judged.reason == NOT_AUDITED else None
        found[path] = replace(judged, said=f"Not judged: {message}") if message else judged
    return found


def _not_of_the_audit(path: str) -> str:
    """Why an image has no verdict that is no image of the audited dataset."""
    if set(FOREIGN).isdisjoint(PurePosixPath(path).parts):
        return NAMELESS
    try:
        ImageKey.of(path)
    except DatasetError:
        return NAMELESS
    return NOT_AUDITED


def mask_name(path: str, settings: ReleaseSettings) -> str:
    """The file name of the mask of an image, as the audit spells it."""
    return OutputNames.of(settings.layout, ImageKey.of(path)).defacemask(settings.tool).name


def session_of(path: str) -> str:
    """The folder of the session, or of the participant, that a file belongs to, in whatever dataset below it lies."""
    return "/".join(part for part in PurePosixPath(path).parts[:-1] if part.startswith(("sub-", "ses-")))


def references_of(judged: Mapping[str, Judged], settings: ReleaseSettings) -> dict[str, Reference]:
    """For each session, the audited image whose mask others get: a T1w where there is one, and one that passed."""
    found: dict[str, tuple[tuple[bool, bool, str], Reference]] = {}
    for path, one in judged.items():
        image = head_image(settings.bids_dir / path, settings.bids_dir)
        if image is None or one.mask is None or one.verdict not in ("pass", "warn"):
            continue
        brain = OutputNames.of(settings.layout, image).brain_mask()
        rank = (image.suffix != "T1w", one.verdict != "pass", path)
        if brain.is_file() and (session_of(path) not in found or rank < found[session_of(path)][0]):
            reference = Reference(path=image.path, brain_mask=brain, mask=one.mask, name=path)
            found[session_of(path)] = rank, reference
    return {session: reference for session, (_, reference) in found.items()}


def _judge(image: HeadImage, settings: ReleaseSettings, said: Mapping[str | None, DefacingRow]) -> Judged:
    names = OutputNames.of(settings.layout, image)
    for path in (names.record(settings.tool), names.other_record(settings.tool)):
        record = read_defaced_record(path)
        if record is not None and record.image == image.bids_path:
            if not is_current(record, record.key, image, settings.layout, keep_refaced=False):
                return Judged(reason=CHANGED)
            return _judged(image, names, record, settings, said.get(image.bids_path))
    return Judged(reason=NOT_AUDITED)


def _judged(
    image: HeadImage, names: OutputNames, record: DefacedRecord, settings: ReleaseSettings, said: DefacingRow | None
) -> Judged:
    """The verdict by the limits of the release, or the audit's own where that was stricter."""
    row = defacing_row(subject_columns(image, settings.tool), record.deface, _limits(settings))
    face = None if row.face_verdict is None else worse(row.face_verdict, said.face_verdict if said else None)
    brain = worse(row.brain_verdict, said.brain_verdict if said else None)
    return Judged(
        verdict=None if face is None else worse(face, brain),
        face=face,
        brain=brain,
        reason=_reason(face, brain),
        defaced=names.defaced(settings.tool),
        mask=names.defacemask(settings.tool),
        version=record.deface.version,
    )


def _reason(face: str | None, brain: str | None) -> str | None:
    said = {None: NO_FIGURES, "fail": FACE_THERE, "warn": LOOK_AT_FACE}.get(face)
    about_brain = {"fail": BRAIN_CUT, "warn": LOOK_AT_BRAIN}.get(str(brain))
    return " ".join(filter(None, (said, about_brain))) or None


def _limits(settings: ReleaseSettings) -> VerdictLimits:
    return VerdictLimits(
        face_left=Limits(*settings.face_left_limits),
        brain_cut=Limits(*settings.brain_cut_limits),
        brain_hole=Limits(*settings.brain_hole_limits),
    )


def audit_finding(settings: ReleaseSettings) -> AuditFinding:
    """What the audit found of the tool: the group level's finding, or the images' own where that was not run."""
    summary = rows_of(settings.layout, SummaryRow)
    own = [row for row in summary if row.tool == settings.tool]
    tests = sum(row.difference_p_holm is not None for row in summary)
    measured = [row for row in own if row.recovered_mm is not None]
    if measured:
        sentences = [
            line for row in measured for line in (face_line(row), distance_line(row, tests), identity_line(row))
        ]
        marks = [tool_marks(row).withstood for row in measured]
        worst = next(mark for mark in ("no", "not shown", "yes") if mark in marks)
        return AuditFinding(sentences=tuple(sentences), withstood=worst)
    return _finding_of_images(settings)


def _finding_of_images(settings: ReleaseSettings) -> AuditFinding:
    rows = [row for row in rows_of(settings.layout, DistanceRow) if row.tool == settings.tool]
    pairs = recovered_and_average(rows)
    if not pairs:
        text = f"The audit painted no face back after {settings.tool}: whether people can be found again is not known."
        return AuditFinding(sentences=(text,), withstood=None)
    beaten = sum(image_marks(None, *pair).withstood == "no" for pair in pairs)
    text = (
        f"The attack came nearer to the true face than an average face in {beaten} of {counted(len(pairs), 'image')} "
        f"defaced with {settings.tool}. The group level was not run, so that no interval and no test say how sure that "
        "is, and whether people are found again was not measured."
    )
    return AuditFinding(sentences=(text,), withstood="no" if beaten else "not shown")
