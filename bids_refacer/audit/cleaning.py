"""What a run takes away: results that were made otherwise, and recovered faces that nobody wants kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from bids_refacer.audit.graph.jobs import node_name
from bids_refacer.audit.plan import Plan, tasks_of
from bids_refacer.dataset.names import OutputNames, default_work_dir, identifiable_dir
from bids_refacer.dataset.records import discard
from bids_refacer.settings import RunSettings


def clear_stale(plan: Plan) -> None:
    """Remove what earlier runs with other settings left of the images and tools that are about to be done again."""
    for job in plan.jobs:
        mask = job.names.brain_mask().relative_to(plan.output_dir).as_posix()
        shared = frozenset({mask, mask.removesuffix(".nii.gz") + ".json"})  # other tools' records list them too
        for tool in job.tools:
            discard(job.names.record(tool.tool), plan.output_dir, keep=shared)
            job.names.verdict(tool.tool).unlink(missing_ok=True)


def withdraw(records: Iterable[Path], output_dir: Path) -> None:
    """Remove the records and outputs of other images that were defaced otherwise: they may show what no mask hides."""
    for record in records:
        discard(record, output_dir)


def forget_faces(plan: Plan, settings: RunSettings) -> None:
    """Remove recovered faces, for ``--no-keep-refaced``: the identifiable dataset's images and pages, nodes' folders.

    A run about some participants leaves the others alone: other runs may be at work on them.
    """
    everyone = not (settings.participant_label or settings.session_label)
    folders, pages = _all_faces(plan, settings) if everyone else _own_faces(plan, settings)
    for page in pages:
        page.unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    work_dir = settings.work_dir
    if work_dir == default_work_dir(plan.output_dir) and not any(work_dir.glob("bids_refacer-*/*/*")):
        shutil.rmtree(work_dir, ignore_errors=True)


def _all_faces(plan: Plan, settings: RunSettings) -> tuple[list[Path], list[Path]]:
    """Folders and pages that show any face."""
    private = identifiable_dir(plan.output_dir)
    return [*private.glob("sub-*/"), *settings.work_dir.glob("bids_refacer-*")], [*private.glob("sub-*.html")]


def _own_faces(plan: Plan, settings: RunSettings) -> tuple[list[Path], list[Path]]:
    """Folders and pages that show a face of the images that the run was about."""
    private = identifiable_dir(plan.output_dir)
    images = {task.image.bids_path: task.image for task in tasks_of(plan)}.values()
    nodes = {node_name(image) for image in images}
    folders = [folder for folder in settings.work_dir.glob("bids_refacer-*/*/*") if folder.name in nodes]
    for image in images:
        session = OutputNames.of(plan.output_dir, image).identifiable_anat.parent
        folders.append(session if settings.session_label else private / f"sub-{image.participant}")
    return folders, [private / f"sub-{image.participant}.html" for image in images]
