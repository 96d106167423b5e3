"""Pages of participants who are done, while others are in work."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType

from bids_refacer.audit.pages import make_pages_of_one
from bids_refacer.processes import end_with_parent, kill_workers
from bids_refacer.settings import RunSettings


class PagesBeside:
    """Makes pages while a run goes on: at once where it has one process, else in one more, beside its workers.

    A page that could not be made is no news here: the end of the run makes it again, and says what is wrong.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._layout, self._bids_dir = settings.layout, settings.bids_dir
        self._at_once = settings.nprocs == 1 and settings.nipype_plugin_file is None
        self._pool: ProcessPoolExecutor | None = None
        self._made: set[str] = set()
        self._in_work: dict[str, Future[str | None]] = {}

    def __enter__(self) -> PagesBeside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._pool is not None:
            kill_workers()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def make(self, label: str) -> None:
        """Make the pages of a participant (without ``sub-``), whose rows are in the tables."""
        task = (self._layout, self._bids_dir, label)
        if not self._at_once:
            self._in_work[label] = self._worker().submit(make_pages_of_one, task)
        elif make_pages_of_one(task) is None:
            self._made.add(label)

    def outdate(self, label: str) -> None:
        """Rows of a participant have changed since."""
        self._made.discard(label)
        self._in_work.pop(label, None)

    def wait(self) -> frozenset[str]:
        """Wait for what is in work; the participants whose pages say what the tables say."""
        for label, future in self._in_work.items():
            if future.exception() is None and future.result() is None:
                self._made.add(label)
        self._in_work.clear()
        return frozenset(self._made)

    def _worker(self) -> ProcessPoolExecutor:
        if self._pool is None:  # spawned: a process that Nipype and torch have run threads in must not be forked
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                1, mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)
            )
        return self._pool
