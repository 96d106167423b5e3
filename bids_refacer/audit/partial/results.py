"""Tables and pages of the output, kept up to date while a graph runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from bids_refacer.audit.crash_files import read_crashes
from bids_refacer.audit.graph.jobs import OtherJob, node_name, tool_node_name
from bids_refacer.audit.graph.stages import TRUTH, Stage
from bids_refacer.audit.other_images import Others
from bids_refacer.audit.partial.pages import PagesBeside
from bids_refacer.audit.partial.rows import Rows, RowsAbout, audited_rows, carried_rows, rows_of_run
from bids_refacer.audit.plan import Plan
from bids_refacer.audit.status import Pair
from bids_refacer.audit.tables import TableWriter, write_image_tables
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.names import OutputNames, lock_file
from bids_refacer.dataset.rows.audit import StatusRow
from bids_refacer.dataset.rows.growing import Subject
from bids_refacer.files import one_writer
from bids_refacer.layout import Layout
from bids_refacer.settings import RunSettings

_ORDER = ("input", "brain", "deface", "reface", "score", "output")


class PartialTables:
    """Writes rows into the tables of the output while a run goes on; what cannot be written is written at its end.

    Attributes
    ----------
    spent_s : wall time of all writing, with waiting for other runs that write, s
    """

    def __init__(self, layout: Layout, writer: TableWriter, say: Callable[[str], None]) -> None:
        self._layout, self._writer, self._say = layout, writer, say
        self._is_well = True
        self.spent_s = 0.0

    def write(self, rows: Rows, *, whole: bool = False) -> None:
        """Write rows into all tables; `whole` is whether they are all that the run has to say of its participants."""

        def write() -> None:
            write_image_tables(rows.results, self._layout)
            self._writer.write(rows.tables, whole=whole)

        self._write(write)

    def write_status(self, rows: Sequence[StatusRow]) -> None:
        """Write rows into the table of status alone."""
        self._write(lambda: self._writer.write_status(rows))

    def _write(self, write: Callable[[], None]) -> None:
        started = time.monotonic()
        try:
            with one_writer(lock_file(self._layout)):
                write()
        except OSError as error:  # a full disk must not end a run that may get along
            if self._is_well:
                where = error.filename or self._layout.output_dir
                self._say(f"Warning: tables are not up to date until the run ends ({where}: {error.strerror}).")
            self._is_well = False
        self.spent_s += time.monotonic() - started


class Watcher:
    """Follows a graph: what starts is `running` in the table of status, what ended has its rows, who is done a page.

    Parameters
    ----------
    subjects : each image and tool of the graph, by their names there -> `SubjectRow.subject`
    rows_about : how the rows of images are made
    tables : where they go
    pages : of participants
    make_pages : whether they are made when a participant ends; else they are only known to be old
    crash_dir : Nipype's, where failures say why
    """

    def __init__(
        self,
        subjects: Mapping[Pair, Subject],
        rows_about: RowsAbout,
        tables: PartialTables,
        pages: PagesBeside,
        crash_dir: Path,
        *,
        make_pages: bool = True,
    ) -> None:
        self._subjects, self._rows_about = subjects, rows_about
        self._tables, self._pages, self._crash_dir = tables, pages, crash_dir
        self._pages_are_made = make_pages
        self._in_work: dict[Pair, Stage | None] = dict.fromkeys(subjects)
        self._unexplained: set[Pair] = set()

    def started(self, image: str, tool: str | None, stage: Stage) -> None:
        """A node starts: of an image, or of one tool on it."""
        about = [pair for pair in self._in_work if pair[0] == image and tool in (None, pair[1])]
        pairs = [pair for pair in about if _is_later(stage, self._in_work[pair])]
        if not pairs:
            return
        self._in_work |= dict.fromkeys(pairs, stage)
        names = {self._subjects[pair] for pair in pairs}
        rows = self._rows_about({image}, self._in_work, ())
        self._tables.write_status([row for row in rows.tables.status if row.subject in names])

    def ended(self, pairs: Collection[Pair] = ()) -> None:
        """Images and tools are done, or never will be; none when something else happened.

        Nipype tells of a failure before it writes why: it is looked for again, with the next event, until it is there.
        """
        due = self._unexplained | set(pairs)
        if not due:
            return
        rows = self._rows(due)
        known = {row.subject for row in rows.tables.status if row.status != "skipped"}
        self._unexplained = {pair for pair in due if self._subjects[pair] not in known}
        told = due - self._unexplained
        for pair in told:
            self._in_work.pop(pair, None)
        if told:
            self._tables.write(self._rows(told) if self._unexplained else rows)
            self._make_pages({self._subjects[pair][0] for pair in told})

    def _rows(self, ended: set[Pair]) -> Rows:
        """Rows of the images of what has ended."""
        in_work = {pair: stage for pair, stage in self._in_work.items() if pair not in ended}
        return self._rows_about({image for image, _ in ended}, in_work, read_crashes(self._crash_dir))

    def _make_pages(self, participants: set[str]) -> None:
        busy = {self._subjects[pair][0] for pair in self._in_work}
        for participant in sorted(participants):
            label = participant.removeprefix("sub-")
            self._pages.outdate(label)
            if self._pages_are_made and participant not in busy:
                self._pages.make(label)


def _is_later(stage: Stage, reached: Stage | None) -> bool:
    """Whether an image goes on to another stage: nodes run beside each other, and an earlier one may start later."""
    if stage is TRUTH:  # of the image itself, while tools are at work on it
        return False
    return reached is None or _ORDER.index(stage.status) > _ORDER.index(reached.status)


def watch_audited(
    plan: Plan, others: Others, settings: RunSettings, tables: PartialTables, pages: PagesBeside, crash_dir: Path
) -> Watcher:
    """Write the state of everything before the graph of audited images runs; what follows that graph."""
    subjects = {
        (job.node_name, tool.node_name): _subject(job.image, tool.tool) for job in plan.jobs for tool in job.tools
    }
    pairs = [
        (node_name(other.image), tool_node_name(tool))
        for other in others.images
        for tool in settings.deface_tools
        if other.reference and not OutputNames.of(settings.layout, other.image).other_record(tool).is_file()
    ]
    tables.write(rows_of_run(plan, others, settings, (), dict.fromkeys([*subjects, *pairs])), whole=True)
    return Watcher(subjects, audited_rows(plan, settings), tables, pages, crash_dir)


def watch_others(
    jobs: Sequence[OtherJob],
    others: Others,
    settings: RunSettings,
    tables: PartialTables,
    pages: PagesBeside,
    crash_dir: Path,
) -> Watcher:
    """The same of the graph of other images; the pages of their participants are made at the end of the run."""
    subjects = {(job.node_name, tool.node_name): _subject(job.image, tool.tool) for job in jobs for tool in job.tools}
    rows_about = carried_rows(others, settings)
    everyone = {node_name(other.image) for other in others.images}
    tables.write(rows_about(everyone, dict.fromkeys(subjects), read_crashes(crash_dir)))
    for other in others.images:
        pages.outdate(other.image.participant)
    return Watcher(subjects, rows_about, tables, pages, crash_dir, make_pages=False)


def _subject(image: HeadImage, tool: str) -> Subject:
    return f"sub-{image.participant}", image.bids_path, tool
