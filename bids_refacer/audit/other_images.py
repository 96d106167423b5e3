"""The other images of each session: defaced as the audited one was (``--apply-to-others``), or named in the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.audit.crash_files import Crash
from bids_refacer.audit.graph.jobs import OtherJob, ToolJob, node_name, tool_node_name
from bids_refacer.audit.plan import all_tools, header_key, set_apart, tool_job
from bids_refacer.audit.status import NOTHING, InWork, done_row, failed_row, in_work_row, not_done_row, problem_row
from bids_refacer.audit.tables import VerdictLimits, defacing_row
from bids_refacer.dataset.details import DefaceDetails, Json
from bids_refacer.dataset.images import HeadImage, ImageProblem, Selection
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.other_images import OtherImage, find_others, one_of_parts, unseen
from bids_refacer.dataset.records import DefacedRecord, fingerprint, is_current, read_defaced_record
from bids_refacer.dataset.rows.audit import DefacingRow, StatusRow, subject_columns
from bids_refacer.defacers import Defacer
from bids_refacer.defacers.tools_file import read_definitions
from bids_refacer.settings import SUFFIXES, RunSettings
from bids_refacer.surfaces.verdicts import worst_part
from bids_refacer.wording import counted

_MOST = 5  # names in a sentence


@dataclass(frozen=True, kw_only=True)
class Others:
    """The images that are not audited; without ``--apply-to-others`` they are all `passed_over` or `misnamed`."""

    images: tuple[OtherImage, ...] = ()
    problems: tuple[ImageProblem, ...] = ()
    passed_over: tuple[HeadImage, ...] = ()
    misnamed: tuple[ImageProblem, ...] = ()


def choose(selection: Selection, settings: RunSettings) -> tuple[Selection, Others]:
    """What is audited, and what else shows a face; where that is defaced too, one part of an acquisition is audited.

    Images whose outputs would have one name are refused, all of them.
    """
    chosen = {"participants": settings.participant_label, "sessions": settings.session_label}
    if not settings.apply_to_others:
        passed_over, misnamed = unseen(settings.bids_dir, selection, **chosen)
        good, meeting = set_apart(selection.images, settings)
        audited = Selection(images=tuple(good), problems=_by_image(selection.problems, meeting))
        return audited, Others(passed_over=tuple(passed_over), misnamed=tuple(misnamed))
    audited = one_of_parts(selection)
    images, problems = find_others(settings.bids_dir, audited, **chosen)
    good, meeting = set_apart([*audited.images, *(other.image for other in images)], settings)
    own, apart = {image.bids_path for image in audited.images}, set(good)
    audited_meeting = [problem for problem in meeting if problem.bids_path in own]
    kept = tuple(image for image in audited.images if image in apart)
    audited = Selection(images=kept, problems=_by_image(selection.problems, audited_meeting))
    if meeting:  # what was to follow a refused image follows another one, or none
        images = find_others(settings.bids_dir, replace(audited, problems=(*audited.problems, *meeting)), **chosen)[0]
    others = [problem for problem in meeting if problem.bids_path not in own]
    return audited, Others(images=tuple(images), problems=_by_image(problems, others))


def _by_image(*problems: Sequence[ImageProblem]) -> tuple[ImageProblem, ...]:
    found = [problem for some in problems for problem in some]
    return tuple(sorted(found, key=lambda problem: (problem.participant, problem.bids_path or "")))


def describe_others(others: Others, settings: RunSettings) -> list[str]:
    """What would be done with the other images, for ``--dry-run``."""
    tools, lines = all_tools(settings), [problem.message for problem in others.problems]
    lines += [problem.message for problem in others.misnamed]
    lines += [_passed_over(image, settings) for image in others.passed_over]
    for other in others.images:
        if other.reference is None:
            lines.append(_no_reference(other.image))
            continue
        own = [name for name in settings.deface_tools if _is_native(tools[name], other)]
        masks = [name for name in settings.deface_tools if name not in own]
        path = other.image.bids_path
        lines += [f"{path}: would be defaced with {', '.join(own)}"] if own else []
        lines += [f"{path}: would get the masks of {other.reference.bids_path} ({', '.join(masks)})"] if masks else []
    return lines


def count_others(others: Others) -> list[str]:
    """The same in short: a line for each participant, one for all that is passed over, and what cannot be done."""
    lines = [problem.message for problem in others.problems]
    lines += [_no_reference(other.image) for other in others.images if other.reference is None]
    counts = Counter(other.image.participant for other in others.images if other.reference)
    lines += [f"sub-{label}: {counted(number, 'other image')} to deface too" for label, number in counts.items()]
    if others.passed_over:
        images = counted(len(others.passed_over), "other image")
        lines.append(f"{images} may show the face and would not be defaced (--apply-to-others does; -v lists them)")
    return lines


def cannot_be_done(others: Others) -> bool:
    """Whether some other images will not be done, whatever happens."""
    return bool(others.problems) or any(other.reference is None for other in others.images)


@dataclass(frozen=True, kw_only=True)
class OtherPlan:
    """What is to be done with other images; `stale` are records of earlier runs that made their results otherwise."""

    jobs: tuple[OtherJob, ...]
    stale: tuple[Path, ...]


def plan_others(others: Others, settings: RunSettings) -> OtherPlan:
    """What is to be done once the audited images are done, as their masks are read from the output; writes nothing."""
    jobs: list[OtherJob] = []
    stale: list[Path] = []
    for other in others.images:
        if other.reference is not None:
            job, outdated = _plan_image(other, other.reference, settings)
            jobs.append(job)
            stale += outdated
    leaders = {job.leader for job in jobs if job.tools}
    needed = tuple(job for job in jobs if job.tools or job.image in leaders)
    return OtherPlan(jobs=needed, stale=tuple(stale))


def _plan_image(other: OtherImage, reference: HeadImage, settings: RunSettings) -> tuple[OtherJob, list[Path]]:
    """The job of one image, with the tools that are left to do, and its records that do not hold any more."""
    tools = all_tools(settings)
    definitions = read_definitions(settings.tools_file) if settings.tools_file else {}
    names, theirs = _names(other.image, settings), _names(reference, settings)
    waiting, native, stale = [], set(), []
    for name in settings.deface_tools:
        is_native = _is_native(tools[name], other)
        mask, record = theirs.defacemask(name), names.other_record(name)
        if mask.is_file():  # the reference may have failed with this tool
            key = _key(tools[name], definitions.get(name), reference, mask, native=is_native)
            key = {**key, "InRegister": other.in_register, **header_key(settings)}
            current = read_defaced_record(record)
            is_done = is_current(current, key, other.image, settings.layout, keep_refaced=True)
            if current and is_done and not _shows_too_much(current, settings):
                continue
            seen_as = other.image.suffix if is_native else reference.suffix
            job = tool_job(tools[name], definitions.get(name), key, other.image, settings, contrast=seen_as)
            waiting.append(job if is_native else _with_zeroed_face(job))
            native |= {name} if is_native else set()
        stale.append(record)
    job_of_image = OtherJob(
        image=other.image,
        leader=other.leader,
        reference=reference,
        in_register=other.in_register,
        names=names,
        reference_names=theirs,
        tools=tuple(waiting),
        shown_by=other.shown_by,
        most_left=settings.face_left_limits[1],
        native=frozenset(native),
    )
    return job_of_image, stale


def other_rows(
    others: Others, crashes: Sequence[Crash], settings: RunSettings, in_work: InWork = NOTHING
) -> tuple[list[StatusRow], list[DefacingRow]]:
    """Rows of the tables of status and of defacing: one for each image and tool, whatever became of it."""
    status, defacing = [problem_row(problem) for problem in others.problems], []
    limits = VerdictLimits.of(settings)
    for other in others.images:
        for tool in settings.deface_tools:
            record = read_defaced_record(_names(other.image, settings).other_record(tool))
            if row := in_work_row(other.image, tool, in_work):
                status.append(row)
                continue
            if record is None:
                status.append(_not_done(other, tool, crashes, settings))
                continue
            status.append(done_row(other.image, tool, _how(record.deface, other), record.run_time_s))
            defacing.append(defacing_row(subject_columns(other.image, tool), record.deface, limits))
    return status, defacing


def passed_over_rows(others: Others, settings: RunSettings) -> list[StatusRow]:
    """Rows of the table of status about images that the run leaves as they are, unless an earlier run defaced them."""
    rows = [replace(problem_row(problem), status="skipped") for problem in others.misnamed]
    for image in others.passed_over:
        names = _names(image, settings)
        records = [read_defaced_record(names.other_record(tool)) for tool in settings.deface_tools]
        if not any(record and record.image == image.bids_path for record in records):
            rows.append(not_done_row(image, None, "input", _passed_over(image, settings)))
    return rows


def about_passed_over(rows: Sequence[StatusRow], misnamed: Sequence[ImageProblem] = ()) -> list[str]:
    """Lines for the terminal: who publishes the defaced images should know of the others; `rows` are about both."""
    unnamed = {problem.bids_path for problem in misnamed}
    named = [row for row in rows if row.image not in unnamed]
    lines = [f"Warning: {problem.message}" for problem in misnamed]
    if named:
        paths = ", ".join(str(row.image) for row in named[:_MOST])
        paths += f" and {len(named) - _MOST} more" if named[_MOST:] else ""
        left, images = "was" if len(named) == 1 else "were", counted(len(named), "other image")
        lines.append(f"{images} may show the face and {left} not defaced (--apply-to-others does): {paths}")
    return lines


def _is_native(tool: Defacer, other: OtherImage) -> bool:
    """Whether the tool runs on the image itself: another face cannot be carried, but some tools make one for it.

    Parts of one acquisition share a mask instead.
    """
    return (
        tool.action == "replaces"
        and other.image.suffix in tool.contrasts
        and other.parts == 1
        and not other.in_register
    )


def _key(
    tool: Defacer, definition: Mapping[str, object] | None, reference: HeadImage, mask: Path, *, native: bool
) -> Json:
    """Everything but the image itself that its result depends on."""
    return {
        "Tool": tool.name,
        "ToolVersion": tool.version(),
        "AppVersion": __version__,
        "Native": native,
        "MaskOf": reference.bids_path,
        "MaskSHA256": fingerprint(mask).sha256,
        **({} if definition is None else {"ToolDefinition": dict(definition)}),
    }


def _shows_too_much(record: DefacedRecord, settings: RunSettings) -> bool:
    """Whether more of the face is left than this run publishes; an earlier run may have had another limit."""
    share = worst_part(record.deface.figures.face_left)[1]
    return share is not None and share > settings.face_left_limits[1]


def _with_zeroed_face(job: ToolJob) -> ToolJob:
    """The job with a warning where the tool made a face, which the mask cannot carry along."""
    if not job.replaces:
        return job
    said = f"the face that {job.tool} made cannot be carried to another image: its place was zeroed"
    return replace(job, warnings=(*job.warnings, said))


def _not_done(other: OtherImage, tool: str, crashes: Sequence[Crash], settings: RunSettings) -> StatusRow:
    """The row of an image that was not defaced with a tool, and why."""
    if other.reference is None:
        return not_done_row(other.image, tool, "input", _no_reference(other.image))
    own, leader = node_name(other.image), node_name(other.leader)
    places = {(own, tool_node_name(tool)), (own, None), (leader, None)}
    for crash in crashes:
        if (crash.image, crash.tool) in places:
            return failed_row(other.image, tool, crash)
    message = f"{other.image.path} was not defaced: the run ended before; run it again."
    if not _names(other.reference, settings).defacemask(tool).is_file():
        message = (
            f"{other.image.path} was not defaced with {tool}, as there is no mask of {other.reference.bids_path} to "
            "carry: see what its own row says."
        )
    return not_done_row(other.image, tool, "deface", message)


def _no_reference(image: HeadImage) -> str:
    session = f"session {image.session}" if image.session else "the participant"
    return (
        f"{image.path} was not defaced, as {session} has no audited image whose mask it could get: add a T1w image, "
        f"have this one audited itself with --suffix {image.suffix}, or deface it by hand."
    )


def _passed_over(image: HeadImage, settings: RunSettings) -> str:
    itself = f", or have it audited itself with --suffix {image.suffix}" if image.suffix in SUFFIXES else ""
    if image.suffix in settings.suffix:
        is_old = settings.bids_database_dir is not None
        itself = ", or delete the pybids database, which does not know it" if is_old else ""
        itself = ", or leave out the filter that it did not match" if settings.bids_filter_file else itself
    return (
        f"{image.bids_path} may show the face too and was not defaced: give --apply-to-others, which carries the mask "
        f"of an audited image of its session{itself}."
    )


def _how(details: DefaceDetails, other: OtherImage) -> str:
    """How an image was defaced, for its row."""
    if other.reference is None or details.mask_of is None:
        return f"Defaced natively by {details.tool}, placed by {other.reference and other.reference.bids_path}."
    how = "in register with it" if other.in_register else "rigidly registered"
    return f"Defaced with the mask of {details.mask_of}, {how}."


def _names(image: HeadImage, settings: RunSettings) -> OutputNames:
    return OutputNames.of(settings.layout, image)
