"""What a run takes away: results that were made otherwise, and recovered faces that nobody wants kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_refacer.audit.graph.jobs import node_name
from bids_refacer.audit.plan import Plan, tasks_of
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import RECORDS, RUNNING, OutputNames, default_work_dir, identifiable_dir
from bids_refacer.dataset.records import discard
from bids_refacer.environment import make_private
from bids_refacer.files import claimed, sweep
from bids_refacer.settings import RunSettings


@contextmanager
def sole_worker(images: Iterable[HeadImage], settings: RunSettings, say: Callable[[str], None]) -> Iterator[bool]:
    """Work on some images alone: runs that want them too, into the same output or work folder, wait.

    What runs that were killed left half-written is removed.

    Yields
    ------
    bool
        Whether this run had to wait, so that others may have done its work.
    """
    sessions = frozenset(_session(image) for image in images)
    waited = []

    def wait(session: str) -> None:
        waited.append(session)
        about = session or "images in the same work folder"
        say(f"Another run is at work on {about}: this one waits until it ends.")

    output, work = settings.output_dir, settings.work_dir
    everything = None if settings.clean_work_dir else sessions
    make_private(work)
    with claimed(output / RUNNING, sessions, wait) as alone:
        with claimed(work / "running", everything, wait) as alone_in_work:
            _sweep(output, sessions, alone=alone)
            if alone_in_work:
                shutil.rmtree(work / "tmp", ignore_errors=True)
            yield bool(waited)


@contextmanager
def beside_workers(output_dir: Path) -> Iterator[None]:
    """Write to the root of an output where runs may be at work: they do not take our half-written files for left ones.

    Nobody waits. Where nobody else is at work, what was left there is removed.
    """
    if not (output_dir / RECORDS).is_dir():
        yield
        return
    with claimed(output_dir / RUNNING, frozenset(), lambda _: None) as alone:
        _sweep(output_dir, (), alone=alone)
        yield


def _session(image: HeadImage) -> str:
    """The folder of an image's session, or of a participant without any."""
    return f"sub-{image.participant}" + (f"/ses-{image.session}" if image.session else "")


def _sweep(output_dir: Path, sessions: Iterable[str], *, alone: bool) -> None:
    """Remove half-written files of our sessions, and where nobody else is at work, all of them."""
    for root in (output_dir, identifiable_dir(output_dir), output_dir / RECORDS):
        for folder in root.glob("sub-*") if alone else [root / session for session in sessions]:
            sweep(folder, below=True)
        if alone:
            sweep(root, below=False)
    for folder in output_dir.glob(".matplotlib-*") if alone else ():
        shutil.rmtree(folder, ignore_errors=True)


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
    shared = len(list((work_dir / "running").glob("*.json"))) > 1
    if work_dir == default_work_dir(plan.output_dir) and not any(work_dir.glob("bids_refacer-*/*/*")) and not shared:
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
