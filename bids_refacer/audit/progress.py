"""One line for each image and stage, with the time it took and what came of it: what a person follows a run by."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from bids_refacer.audit.graph.jobs import ImageJob, ToolJob
from bids_refacer.audit.graph.stages import DEFACE, RECORD, STAGES, VERDICT, Stage, stage_of
from bids_refacer.audit.tables import VerdictLimits, defacing_row
from bids_refacer.dataset.records import read_details, read_record
from bids_refacer.dataset.rows.audit import DistanceRow, subject_columns
from bids_refacer.reports.findings import image_marks
from bids_refacer.surfaces.region import PLACES, headline

_CACHED_S = 0.05  # no stage is as fast as this unless Nipype found its results in the work folder
_FACE = {"yes": "face removed", "partly": "face partly removed, look at it", "no": "the face is still there"}

Outcome = Callable[[str, str, Stage], str | None]
"""Image and tool, by their names in the graph, and a stage that has ended -> what came of it, in words."""


class Job(Protocol):
    """One image of the graph."""

    @property
    def node_name(self) -> str:
        """Its name there."""

    @property
    def label(self) -> str:
        """What a person calls it."""

    @property
    def tools(self) -> tuple[ToolJob, ...]:
        """What is to be run on it."""


class Watcher(Protocol):
    """Who is told of what happens, besides people."""

    def started(self, image: str, tool: str | None, stage: Stage) -> None:
        """A node starts: of an image, or of one tool on it."""

    def ended(self, pairs: Collection[tuple[str, str]]) -> None:
        """Images and tools are done, or never will be; none when something else happened."""


class Progress:
    """Says what happens to nodes; `callback` is Nipype's ``status_callback``, called in the main process.

    Parameters
    ----------
    jobs : what the run is about
    say : gets each line
    outcome : what came of a stage; None where only the time is said
    watcher : is told when nodes start, and when images and tools end
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        say: Callable[[str], None],
        outcome: Outcome | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._labels = {job.node_name: job.label for job in jobs}
        self._tools = {tool.node_name: tool.tool for job in jobs for tool in job.tools}
        self._left = {(job.node_name, tool.node_name) for job in jobs for tool in job.tools}
        self._total = len(self._left)
        self._started: dict[str, float] = {}
        self._defaced: dict[tuple[str, str], str] = {}
        self._say, self._outcome, self._watcher = say, outcome, watcher
        self._began = time.monotonic()

    def callback(self, node: Any, status: str) -> None:
        """Nipype's report: ``start``, ``end`` or ``exception``; it also reports the end of nodes that never ran."""
        name = node.fullname
        image, *tool, node_name = name.split(".")[1:]
        if status == "start":
            self._started[name] = time.monotonic()
            if self._watcher and node_name in STAGES:  # files are published while other nodes work
                self._watcher.started(image, tool[0] if tool else None, STAGES[node_name])
            return
        began = self._started.pop(name, None)
        if began is None:
            return
        before = set(self._left)
        self._tell(image, tool, node_name, status, time.monotonic() - began)
        if self._watcher:
            self._watcher.ended(before - self._left)

    def _tell(self, image: str, tool: list[str], node_name: str, status: str, took: float) -> None:
        """Say what became of a node that has ended."""
        if status == "exception":
            self._end({(image, part) for part in tool} if tool else {pair for pair in self._left if pair[0] == image})
            self._line(image, tool, f"failed while {stage_of(node_name).doing}{self._time_left()}")
            return
        when = f"in {elapsed(took)}" if took > _CACHED_S else "by an earlier run"
        said = self._words(image, tool, node_name, when)
        if said:
            self._line(image, tool, said)

    def _words(self, image: str, tool: list[str], node_name: str, when: str) -> str | None:
        """What is said of a node that has ended; None where nothing is."""
        stage = stage_of(node_name)
        if not tool or self._outcome is None:
            if tool and node_name == RECORD.node:
                self._end({(image, tool[0])})
            return f"{stage.done} {when}" if stage.done else None
        if node_name == DEFACE.node:  # said with the verdict
            self._defaced[image, tool[0]] = f"{stage.done} {when}"
            return None
        if node_name == VERDICT.node:
            face = self._outcome(image, tool[0], stage)
            return ": ".join(filter(None, (self._defaced.get((image, tool[0])), face)))
        if node_name == RECORD.node:
            self._end({(image, tool[0])})
            return f"{self._outcome(image, tool[0], stage) or 'done'}{self._time_left()}"
        return f"{stage.done} {when}" if stage.done else None

    def _line(self, image: str, tool: list[str], words: str) -> None:
        subject = " ".join([self._labels[image], *(self._tools[part] for part in tool)])
        self._say(f"[{self._total - len(self._left)}/{self._total}] {subject}: {words}")

    def _end(self, pairs: set[tuple[str, str]]) -> None:
        """Image and tool are done, or never will be."""
        self._left -= pairs

    def _time_left(self) -> str:
        """``; about 12 min 5 s left``, from what the others took; empty at the end."""
        done = self._total - len(self._left)
        if not self._left or not done:
            return ""
        return f"; about {elapsed((time.monotonic() - self._began) / done * len(self._left))} left"


def outcome_of(jobs: Sequence[ImageJob], limits: VerdictLimits) -> Outcome:
    """What came of the verdict and of the whole attack, read from what these stages wrote."""
    known = {(job.node_name, tool.node_name): (job, tool.tool) for job in jobs for tool in job.tools}

    def outcome(image: str, tool: str, stage: Stage) -> str | None:
        job, name = known[image, tool]
        if stage is VERDICT:
            details = read_details(job.names.verdict(name))
            row = defacing_row(subject_columns(job.image, name), details, limits) if details else None
            return _FACE.get(image_marks(row.face_verdict, None, None).removed) if row else None
        record = read_record(job.names.record(name))
        return recovered_words(record.distances) if record else None

    return outcome


def recovered_words(rows: Sequence[DistanceRow]) -> str | None:
    """``recovered to 0.89 mm where the skin was removed (an average face: 1.37 mm)``; None without a recovered face."""
    part = headline(row.part for row in rows)
    found = {row.image_type: row.masd_mm for row in rows if row.part == part and row.image_type != "refaced"}
    recovered, average = found.get("refaced_mean", found.get("refaced_sample_mean")), found.get("average")
    if recovered is None:
        return None
    beside = "" if average is None else f" (an average face: {average:.2f} mm)"
    return f"recovered to {recovered:.2f} mm {PLACES[part]}{beside}"


def elapsed(seconds: float) -> str:
    """``0.4 s``, ``23 s``, ``2 min 5 s``, ``1 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
