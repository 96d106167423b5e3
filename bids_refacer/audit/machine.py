"""What only torch can tell, asked in a child process: CUDA must never be touched in the process that starts workers.

`python -m bids_refacer.audit.machine MODEL` prints one line of JSON; errors are one sentence on standard error.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from bids_refacer import processes
from bids_refacer.audit.graph.jobs import Recognition
from bids_refacer.diffusion.device import NO_GPU
from bids_refacer.problems import AuditProblem
from bids_refacer.recognition.own import as_tables, read_recognisers
from bids_refacer.recognition.weights import SHA256
from bids_refacer.settings import RunSettings


class RunError(AuditProblem):
    """The run cannot start: one or more sentences that say what is missing and what to do."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """GPUs that torch can use; name of the model on its card; file -> SHA-256 of its weights."""

    gpus: int
    card: str
    weights: dict[str, str]


def ask(model: str, gpu: str) -> Machine:
    """Look at the machine and the model.

    Raises
    ------
    RunError
        When there is no such model, it cannot be loaded, or a GPU is required and there is none.
    """
    command = [*processes.python_module("bids_refacer.audit.machine"), model]
    done = processes.run(command, environ=child_environment())
    if done.code:
        lines = [line for line in done.errors.splitlines() if line.strip()]
        raise RunError(lines[-1] if lines else f"{' '.join(command)} failed and said nothing: run it by hand.")
    machine = Machine(**json.loads(done.output.splitlines()[-1]))
    if gpu == "require" and not machine.gpus:
        raise RunError(NO_GPU)
    return machine


def child_environment() -> dict[str, str]:
    """What the child gets: it runs before there is a work folder, and in a container no other folder can be written.

    When a network is built, torch looks for a place for compiled code, although nothing is compiled.
    """
    return {**processes.package_environment(os.environ), "TORCHINDUCTOR_CACHE_DIR": str(Path(__file__).parent)}


def main(argv: list[str]) -> int:
    """Print what `ask` wants to know; returns the exit code."""
    import torch

    from bids_refacer.refacing.weights import WeightsError, load_model

    try:
        model = load_model(argv[0], torch.device("cpu"))  # what cannot be loaded is said before anything is defaced
    except WeightsError as error:
        print(error, file=sys.stderr)
        return 1
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    print(json.dumps({"gpus": gpus, "card": model.name, "weights": model.sha256}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


def recognition_of(settings: RunSettings) -> Recognition | None:
    """How heads are described for recognition in a run; None where nobody is to be recognised."""
    if not settings.recognition:
        return None
    own = as_tables(read_recognisers(settings.recognisers_file)) if settings.recognisers_file else {}
    return Recognition(views=settings.recognition_views, own=own, weights=SHA256)
