"""A run: find the images, see what is left to do, do it, and say how it went."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from logging import Logger
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.audit.citation import write_citation
from bids_refacer.audit.cleaning import DoneImages, clear_stale, forget_faces, sole_worker, tidy, withdraw
from bids_refacer.audit.crash_files import Crash, read_crashes
from bids_refacer.audit.execution import run_workflows
from bids_refacer.audit.machine import Machine, RunError, ask
from bids_refacer.audit.other_images import (
    Others,
    about_passed_over,
    cannot_be_done,
    choose,
    count_others,
    describe_others,
    plan_others,
)
from bids_refacer.audit.pages import Say, pages_of_run
from bids_refacer.audit.partial.pages import PagesBeside
from bids_refacer.audit.partial.results import PartialTables, watch_audited, watch_others
from bids_refacer.audit.partial.rows import rows_of_run
from bids_refacer.audit.plan import (
    Plan,
    all_tools,
    describe,
    make_attack,
    make_plan,
    memory_warning,
    missing_tools,
    places_of,
    tool_warnings,
    unit1_notes,
)
from bids_refacer.audit.progress import Progress, elapsed, outcome_of
from bids_refacer.audit.status import next_lines, summary, tool_findings
from bids_refacer.audit.tables import TableWriter, VerdictLimits, write_image_tables
from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.images import Selection, find_images
from bids_refacer.dataset.names import lock_file, log_dir
from bids_refacer.dataset.validation import validate
from bids_refacer.environment import configure_nipype, prepare, start_log
from bids_refacer.files import one_writer
from bids_refacer.settings import RunSettings
from bids_refacer.wording import counted
from bids_refacer.work_folder import make_private

_NODES = f"bids_refacer-{__version__}"  # in the work folder
_MOST_ERRORS = 20  # of the validator, on the terminal
_NO_LOCKS = (
    "When several runs end there at once, run the same command again for all participants: it completes the tables."
)


def run_participants(settings: RunSettings) -> int:
    """Audit the images that the settings select.

    Returns
    -------
    int
        0 when every image and tool is done, 1 when any failed.

    Raises
    ------
    RunError, DatasetError
        When the run cannot start: one or more sentences.
    """
    asked = find_usable(settings)
    selection, others = choose(asked, settings)  # which reads records of earlier runs
    machine = ask(settings.model, settings.gpu)
    plan = make_plan(selection, settings, machine)
    if settings.dry_run:
        about_others = describe_others(others, settings) if settings.verbose else count_others(others)
        print("\n".join([*about_others, *describe(plan, settings)]))
        return 1 if plan.problems or cannot_be_done(others) else 0
    write_datasets(settings.layout, settings.bids_dir)
    images = (*selection.images, *(other.image for other in others.images))
    with sole_worker(images, settings, print) as found:
        if found.waited:  # what is left to do is no longer what it was
            selection, others = choose(asked, settings)
            plan = make_plan(selection, settings, machine)
        return _audit(plan, others, replace(settings, work_dir=found.work_dir), machine)


def _audit(plan: Plan, others: Others, settings: RunSettings, machine: Machine) -> int:
    """Do what is left to do and report; no other run is at work on these images."""
    say: Say = print
    work = Work(say=say, writer=TableWriter(settings.layout, places_of(settings)))
    if _is_work_left(plan, others, settings):  # a run with nothing to do leaves no trace, not even a log
        work = _work(plan, others, settings, machine, work.writer)
    return _report(plan, others, settings, machine, work)


def find_usable(settings: RunSettings) -> Selection:
    """The images that were asked for, once tools and dataset are seen to be usable."""
    missing = missing_tools(settings.deface_tools, all_tools(settings))
    if missing:
        raise RunError("\n".join(missing))
    if not settings.skip_bids_validation:
        _validate(settings.bids_dir)
    return _find(settings)


def _is_work_left(plan: Plan, others: Others, settings: RunSettings) -> bool:
    if plan.jobs:
        return True
    left = plan_others(others, settings)
    withdraw(left.stale, settings.layout)
    return bool(left.jobs or plan.problems)


def _report(plan: Plan, others: Others, settings: RunSettings, machine: Machine, work: Work) -> int:
    """Write tables, methods text and pages, and say how it went; returns the exit code."""
    say = work.say
    found = rows_of_run(plan, others, settings, work.crashes)
    with one_writer(lock_file(settings.layout)) as locked:
        if not locked:
            say(f"Warning: {settings.output_dir} is on a file system without locks. {_NO_LOCKS}")
        write_image_tables(found.results, settings.layout)
        work.writer.write(found.tables)
        write_citation(settings, machine)
    if not settings.keep_refaced:
        forget_faces(plan, settings)
    with_pages = pages_of_run(plan, settings, say, work.with_pages)
    passed_over = set(found.passed_over)
    rows = [row for row in found.tables.status if row not in passed_over]
    for line in (*about_passed_over(found.passed_over, others.misnamed), *summary(rows, plan)):
        say(line)
    for line in (
        *tool_findings(found.tables.defacing, found.tables.distances),
        *tidy(rows, settings),
        *next_lines(rows, settings),
    ):
        say(line)
    return 0 if with_pages and all(row.status == "ok" for row in rows) else 1


def _validate(bids_dir: Path) -> None:
    errors = validate(bids_dir, content=False)
    if errors:
        more = [f"... and {len(errors) - _MOST_ERRORS} more."] if len(errors) > _MOST_ERRORS else []
        found = counted(len(errors), "error")
        advice = f"{bids_dir} is not valid BIDS ({found}): correct it, or use --skip-bids-validation."
        raise RunError("\n".join([*errors[:_MOST_ERRORS], *more, advice]))


def _find(settings: RunSettings) -> Selection:
    selection = find_images(
        settings.bids_dir,
        participants=settings.participant_label,
        sessions=settings.session_label,
        suffixes=settings.suffix,
        filter_file=settings.bids_filter_file,
        database_dir=settings.bids_database_dir,
    )
    if not selection.images and not selection.problems:
        raise RunError(f"{settings.bids_dir} has no participants: its folders must be called sub-<label>.")
    return selection


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run did: how to say more, into the log too, what failed, and whose pages were made on the way."""

    say: Say
    writer: TableWriter
    crashes: Sequence[Crash] = ()
    with_pages: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A run at work: where its nodes are, and who is told: people, the log, tables and pages."""

    settings: RunSettings
    machine: Machine
    crash_dir: Path
    log_dir: Path
    log: Logger
    say: Say
    tables: PartialTables
    pages: PagesBeside

    @property
    def nodes_dir(self) -> Path:
        """Folder of the nodes' files."""
        return self.settings.work_dir / _NODES


def _work(plan: Plan, others: Others, settings: RunSettings, machine: Machine, writer: TableWriter) -> Work:
    """Run the nodes; failures are in the crashes, not raised."""
    run_uuid = f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4()}"
    prepare(settings.work_dir, settings.omp_nthreads)
    folder = log_dir(settings.layout, run_uuid)
    settings.to_toml(folder / "settings.toml")
    log = start_log(folder / "run.log", settings.verbose)

    def say(line: str) -> None:
        print(line, flush=True)
        log.info(line)

    crash_dir = settings.work_dir / "crashes" / run_uuid
    for folder_of_crashes in (crash_dir.parent, crash_dir):  # Nipype would make them with the modes of the umask
        make_private(folder_of_crashes)
    if plan.jobs:
        _say_what_is_done(plan, settings, machine, say)
        clear_stale(plan)
    began = time.monotonic()
    # not before `prepare`: Nipype reads the environment when it is imported
    configure_nipype(crash_dir, stop_on_first_crash=settings.stop_on_first_crash)
    make_private(settings.work_dir / _NODES)
    tables = PartialTables(settings.layout, writer, say)
    with PagesBeside(settings) as pages:
        running = Running(
            settings=settings,
            machine=machine,
            crash_dir=crash_dir,
            log_dir=folder,
            log=log,
            say=say,
            tables=tables,
            pages=pages,
        )
        _run_audited(plan, others, running)
        if not (settings.stop_on_first_crash and read_crashes(crash_dir)):
            _run_others(others, running)
        with_pages = pages.wait()
    say(f"Ended after {elapsed(time.monotonic() - began)}")
    log.info(f"Tables were written in {elapsed(tables.spent_s)} in all while the run went on")
    return Work(say=say, writer=writer, crashes=read_crashes(crash_dir), with_pages=with_pages)


def _say_what_is_done(plan: Plan, settings: RunSettings, machine: Machine, say: Say) -> None:
    count = sum(len(job.tools) for job in plan.jobs)
    device = f"{machine.gpus} GPU" if machine.gpus and settings.gpu != "none" else "CPU"
    say(f"bids_refacer {__version__}: {counted(len(plan.jobs), 'image')}, {count} image x tool to do, on {device}")
    notes = unit1_notes([job.image for job in plan.jobs], settings)
    for warning in (*memory_warning(), *notes, *tool_warnings(plan)):
        say(f"Warning: {warning}")


def _run_others(others: Others, running: Running) -> None:
    """Deface the other images by the masks that are there now."""
    settings = running.settings
    left = plan_others(others, settings)
    withdraw(left.stale, settings.layout)
    if left.jobs:
        running.say(f"{counted(len(left.jobs), 'other image')} of the same sessions")
        from bids_refacer.audit.graph.other_images import build_others

        workflow = build_others(jobs=left.jobs, work_dir=running.nodes_dir)
        watcher = watch_others(left.jobs, others, settings, running.tables, running.pages, running.crash_dir)
        progress = Progress(left.jobs, running.say, watcher=watcher)
        run_workflows([workflow], settings, running.machine, progress, running.log)
        watcher.ended()


def _run_audited(plan: Plan, others: Others, running: Running) -> None:
    """Audit the images; before that, the tables say what waits."""
    settings = running.settings
    watcher = watch_audited(plan, others, settings, running.tables, running.pages, running.crash_dir)
    if not plan.jobs:
        return
    from bids_refacer.audit.graph.run import build_run, draw

    attack = make_attack(settings, running.machine)
    if settings.write_graph:
        graph = build_run(jobs=plan.jobs, attack=attack, work_dir=running.nodes_dir)
        running.say(f"Graph of the workflow: {draw(graph, running.log_dir)}")
    # one process does one image after the other; Nipype's order would do one stage after the other
    alone = settings.nprocs == 1 and settings.nipype_plugin_file is None
    groups = [[job] for job in plan.jobs] if alone else [plan.jobs]
    workflows = (build_run(jobs=jobs, attack=attack, work_dir=running.nodes_dir) for jobs in groups)
    emptying = DoneImages(plan.jobs, running.nodes_dir, watcher)
    progress = Progress(plan.jobs, running.say, outcome_of(plan.jobs, VerdictLimits.of(settings)), emptying)
    run_workflows(workflows, settings, running.machine, progress, running.log)
    watcher.ended()
