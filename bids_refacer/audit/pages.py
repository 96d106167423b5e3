"""When pages are made: at the end of a run, and again with ``--reports-only``."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bids_refacer.audit.plan import Plan
from bids_refacer.dataset.names import faces_page, participant_page
from bids_refacer.dataset.rows.audit import StatusRow
from bids_refacer.dataset.rows.table import rows_of
from bids_refacer.environment import matplotlib_at_home
from bids_refacer.layout import Layout
from bids_refacer.processes import end_with_parent, kill_workers
from bids_refacer.settings import RunSettings

Say = Callable[[str], None]


def make_participant_pages(layout: Layout, bids_dir: Path, labels: Sequence[str], nprocs: int = 1) -> list[str]:
    """Make the pages of participants (without ``sub-``) from the outputs of the participant level.

    Returns
    -------
    list of str
        A sentence for each participant whose pages could not be made; the others' are there.
    """
    with matplotlib_at_home(layout):
        tasks = [(layout, bids_dir, label) for label in labels]
        if nprocs == 1 or len(tasks) < 2:
            outcomes = [make_pages_of_one(task) for task in tasks]
        else:  # spawned: a process that Nipype and torch have run threads in must not be forked
            context = multiprocessing.get_context("spawn")
            count, start = min(nprocs, len(tasks)), (end_with_parent, (os.getpid(),))
            with ProcessPoolExecutor(count, mp_context=context, initializer=start[0], initargs=start[1]) as pool:
                try:
                    outcomes = list(pool.map(make_pages_of_one, tasks))
                except KeyboardInterrupt:
                    kill_workers()
                    raise
    return [outcome for outcome in outcomes if outcome]


def make_pages_of_one(task: tuple[Layout, Path, str]) -> str | None:
    """The pages of one participant; what went wrong, as a sentence: results must not be lost for want of a page."""
    from bids_refacer.reports.participant_page import write_participant_pages

    layout, bids_dir, label = task
    try:
        write_participant_pages(layout, bids_dir, [label])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return f"The pages of sub-{label} could not be made ({reason}): its results are complete without them."
    return None


def pages_of_run(plan: Plan, settings: RunSettings, say: Say, made: frozenset[str] = frozenset()) -> bool:
    """Make the pages that a run made out of date, and those that are missing; whether all could be made.

    Those of the participants `made` were made when their last image ended.
    """
    touched = {job.image.participant for job in plan.jobs} | {problem.participant for problem in plan.problems}
    known = touched | {image.participant for image, _ in plan.finished}
    kept = settings.keep_refaced
    old = touched - made
    labels = [label for label in sorted(known) if label in old or not _has_pages(settings.layout, label, kept)]
    return _make_and_say(settings, labels, say, more=bool(made))


def rebuild_participant_pages(settings: RunSettings, say: Say = print) -> bool:
    """Make the pages of participants again from the outputs that are there; whether all could be made."""
    known = {row.participant_id.removeprefix("sub-") for row in rows_of(settings.layout, StatusRow)}
    labels = [label for label in sorted(known) if label in (settings.participant_label or known)]
    return _make_and_say(settings, labels, say)


def _make_and_say(settings: RunSettings, labels: Sequence[str], say: Say, *, more: bool = False) -> bool:
    """Make pages, and say where all are; `more` is whether others were made before."""
    failed = make_participant_pages(settings.layout, settings.bids_dir, labels, settings.nprocs)
    for sentence in failed:
        say(sentence)
    if more or len(labels) > len(failed):
        layout = settings.layout
        faces = f"; with faces, not for sharing: {layout.identifiable}/sub-*.html" if settings.keep_refaced else ""
        say(f"Pages: {layout.shareable}/sub-*.html{faces}")
    return not failed


def _has_pages(layout: Layout, label: str, faces: bool) -> bool:
    wanted = [participant_page(layout, label)]
    wanted += [faces_page(layout, label)] if faces and (layout.identifiable / f"sub-{label}").is_dir() else []
    return all(path.is_file() for path in wanted)
