"""One line for each image and stage, with the time it took: what a person follows a run by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bids_refacer.audit.graph.jobs import ToolJob
from bids_refacer.audit.graph.stages import stage_of

_CACHED_S = 0.05  # no stage is as fast as this unless Nipype found its results in the work folder


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


class Progress:
    """Says what happens to nodes; `callback` is Nipype's ``status_callback``, called in the main process.

    Parameters
    ----------
    jobs : what the run is about
    say : gets each line
    """

    def __init__(self, jobs: Sequence[Job], say: Callable[[str], None]) -> None:
        self._labels = {job.node_name: job.label for job in jobs}
        self._tools = {tool.node_name: tool.tool for job in jobs for tool in job.tools}
        self._started: dict[str, float] = {}
        self._say = say

    def callback(self, node: Any, status: str) -> None:
        """Nipype's report: ``start``, ``end`` or ``exception``; it also reports the end of nodes that never ran."""
        name = node.fullname
        if status == "start":
            self._started[name] = time.monotonic()
            return
        began = self._started.pop(name, None)
        if began is None:
            return
        image, *tool, node_name = name.split(".")[1:]
        stage = stage_of(node_name)
        subject = " ".join([self._labels[image], *(self._tools[part] for part in tool)])
        if status == "exception":
            self._say(f"{subject}: failed while {stage.doing}")
        elif stage.done:
            took = time.monotonic() - began
            when = f"in {elapsed(took)}" if took > _CACHED_S else "by an earlier run"
            self._say(f"{subject}: {stage.done} {when}")


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
