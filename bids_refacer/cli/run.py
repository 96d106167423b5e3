"""What the command line asked for, done: the participant level, the group level, or pages again."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from bids_refacer.audit.cleaning import beside_workers
from bids_refacer.audit.run import run_participants
from bids_refacer.dataset.descriptions.former_layout import take_up
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import dataset_table
from bids_refacer.environment import (
    Terminated,
    away_from_current_folder,
    leave_closed_home,
    own_variables,
    stop_log,
    terminable,
)
from bids_refacer.problems import AuditProblem, remedy_for
from bids_refacer.processes import kill_workers, workers_end_with_us
from bids_refacer.settings import RunSettings

_INTERRUPTED, _TERMINATED = 130, 143  # exit codes, as shells have them


def run(settings: RunSettings) -> int:
    """Do what the settings ask for.

    Returns
    -------
    int
        0 when every image and tool is done, 1 when any failed or the run could not start, 130 when interrupted, 143
        when terminated.
    """
    code = guarded(lambda: _level(settings), settings.output_dir)
    if code in (_INTERRUPTED, _TERMINATED) and settings.work_dir.is_dir():
        print(f"Until then, intermediate images, which show faces, are kept in {settings.work_dir}.", file=sys.stderr)
    return code


def guarded(work: Callable[[], int], output: Path) -> int:
    """Do some work so that whatever stops it is said in a sentence; `output` is where it writes.

    Returns
    -------
    int
        What the work returns; 1 when it cannot be done, 130 when interrupted, 143 when terminated.
    """
    leave_closed_home()
    try:
        with terminable(), away_from_current_folder(), own_variables(), workers_end_with_us():
            return work()
    except AuditProblem as error:
        print(error, file=sys.stderr)
    except OSError as error:
        where = error.filename or output
        remedy = remedy_for(error.errno) or "check the disk and its permissions, then run again."
        print(f"{where}: {error.strerror or error}; {remedy}", file=sys.stderr)
    except MemoryError:
        print(f"There is no memory left; {remedy_for(errno.ENOMEM)}", file=sys.stderr)
    except KeyboardInterrupt as error:
        kill_workers()
        print("Interrupted. Run the same command again to go on: what is finished is not done again.", file=sys.stderr)
        return _TERMINATED if isinstance(error, Terminated) else _INTERRUPTED
    finally:
        stop_log()
    return 1


def _level(settings: RunSettings) -> int:
    if not settings.dry_run:
        take_up(settings.output_dir, print, identifiable_dir=settings.identifiable_dir)
    if settings.analysis_level != "group" and not settings.reports_only:
        return run_participants(settings)
    with nullcontext() if settings.dry_run else beside_workers(settings.layout):
        if settings.reports_only:
            return rebuild_pages(settings)
        from bids_refacer.group.run import run_group  # pandas and libigl are not needed before

        return run_group(settings)


def rebuild_pages(settings: RunSettings, say: Callable[[str], None] = print) -> int:
    """Do what ``--reports-only`` asks for: pages from outputs that are there, nothing else.

    Raises
    ------
    DatasetError
        When there are no outputs to make them from.
    """
    layout, level = settings.layout, settings.analysis_level
    table = dataset_table(layout, "group_images" if level == "group" else "status")
    if not table.is_file():
        raise DatasetError(
            f"{table} is missing, so there is nothing to make pages from: run the level '{level}' first, without "
            "--reports-only."
        )
    if settings.dry_run:
        say(f"Would make pages in {layout.output_dir}. Nothing was written.")
        return 0
    if level == "group":
        from bids_refacer.group.report import make_group_page

        say(f"Open first: {make_group_page(layout)}")
        return 0
    from bids_refacer.audit.pages import rebuild_participant_pages

    return 0 if rebuild_participant_pages(settings, say) else 1
