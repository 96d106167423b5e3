"""What a run takes away: results that were made otherwise, and recovered faces that nobody wants kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bids_refacer.audit.graph.jobs import ImageJob, node_name, node_name_of
from bids_refacer.audit.graph.stages import Stage
from bids_refacer.audit.plan import Plan, tasks_of
from bids_refacer.audit.progress import Watcher
from bids_refacer.dataset.image_key import without_extension
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import OutputNames, faces_page, records_dir, running_dir
from bids_refacer.dataset.records import discard
from bids_refacer.dataset.rows.audit import StatusRow
from bids_refacer.files import claimed, one_writer, sweep
from bids_refacer.layout import Layout
from bids_refacer.settings import RunSettings
from bids_refacer.work_folder import RUNNING, is_default_work_dir, make_private, private_work_dir, remove_intermediate


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a run works alone; `waited` is whether it had to wait, so that others may have done its work."""

    waited: bool
    work_dir: Path


@contextmanager
def sole_worker(images: Iterable[HeadImage], settings: RunSettings, say: Callable[[str], None]) -> Iterator[Workplace]:
    """Work on some images alone: runs that want them too, into the same output or work folder, wait.

    The work folder is made private, and emptied where that was asked for. What runs that were killed left half-written
    is removed.
    """
    sessions = frozenset(_session(image) for image in images)
    waited = []

    def wait(session: str) -> None:
        waited.append(session)
        about = session or "images in the same work folder"
        say(f"Another run is at work on {about}: this one waits until it ends.")

    layout, clean = settings.layout, settings.clean_work_dir
    with ExitStack() as claims:
        alone = claims.enter_context(claimed(running_dir(layout), sessions, wait))
        _sweep(layout, sessions, alone=alone)
        place = private_work_dir(settings.work_dir)
        make_private(place / RUNNING)
        alone = claims.enter_context(claimed(place / RUNNING, None if clean else sessions, wait))
        work_dir = private_work_dir(settings.work_dir, clean=clean)
        if work_dir != place:  # it was shared until it was emptied
            make_private(work_dir / RUNNING)
            alone = claims.enter_context(claimed(work_dir / RUNNING, sessions, wait))
        if alone:
            shutil.rmtree(work_dir / "tmp", ignore_errors=True)
        yield Workplace(waited=bool(waited), work_dir=work_dir)


@contextmanager
def beside_workers(layout: Layout) -> Iterator[None]:
    """Write to the root of an output where runs may be at work: they do not take our half-written files for left ones.

    Nobody waits. Where nobody else is at work, what was left there is removed.
    """
    if not records_dir(layout).is_dir():
        yield
        return
    with claimed(running_dir(layout), frozenset(), lambda _: None) as alone:
        _sweep(layout, (), alone=alone)
        yield


def _session(image: HeadImage) -> str:
    """The folder of an image's session, or of a participant without any."""
    return f"sub-{image.participant}" + (f"/ses-{image.session}" if image.session else "")


def _sweep(layout: Layout, sessions: Iterable[str], *, alone: bool) -> None:
    """Remove half-written files of our sessions, and where nobody else is at work, all of them."""
    for root in (layout.shareable, layout.identifiable, records_dir(layout)):
        for folder in root.glob("sub-*") if alone else [root / session for session in sessions]:
            sweep(folder, below=True)
        if alone:
            sweep(root, below=False)
            for folder in root.glob(".matplotlib-*"):  # environment.matplotlib_at_home
                shutil.rmtree(folder, ignore_errors=True)


def clear_stale(plan: Plan) -> None:
    """Remove what earlier runs with other settings left of the images and tools that are about to be done again."""
    for job in plan.jobs:
        mask = plan.layout.name_of(job.names.brain_mask())
        shared = frozenset({mask, mask.removesuffix(".nii.gz") + ".json"})  # other tools' records list them too
        for tool in job.tools:
            discard(job.names.record(tool.tool), plan.layout, keep=shared)
            job.names.verdict(tool.tool).unlink(missing_ok=True)


def withdraw(records: Iterable[Path], layout: Layout) -> None:
    """Remove the records and outputs of other images that were defaced otherwise: they may show what no mask hides."""
    for record in records:
        discard(record, layout)


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


class DoneImages:
    """Removes the intermediate images of an image when it is done with all tools, so that they never pile up.

    It stands before another watcher of a run (`progress.Watcher`), which is told everything first.
    """

    def __init__(self, jobs: Sequence[ImageJob], nodes_dir: Path, then: Watcher) -> None:
        self._jobs = {job.node_name: job for job in jobs}
        self._left = {job.node_name: {tool.node_name for tool in job.tools} for job in jobs}
        self._nodes_dir, self._then = nodes_dir, then

    def started(self, image: str, tool: str | None, stage: Stage) -> None:
        """A node starts."""
        self._then.started(image, tool, stage)

    def ended(self, pairs: Collection[tuple[str, str]]) -> None:
        """Images and tools are done, or never will be: those without record failed, and keep what was computed."""
        self._then.ended(pairs)
        for image, tool in pairs:
            self._left[image].discard(tool)
        for image in {image for image, _ in pairs if not self._left[image]}:
            job = self._jobs[image]
            if all(job.names.record(tool.tool).is_file() for tool in job.tools):
                for folder in self._nodes_dir.glob(f"*/{image}"):
                    shutil.rmtree(folder, ignore_errors=True)


def tidy(rows: Sequence[StatusRow], settings: RunSettings) -> list[str]:
    """Remove intermediate images of what is done; those of what failed stay, and a sentence says where."""
    failed = {row.image for row in rows if row.status != "ok"}
    images = {row.image for row in rows if row.image} - failed
    done = {node_name_of(without_extension(Path(image).name)) for image in images}
    for folder in settings.work_dir.glob("bids_refacer-*/*/*"):
        if folder.name in done:
            shutil.rmtree(folder, ignore_errors=True)
    if any(folder.is_dir() for folder in settings.work_dir.glob("bids_refacer-*/*/*")):
        return [f"Intermediate images of what failed, which show faces, are kept in {settings.work_dir}."]
    _empty_work_dir(settings)
    return []


def _empty_work_dir(settings: RunSettings) -> None:
    """Remove what this app left in the work folder, where no other run is at work in it; runs that begin wait for us.

    A folder that nobody asked for is removed itself.
    """
    work_dir = settings.work_dir
    with one_writer(work_dir / RUNNING / "lock") as locked:
        if locked and len(list((work_dir / RUNNING).glob("*.json"))) < 2:  # our own
            remove_intermediate(work_dir)
            if is_default_work_dir(work_dir, settings.layout) and len(list(work_dir.iterdir())) < 2:
                shutil.rmtree(work_dir, ignore_errors=True)


def _all_faces(plan: Plan, settings: RunSettings) -> tuple[list[Path], list[Path]]:
    """Folders and pages that show any face."""
    private = plan.layout.identifiable
    return [*private.glob("sub-*/"), *settings.work_dir.glob("bids_refacer-*")], [*private.glob("sub-*.html")]


def _own_faces(plan: Plan, settings: RunSettings) -> tuple[list[Path], list[Path]]:
    """Folders and pages that show a face of the images that the run was about."""
    private = plan.layout.identifiable
    images = {task.image.bids_path: task.image for task in tasks_of(plan)}.values()
    nodes = {node_name(image) for image in images}
    folders = [folder for folder in settings.work_dir.glob("bids_refacer-*/*/*") if folder.name in nodes]
    for image in images:
        session = OutputNames.of(plan.layout, image).identifiable_anat.parent
        folders.append(session if settings.session_label else private / f"sub-{image.participant}")
    return folders, [faces_page(plan.layout, image.participant) for image in images]
