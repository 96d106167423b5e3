"""After the nodes: tables, CITATION.md and the end summary, from the records and the crashes of a run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bids_refacer.audit.crashes import Crash
from bids_refacer.audit.graph.jobs import node_name
from bids_refacer.audit.plan import Plan
from bids_refacer.audit.verdict_rows import defacing_row
from bids_refacer.dataset.citation import AttackUse, ToolUse, citation_text
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import OutputNames, dataset_table, default_work_dir, identifiable_dir, sidecar_of
from bids_refacer.dataset.records import all_records, any_other, read_details, read_record
from bids_refacer.dataset.sidecars import software_versions
from bids_refacer.dataset.tables import (
    image_columns,
    merge_rows,
    problem_row,
    read_table,
    status_row,
    write_dictionary,
    write_table,
)
from bids_refacer.defacers import DEFACERS
from bids_refacer.files import write_text
from bids_refacer.settings import RunSettings

Row = dict[str, Any]


def status_rows(plan: Plan, crashes: Sequence[Crash]) -> list[Row]:
    """One row for each image and tool that the run was about, and one for each image that could not be used."""
    rows = [problem_row(problem) for problem in plan.problems]
    for image, tool, names in _everything(plan):
        record = read_record(names.record(tool))
        if record:
            said = " ".join(record.reface.warnings) or None
            rows.append(
                status_row(image, tool, stage="output", status="ok", message=said, run_time_s=record.run_time_s)
            )
    for job in plan.jobs:
        for tool_job in job.tools:
            if read_record(job.names.record(tool_job.tool)):
                continue
            own = [c for c in crashes if c.image == job.node_name and c.tool in (None, tool_job.node_name)]
            if own:
                crash = own[0]
                stage, status, message = crash.stage, "failed", crash.message
            else:
                message = (
                    "The run ended before this image and tool were done, or the disk of the work folder is so full "
                    "that it could not be written why they failed: free some if it is, and run it again."
                )
                stage, status = "input", "skipped"
            rows.append(status_row(job.image, tool_job.tool, stage=stage, status=status, message=message))
    return sorted(rows, key=lambda row: (row["participant_id"], row.get("image") or "", row.get("tool") or ""))


def write_tables(
    plan: Plan, rows: Sequence[Row], output_dir: Path, settings: RunSettings, others: Sequence[Row] = ()
) -> None:
    """Status, surface distances and defacing of the whole dataset, and distances of each image and tool.

    `others` are rows of defacing about images that were not audited.
    """
    distances: list[Row] = []
    defacing: list[Row] = list(others)
    calibration: list[Row] = []
    for image, tool, names in _everything(plan):
        record = read_record(names.record(tool))
        columns = image_columns(image, tool)
        details = record.deface if record else read_details(names.verdict(tool))
        if details:
            defacing.append({**columns, **defacing_row(details, settings)})
        if record is None:
            continue
        own = [asdict(row) for row in record.distances]
        distances += own
        calibration += [asdict(row) for row in record.calibration]
        write_table(names.surfacedistance(tool), "surfacedistance", own)
        write_dictionary(sidecar_of(names.surfacedistance(tool)), "surfacedistance")
    about = {_subject(row) for row in rows}
    tables = {"status": rows, "surfacedistance": distances, "defacing": defacing, "calibration": calibration}
    for table, new in tables.items():
        path = dataset_table(output_dir, table)
        # rows of an image that was done before and failed now must not outlive its files
        old = [row for row in read_table(path) if _subject(row) not in about]
        write_table(path, table, merge_rows(old, new))
    people = [{"participant_id": folder.name} for folder in sorted(output_dir.glob("sub-*")) if folder.is_dir()]
    if people:
        write_table(dataset_table(output_dir, "participants"), "participants", people)


def write_citation(settings: RunSettings, card: str) -> None:
    """CITATION.md: every tool that has results in the dataset, and the attack of this run."""
    records = list(all_records(settings.output_dir))
    tools: dict[str, ToolUse] = {}
    for record in records:
        name, details = record.tool, record.deface
        citation = DEFACERS[name].citation if name in DEFACERS else details.citation or name
        version = details.version or "unknown"
        tools[name] = ToolUse(name=name, version=version, citation=citation, registration=details.registration)
    attack = None
    if records:
        attack = AttackUse(
            card=card,
            sampler=settings.sampler,
            steps=settings.steps or max(records[-1].reface.steps, default=1),
            num_samples=settings.num_samples,
            seed=settings.seed,
        )
    used = [tools[name] for name in sorted(tools)]
    text = citation_text(used, attack, software_versions(), others=any_other(settings.output_dir))
    write_text(settings.output_dir / "CITATION.md", text)


def forget_faces(plan: Plan, settings: RunSettings) -> None:
    """Remove recovered faces, for ``--no-keep-refaced``: the identifiable dataset's images and pages, nodes' folders.

    A run about some participants leaves the others alone: other runs may be at work on them.
    """
    work_dir, output_dir = settings.work_dir, plan.output_dir
    private = identifiable_dir(output_dir)
    folders, pages = [*private.glob("sub-*/"), *work_dir.glob("bids_refacer-*")], [*private.glob("sub-*.html")]
    if settings.participant_label or settings.session_label:
        images = {image.bids_path: image for image, _, _ in _everything(plan)}.values()
        own = {node_name(image) for image in images}
        folders = [folder for folder in work_dir.glob("bids_refacer-*/*/*") if folder.name in own]
        pages = [private / f"sub-{image.entities['sub']}.html" for image in images]
        for image in images:
            names = OutputNames(output_dir=output_dir, entities=image.entities, suffix=image.suffix)
            participant = private / f"sub-{image.entities['sub']}"
            folders.append(names.identifiable_anat.parent if settings.session_label else participant)
    for page in pages:
        page.unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    if work_dir == default_work_dir(output_dir) and not any(work_dir.glob("bids_refacer-*/*/*")):
        shutil.rmtree(work_dir, ignore_errors=True)


def summary(rows: Sequence[Row], plan: Plan, output_dir: Path) -> list[str]:
    """The end of a run: failures first, each with its sentence, then what was done and where it is."""
    failed = [row for row in rows if row["status"] != "ok"]
    lines = [f"{len(failed)} failed or were not done:"] if failed else []
    for (subject, stage, message), names in _alike(failed).items():
        lines.append(f"  {subject} {', '.join(names)} ({stage}): {message}".replace("  (", " ("))
    audited = {(image.bids_path, tool) for image, tool, _ in _everything(plan)}
    said = [row for row in rows if row["status"] == "ok" and row.get("message")]
    warned = [row for row in said if (row["image"], row["tool"]) in audited]
    lines += [f"  Warning: {image} {', '.join(names)}: {text}" for (image, _, text), names in _alike(warned).items()]
    done = len(rows) - len(failed)
    before = f", {len(plan.finished)} of them by an earlier run" if plan.finished else ""
    lines.append(f"{done} image x tool done{before}; results in {output_dir}")
    if done:
        lines.append(f"Recovered faces are identifiable data: {identifiable_dir(output_dir)} is not for sharing.")
    return lines


def _alike(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[str]]:
    """(image or participant, stage, message) -> tools: those that fared alike share a line."""
    tools: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        subject = row.get("image") or row["participant_id"]
        tools.setdefault((subject, row["stage"], row["message"]), []).append(row.get("tool") or "")
    return tools


def _everything(plan: Plan) -> list[tuple[HeadImage, str, OutputNames]]:
    """Image, tool and names of all that the run is about, in the order of the input."""
    found = [(job.image, tool.tool, job.names) for job in plan.jobs for tool in job.tools]
    for image, tool in plan.finished:
        names = OutputNames(output_dir=plan.output_dir, entities=image.entities, suffix=image.suffix)
        found.append((image, tool, names))
    return sorted(found, key=lambda item: (item[0].bids_path, item[1]))


def _subject(row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return row["participant_id"], row.get("image"), row.get("tool")
