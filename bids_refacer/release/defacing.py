"""All heads of a dataset defaced and judged, without an attack: what a release needs and no more.

The graph is the audit's, without the nodes that paint faces back and score them. Its output is an audit's output: an
audit of the same dataset may be run into it later.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.audit.cleaning import sole_worker, tidy, withdraw
from bids_refacer.audit.crash_files import Crash, read_crashes
from bids_refacer.audit.execution import run_workflows
from bids_refacer.audit.graph.jobs import Attack, ImageJob
from bids_refacer.audit.machine import Machine
from bids_refacer.audit.other_images import Others, choose, other_rows, plan_others
from bids_refacer.audit.plan import all_tools, header_key, places_of, tool_job
from bids_refacer.audit.progress import Progress
from bids_refacer.audit.results import Result
from bids_refacer.audit.run import find_usable
from bids_refacer.audit.status import done_row, problem_row, without_record
from bids_refacer.audit.tables import Tables, VerdictLimits, defacing_row, write_tables
from bids_refacer.dataset.descriptions.derivatives import write_datasets
from bids_refacer.dataset.details import Json
from bids_refacer.dataset.images import Selection
from bids_refacer.dataset.names import OutputNames, lock_file, log_dir
from bids_refacer.dataset.records import is_current, read_defaced_record
from bids_refacer.dataset.rows.audit import DefacingRow, StatusRow, subject_columns
from bids_refacer.defacers.tools_file import read_definitions
from bids_refacer.environment import configure_nipype, prepare, start_log
from bids_refacer.files import one_writer
from bids_refacer.layout import Layout
from bids_refacer.settings import RunSettings
from bids_refacer.wording import counted
from bids_refacer.work_folder import default_work_dir, make_private

_NODES = f"bids_refacer-{__version__}-deface"  # in the work folder
Say = Callable[[str], None]


def deface_dataset(settings: RunSettings, say: Say = print) -> int:
    """Deface all images of heads that no earlier run has done; what failed is in the table of status.

    Returns
    -------
    int
        How many images failed.

    Raises
    ------
    RunError, DatasetError
        When the run cannot start: one or more sentences.
    """
    asked = find_usable(settings)
    selection, others = choose(asked, settings)
    write_datasets(settings.layout, settings.bids_dir)
    images = (*selection.images, *(other.image for other in others.images))
    with sole_worker(images, settings, say) as found:
        own = replace(settings, work_dir=found.work_dir)
        crashes = _run(selection, others, own, say)
        status, defacing = _rows(selection, others, crashes, own)
        tables = Tables(status=status, defacing=defacing, distances=(), calibration=())
        with one_writer(lock_file(own.layout)):
            write_tables(tables, own.layout, places_of(own))
        for line in tidy(status, own):
            say(line)
    return sum(row.status == "failed" for row in status)


def images_to_deface(settings: RunSettings) -> int:
    """How many images have no current result: audited ones, and those of other contrasts that get their masks.

    Raises
    ------
    RunError, DatasetError
        When the run cannot start: one or more sentences.
    """
    asked = find_usable(settings)
    selection, others = choose(asked, settings)
    return len(jobs_of(selection, settings)) + len(plan_others(others, settings).jobs)


def _run(selection: Selection, others: Others, settings: RunSettings, say: Say) -> list[Crash]:
    """Run the nodes, audited images first, as others get their masks; failures are returned, not raised."""
    jobs = jobs_of(selection, settings)
    if not jobs and not plan_others(others, settings).jobs:
        return []
    run_uuid = f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4()}"
    prepare(settings.work_dir, settings.omp_nthreads)
    log = start_log(log_dir(settings.layout, run_uuid) / "run.log", settings.verbose)
    crash_dir = settings.work_dir / "crashes" / run_uuid
    nodes = settings.work_dir / _NODES
    for folder in (crash_dir.parent, crash_dir, nodes):
        make_private(folder)
    configure_nipype(crash_dir, stop_on_first_crash=False)
    from bids_refacer.audit.graph.other_images import build_others  # not before the environment is prepared
    from bids_refacer.audit.graph.run import build_run

    machine = Machine(gpus=0, card="none", weights={})
    if jobs:
        say(f"{counted(len(jobs), 'image')} to deface with {', '.join(settings.deface_tools)}")
        graph = build_run(jobs=jobs, attack=_no_attack(settings), work_dir=nodes)
        run_workflows([graph], settings, machine, Progress(jobs, say), log)
    left = plan_others(others, settings)
    withdraw(left.stale, settings.layout)
    if left.jobs:
        say(f"{counted(len(left.jobs), 'other image')} of the same sessions")
        graph = build_others(jobs=left.jobs, work_dir=nodes)
        run_workflows([graph], settings, machine, Progress(left.jobs, say), log)
    return read_crashes(crash_dir)


def jobs_of(selection: Selection, settings: RunSettings) -> list[ImageJob]:
    """Images that have no current record, with the tools that are left to run on each."""
    tools = all_tools(settings)
    definitions = read_definitions(settings.tools_file) if settings.tools_file else {}
    jobs = []
    for image in selection.images:
        names = OutputNames.of(settings.layout, image)
        waiting = []
        for name in settings.deface_tools:
            key: Json = {
                "Tool": name,
                "ToolVersion": tools[name].version(),
                "AppVersion": __version__,
                "DefacedOnly": True,
                **({} if name not in definitions else {"ToolDefinition": dict(definitions[name])}),
                **header_key(settings),
            }
            record = read_defaced_record(names.other_record(name))
            if not is_current(record, key, image, settings.layout, keep_refaced=False):
                contrast = image.suffix
                waiting.append(tool_job(tools[name], definitions.get(name), key, image, settings, contrast=contrast))
        if waiting:
            jobs.append(ImageJob(image=image, names=names, tools=tuple(waiting)))
    return jobs


def _no_attack(settings: RunSettings) -> Attack:
    return Attack(
        num_samples=1,
        sampler=settings.sampler,
        steps=None,
        model="none",
        weights={},
        gpu="none",
        use_gpu=False,
        threads=settings.omp_nthreads,
        processes=min(settings.omp_nthreads, settings.nprocs),
        progress=False,
        keep=False,
        paints=False,
    )


def _rows(
    selection: Selection, others: Others, crashes: Sequence[Crash], settings: RunSettings
) -> tuple[list[StatusRow], list[DefacingRow]]:
    """Rows of the tables of status and of defacing, for all images."""
    status, defacing = other_rows(others, crashes, settings)
    status += [problem_row(problem) for problem in selection.problems]
    limits = VerdictLimits.of(settings)
    for image in selection.images:
        for tool in settings.deface_tools:
            record = read_defaced_record(OutputNames.of(settings.layout, image).other_record(tool))
            if record is None:
                status.append(without_record(Result(image=image, tool=tool, record=None, deface=None), crashes))
                continue
            status.append(done_row(image, tool, None, record.run_time_s))
            defacing.append(defacing_row(subject_columns(image, tool), record.deface, limits))
    return status, defacing


def audit_settings(bids_dir: Path, audit_dir: Path, tool: str, **others: object) -> RunSettings:
    """Settings of a run that defaces all images of heads of a dataset with one tool."""
    settings: dict[str, object] = {
        "bids_dir": bids_dir,
        "output_dir": audit_dir,
        "work_dir": default_work_dir(Layout.of(audit_dir)),
        "deface_tools": (tool,),
        "apply_to_others": True,
        "gpu": "none",
        **others,
    }
    return RunSettings(**settings)  # type: ignore[arg-type]
