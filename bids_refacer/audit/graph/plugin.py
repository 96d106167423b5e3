"""How Nipype's local workers go through a graph of many images."""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

from bids_refacer.audit.nodes.child import ChildError

_DIED = (
    f"{ChildError.__name__}: A worker process died, probably for want of memory; what it and the others were doing "
    "then is lost: run the same command again with a smaller --nprocs or --num-samples, or with more memory."
)


class ImageByImage(MultiProcPlugin):
    """Nipype's MultiProc, but one image after the other, and a worker that dies does not stop the run for ever.

    Nipype's own order finishes a stage for all images before the next: the first result of a large dataset would come
    in its last hours. And it waits for a dead worker's result without end.
    """

    def _sort_jobs(self, jobids: Sequence[int], scheduler: str | None = None) -> list[int]:
        images = {name: rank for rank, name in reversed(list(enumerate(map(_image, self.procs))))}
        return sorted(jobids, key=lambda job: (images[_image(self.procs[job])], job))

    def _async_callback(self, args: Future) -> None:
        try:
            super()._async_callback(args)
        except BrokenProcessPool:
            task = next(number for number, future in self._task_obj.items() if future is args)
            self._taskresult[task] = {"taskid": task, "result": None, "traceback": [_DIED]}

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        try:
            return super()._submit_job(node, updatehash)
        except BrokenProcessPool:
            self.pool = ProcessPoolExecutor(
                max_workers=self.processors,
                initializer=process_initializer,
                initargs=(os.getcwd(),),
                mp_context=mp.get_context(self.plugin_args.get("mp_context")),
            )
            return super()._submit_job(node, updatehash)


def _image(node: Any) -> str:
    """The part of a node's name that says which image it is about."""
    return ".".join(node.fullname.split(".")[:2])
