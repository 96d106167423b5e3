"""How each image and tool fared: rows of the table of status, and the summary at the end of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from bids_refacer.audit.crash_files import Crash
from bids_refacer.audit.graph.jobs import node_name, tool_node_name
from bids_refacer.audit.graph.stages import Stage
from bids_refacer.audit.plan import Plan, tasks_of
from bids_refacer.audit.results import Result
from bids_refacer.dataset.images import HeadImage, ImageProblem
from bids_refacer.dataset.records import Record
from bids_refacer.dataset.rows.audit import DefacingRow, DistanceRow, StatusRow, subject_columns
from bids_refacer.problems import printable
from bids_refacer.reports.findings import image_marks
from bids_refacer.reports.notes.same_cut import same_cut_counts, same_cut_lines
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.region import headline
from bids_refacer.wording import counted

_NO_REASON = (
    "The run ended before this image and tool were done, or the disk of the work folder is so full that it could not "
    "be written why they failed: free some if it is, and run it again."
)


Pair = tuple[str, str]
"""Image and tool, by their names in the graph."""

InWork = Mapping[Pair, Stage | None]
"""What has not ended, and the stage that it is in: None where nothing of it has started."""

NOTHING: InWork = {}


def done_row(image: HeadImage, tool: str, message: str | None, run_time_s: float) -> StatusRow:
    """The row of an image that was done with a tool; `message` is what people should know of the result."""
    return StatusRow(
        **subject_columns(image, tool), stage="output", status="ok", message=message, run_time_s=run_time_s
    )


def not_done_row(image: HeadImage, tool: str | None, stage: str, message: str) -> StatusRow:
    """The row of an image that a tool was not run on, though nothing failed."""
    return StatusRow(**subject_columns(image, tool), stage=stage, status="skipped", message=message)


def unfinished_row(image: HeadImage, tool: str, stage: Stage | None) -> StatusRow:
    """The row of an image and tool in work, or of one that waits for its turn (`stage` is None)."""
    reached = stage.status if stage else None
    return StatusRow(**subject_columns(image, tool), stage=reached, status="running" if stage else "waiting")


def in_work_row(image: HeadImage, tool: str, in_work: InWork) -> StatusRow | None:
    """The same, where image and tool are in work."""
    pair = node_name(image), tool_node_name(tool)
    return unfinished_row(image, tool, in_work[pair]) if pair in in_work else None


def failed_row(image: HeadImage, tool: str, crash: Crash) -> StatusRow:
    """The row of an image that failed with a tool."""
    return StatusRow(**subject_columns(image, tool), stage=crash.stage, status="failed", message=crash.message)


def problem_row(problem: ImageProblem) -> StatusRow:
    """The row of an image that was not even read, or of a participant without any."""
    return StatusRow(
        participant_id=f"sub-{problem.participant}",
        session_id=f"ses-{problem.session}" if problem.session else None,
        image=problem.bids_path,
        stage="input",
        status="failed",
        message=problem.message,
    )


def status_rows(
    plan: Plan, results: Sequence[Result], crashes: Sequence[Crash], in_work: InWork = NOTHING
) -> list[StatusRow]:
    """One row for each image and tool that the run is about, and one for each image that could not be used."""
    to_do = {(job.image, tool.tool) for job in plan.jobs for tool in job.tools}
    rows = [problem_row(problem) for problem in plan.problems]
    for result in results:
        if row := in_work_row(result.image, result.tool, in_work):
            rows.append(row)
        elif result.record:
            rows.append(done_row(result.image, result.tool, _warnings(result.record), result.record.run_time_s))
        elif (result.image, result.tool) in to_do:
            rows.append(without_record(result, crashes))
    return sorted(rows, key=lambda row: (row.participant_id, row.image or "", row.tool or ""))


def _warnings(record: Record) -> str | None:
    """What people should know of a result: warnings of the attack, and why nobody could be recognised."""
    notes = [f"Recognition was not possible: {row.note}" for row in record.recognition if row.note]
    return " ".join([*record.reface.warnings, *notes]) or None


def without_record(result: Result, crashes: Sequence[Crash]) -> StatusRow:
    """The row of an image and tool that were not done, and why."""
    node, tools = node_name(result.image), (None, tool_node_name(result.tool))
    for crash in crashes:
        if crash.image == node and crash.tool in tools:
            return failed_row(result.image, result.tool, crash)
    return not_done_row(result.image, result.tool, "input", _NO_REASON)


def summary(rows: Sequence[StatusRow], plan: Plan) -> list[str]:
    """The end of a run: failures first, each with its sentence, then what was done and where it is."""
    failed = [row for row in rows if row.status != "ok"]
    lines = [f"{len(failed)} failed or were not done:"] if failed else []
    for (subject, stage, message), tools in _alike(failed).items():
        lines.append(printable(f"  {subject} {', '.join(tools)} ({stage}): {message}".replace("  (", " (")))
    audited = {(task.image.bids_path, task.tool) for task in tasks_of(plan)}
    warned = [row for row in rows if row.status == "ok" and row.message and (row.image, row.tool) in audited]
    lines += [f"  Warning: {image} {', '.join(tools)}: {text}" for (image, _, text), tools in _alike(warned).items()]
    done = len(rows) - len(failed)
    before = f", {len(plan.finished)} of them by an earlier run" if plan.finished else ""
    lines.append(f"{done} image x tool done{before}; results in {plan.layout.shareable}")
    if done:
        lines.append(f"Recovered faces are identifiable data: {plan.layout.identifiable} is not for sharing.")
    return lines


def tool_findings(defacing: Sequence[DefacingRow], distances: Sequence[DistanceRow]) -> list[str]:
    """What the run found of each tool, those that failed first: is the face gone, and was that enough?"""
    tools = list(dict.fromkeys(row.tool for row in defacing if row.tool and row.face_verdict))
    failed = {tool: sum(row.face_verdict == "fail" for row in defacing if row.tool == tool) for tool in tools}
    lines = [_tool_finding(tool, defacing, distances) for tool in sorted(tools, key=lambda name: -failed[name])]
    return [*lines, *same_cut_lines(same_cut_counts(defacing))]


def _tool_finding(tool: str, defacing: Sequence[DefacingRow], distances: Sequence[DistanceRow]) -> str:
    verdicts = [row.face_verdict for row in defacing if row.tool == tool and row.face_verdict]
    judged = counted(len(verdicts), "image")
    parts = [f"the face is still there in {verdicts.count('fail')} of {judged}"] if "fail" in verdicts else []
    parts += [f"skin is left, to look at, in {verdicts.count('warn')} of {judged}"] if "warn" in verdicts else []
    pairs = recovered_and_average([row for row in distances if row.tool == tool])
    beaten = sum(image_marks(None, *pair).withstood == "no" for pair in pairs)
    attack = "" if not pairs else f"; the attack came nearer than an average face in {beaten} of {len(pairs)}"
    return f"{tool}: {', '.join(parts) or f'face removed from {judged}'}{attack}."


def recovered_and_average(rows: Sequence[DistanceRow]) -> list[tuple[float, float]]:
    """Distances (mm) of recovered and average face, of the images that have both."""
    part = headline(row.part for row in rows)
    found: dict[str | None, dict[str | None, float]] = {}
    for row in rows:
        if row.part == part and row.image_type != "refaced" and row.masd_mm is not None:
            found.setdefault(row.image, {})[row.image_type] = row.masd_mm
    recovered = [
        (one.get("refaced_mean", one.get("refaced_sample_mean")), one.get("average")) for one in found.values()
    ]
    return [(first, second) for first, second in recovered if first is not None and second is not None]


def next_lines(rows: Sequence[StatusRow], settings: RunSettings) -> list[str]:
    """The command to go on with."""
    lines = []
    if any(row.status != "ok" for row in rows):
        lines.append("The same command again does what failed or was not done, and nothing else.")
    if any(row.status == "ok" for row in rows):
        lines.append(f"Next: {shlex.join(['bids_refacer', str(settings.bids_dir), str(settings.output_dir), 'group'])}")
    return lines


def _alike(rows: Sequence[StatusRow]) -> dict[tuple[str, str | None, str | None], list[str]]:
    """(image or participant, stage, message) -> tools: those that fared alike share a line."""
    tools: dict[tuple[str, str | None, str | None], list[str]] = {}
    for row in rows:
        subject = row.image or row.participant_id
        tools.setdefault((subject, row.stage, row.message), []).append(row.tool or "")
    return tools
