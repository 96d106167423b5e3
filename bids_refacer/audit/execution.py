"""How graphs are run: by which Nipype plugin, with how many processes, how much memory and which GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from logging import Logger
from typing import Any

from bids_refacer.audit.machine import Machine
from bids_refacer.audit.plugin_file import read_plugin_file
from bids_refacer.audit.progress import Progress
from bids_refacer.limits import memory_limit_gb
from bids_refacer.settings import RunSettings


def run_workflows(
    workflows: Iterable[Any], settings: RunSettings, machine: Machine, progress: Progress, log: Logger
) -> None:
    """Run one graph after the other; what fails is in the crash folder."""
    here = os.getcwd()
    for workflow in workflows:
        plugin, arguments = _plugin(settings, machine, progress)
        try:
            workflow.run(plugin=plugin, plugin_args=arguments)
        except Exception:  # Nipype re-raises what nodes raised, which the crash files tell better
            log.exception("Nipype ended with an exception")
            if settings.stop_on_first_crash:
                break
        finally:
            os.chdir(here)


def _plugin(settings: RunSettings, machine: Machine, progress: Progress) -> tuple[Any, dict[str, Any]]:
    """A plugin, or its name, and the arguments for it."""
    arguments: dict[str, Any] = {"status_callback": progress.callback}
    if settings.nipype_plugin_file:
        content = read_plugin_file(settings.nipype_plugin_file)
        return content["plugin"], {**content["plugin_args"], **arguments}
    if settings.nprocs == 1:
        return "Linear", arguments
    from bids_refacer.audit.graph.plugin import ImageByImage

    arguments |= {"n_procs": settings.nprocs, "raise_insufficient": False}
    memory = settings.mem_gb or memory_limit_gb()
    if memory is not None:
        arguments["memory_gb"] = memory
    if settings.gpu != "none":
        arguments["n_gpu_procs"] = machine.gpus
    return ImageByImage(plugin_args=arguments), arguments
