"""Rows of the tables, of a whole run or of some of its images, whatever has become of them by now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from bids_refacer.audit.crash_files import Crash
from bids_refacer.audit.graph.jobs import node_name
from bids_refacer.audit.other_images import Others, other_rows, passed_over_rows
from bids_refacer.audit.plan import Plan
from bids_refacer.audit.results import Result, read_results
from bids_refacer.audit.status import NOTHING, InWork, status_rows
from bids_refacer.audit.tables import Tables, VerdictLimits, tables_of
from bids_refacer.dataset.rows.audit import StatusRow
from bids_refacer.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows about images and tools.

    Attributes
    ----------
    results : what there is of those that are audited
    tables : all rows
    passed_over : rows of status about images that the run leaves as they are; `tables` has them, too
    """

    results: Sequence[Result]
    tables: Tables
    passed_over: Sequence[StatusRow] = ()


RowsAbout = Callable[[Collection[str], InWork, Sequence[Crash]], Rows]
"""Names of images in a graph, what is in work, and what failed -> the rows of these images."""


def rows_of_run(
    plan: Plan, others: Others, settings: RunSettings, crashes: Sequence[Crash], in_work: InWork = NOTHING
) -> Rows:
    """Rows about everything that a run is about."""
    results = read_results(plan)
    about_others, defacing = other_rows(others, crashes, settings, in_work)
    passed_over = passed_over_rows(others, settings)
    status = [*status_rows(plan, results, crashes, in_work), *about_others, *passed_over]
    tables = tables_of(results, status, defacing, VerdictLimits.of(settings))
    return Rows(results=results, tables=tables, passed_over=passed_over)


def audited_rows(plan: Plan, settings: RunSettings) -> RowsAbout:
    """How rows of some audited images are made."""

    def about(nodes: Collection[str], in_work: InWork, crashes: Sequence[Crash]) -> Rows:
        jobs = tuple(job for job in plan.jobs if job.node_name in nodes)
        images = {job.image for job in jobs}
        finished = tuple((image, tool) for image, tool in plan.finished if image in images)
        part = replace(plan, jobs=jobs, finished=finished, problems=())
        return rows_of_run(part, Others(), settings, crashes, in_work)

    return about


def carried_rows(others: Others, settings: RunSettings) -> RowsAbout:
    """How rows of some of the other images are made."""

    def about(nodes: Collection[str], in_work: InWork, crashes: Sequence[Crash]) -> Rows:
        images = tuple(other for other in others.images if node_name(other.image) in nodes)
        part = Others(images=images)
        nobody = Plan(jobs=(), finished=(), problems=(), layout=settings.layout)
        return rows_of_run(nobody, part, settings, crashes, in_work)

    return about
