"""The other images of each session: defaced as the audited one was (``--apply-to-others``), or told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bids_refacer import __version__
from bids_refacer.audit.crashes import Crash
from bids_refacer.audit.graph.jobs import ToolJob, node_name
from bids_refacer.audit.graph.others import OtherJob
from bids_refacer.audit.plan import all_tools
from bids_refacer.audit.verdict_rows import defacing_row
from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.images import HeadImage, ImageProblem, Selection
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.others import OtherImage, find_others, one_of_parts, unseen
from bids_refacer.dataset.records import discard, fingerprint, is_current, read_defaced_record
from bids_refacer.dataset.tables import image_columns, problem_row, status_row
from bids_refacer.defacers import Defacer
from bids_refacer.defacers.user import read_definitions
from bids_refacer.settings import SUFFIXES, RunSettings

Row = dict[str, Any]
_MOST = 5  # names in a sentence


@dataclass(frozen=True, kw_only=True)
class Others:
    """The images that are not audited; without ``--apply-to-others`` they are all `passed_over`."""

    images: tuple[OtherImage, ...] = ()
    problems: tuple[ImageProblem, ...] = ()
    passed_over: tuple[HeadImage, ...] = ()


def choose(selection: Selection, settings: RunSettings) -> tuple[Selection, Others]:
    """What is audited, and the others: with them, one part of each acquisition is audited in the name of all."""
    chosen = {"participants": settings.participant_label, "sessions": settings.session_label}
    if not settings.apply_to_others:
        return selection, Others(passed_over=tuple(unseen(settings.bids_dir, selection, **chosen)))
    audited = one_of_parts(selection)
    images, problems = find_others(settings.bids_dir, audited, **chosen)
    return audited, Others(images=tuple(images), problems=tuple(problems))


def describe_others(others: Others, settings: RunSettings) -> list[str]:
    """What would be done with them, for ``--dry-run``."""
    tools, lines = all_tools(settings), [problem.message for problem in others.problems]
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


def plan_others(others: Others, settings: RunSettings) -> list[OtherJob]:
    """What is to be done, once the audited images are done: their masks are read from the output.

    Results of earlier runs that were made otherwise are removed.
    """
    tools = all_tools(settings)
    definitions = read_definitions(settings.tools_file) if settings.tools_file else {}
    jobs: dict[HeadImage, OtherJob] = {}
    leaders = set()
    for other in others.images:
        if other.reference is None:
            continue
        names, theirs = _names(other.image, settings), _names(other.reference, settings)
        waiting, native = [], set()
        for name in settings.deface_tools:
            mask, record = theirs.defacemask(name), names.other_record(name)
            is_native = _is_native(tools[name], other)
            job = _tool_job(other, tools[name], definitions.get(name), mask, settings, native=is_native)
            current = read_defaced_record(record)
            if job and is_current(current, job.key, other.image, settings.output_dir, keep_refaced=True):
                continue
            discard(record, settings.output_dir)
            if job:
                waiting.append(replace(job, input=fingerprint(other.image.path)))
                native |= {name} if is_native else set()
        leaders |= {other.leader} if waiting else set()
        jobs[other.image] = OtherJob(
            other=other, names=names, reference_names=theirs, tools=tuple(waiting), native=frozenset(native)
        )
    return [job for image, job in jobs.items() if job.tools or image in leaders]


def other_rows(others: Others, crashes: Sequence[Crash], settings: RunSettings) -> tuple[list[Row], list[Row]]:
    """Rows of the tables of status and of defacing: one for each image and tool, whatever became of it."""
    status, defacing = [problem_row(problem) for problem in others.problems], []
    for other in others.images:
        for tool in settings.deface_tools:
            record = read_defaced_record(_names(other.image, settings).other_record(tool))
            if record is None:
                status.append(_not_done(other, tool, crashes, settings))
                continue
            details = record.deface
            said = _how(details, other)
            status.append(
                status_row(other.image, tool, stage="output", status="ok", message=said, run_time_s=record.run_time_s)
            )
            defacing.append({**image_columns(other.image, tool), **defacing_row(details, settings)})
    return status, defacing


def passed_over_rows(others: Others, settings: RunSettings) -> list[Row]:
    """Rows of the table of status about images that the run leaves as they are, unless an earlier run defaced them."""
    rows = []
    for image in others.passed_over:
        names = _names(image, settings)
        if not any(read_defaced_record(names.other_record(tool)) for tool in settings.deface_tools):
            row = {
                **image_columns(image),
                "stage": "input",
                "status": "skipped",
                "message": _passed_over(image, settings),
            }
            rows.append(row)
    return rows


def about_passed_over(rows: Sequence[Row]) -> list[str]:
    """A line for the terminal: who publishes the defaced images should know of the others."""
    if not rows:
        return []
    paths = ", ".join(row["image"] for row in rows[:_MOST]) + (f" and {len(rows) - _MOST} more" if rows[_MOST:] else "")
    return [f"{len(rows)} other images may show the face and were not defaced (--apply-to-others does): {paths}"]


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


def _tool_job(
    other: OtherImage,
    tool: Defacer,
    definition: Mapping[str, object] | None,
    mask: Path,
    settings: RunSettings,
    *,
    native: bool,
) -> ToolJob | None:
    """What to do; None where the reference has no mask of this tool."""
    if other.reference is None or not mask.is_file():
        return None
    version = tool.version()
    key: dict[str, object] = {"Tool": tool.name, "ToolVersion": version, "AppVersion": __version__, "Native": native}
    key |= {"MaskOf": other.reference.bids_path, "MaskSHA256": fingerprint(mask).sha256}
    key |= {} if definition is None else {"ToolDefinition": dict(definition)}
    warnings = tool.warnings(other.image.suffix if native else other.reference.suffix)
    if tool.action == "replaces" and not native:
        warnings.append(f"the face that {tool.name} made cannot be carried to another image: its place was zeroed")
    return ToolJob(
        tool=tool.name,
        version=version,
        seeds=(),
        key=key,
        definition=definition,
        replaces=tool.action == "replaces",
        warnings=tuple(warnings),
        timeout_s=settings.tool_timeout,
        memory_gb=tool.memory_gb,
    )


def _not_done(other: OtherImage, tool: str, crashes: Sequence[Crash], settings: RunSettings) -> Row:
    """The row of an image that was not defaced with a tool, and why."""
    if other.reference is None:
        return status_row(other.image, tool, stage="input", status="skipped", message=_no_reference(other.image))
    job = ToolJob(tool=tool, version="", seeds=(), key={})
    places = {(node_name(other.image), job.node_name), (node_name(other.image), None), (node_name(other.leader), None)}
    for crash in crashes:
        if (crash.image, crash.tool) in places:
            return status_row(other.image, tool, stage=crash.stage, status="failed", message=crash.message)
    message = f"{other.image.path} was not defaced: the run ended before; run it again."
    if not _names(other.reference, settings).defacemask(tool).is_file():
        message = (
            f"{other.image.path} was not defaced with {tool}, as there is no mask of {other.reference.bids_path} to "
            "carry: see what its own row says."
        )
    return status_row(other.image, tool, stage="deface", status="skipped", message=message)


def _no_reference(image: HeadImage) -> str:
    session = f"session {image.session}" if image.session else "the participant"
    return (
        f"{image.path} was not defaced, as {session} has no audited image whose mask it could get: add a T1w image, "
        f"have this one audited itself with --suffix {image.suffix}, or deface it by hand."
    )


def _passed_over(image: HeadImage, settings: RunSettings) -> str:
    itself = f", or have it audited itself with --suffix {image.suffix}" if image.suffix in SUFFIXES else ""
    itself = ", or leave out the filter that it did not match" if image.suffix in settings.suffix else itself
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
    return OutputNames(output_dir=settings.output_dir, entities=image.entities, suffix=image.suffix)
