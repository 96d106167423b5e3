"""What is recorded of a stage while it is trained: tables, checkpoints, and the best weights so far."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.training import checkpoint
from bids_refacer.training.logbook import Logbook
from bids_refacer.training.loss import Validate
from bids_refacer.training.optimisation import learning_rate
from bids_refacer.training.stage_plan import StagePlan

LOG = logging.getLogger(__name__)

BEST = "best.pt"


class TrainingError(RuntimeError):
    """Training cannot go on."""


def best_weights(folder: Path) -> dict[str, Any] | None:
    """The content of `best.pt`: `step`, the figure `value`, and the averaged weights `ema`; None without validation."""
    return checkpoint.read(folder / BEST) if (folder / BEST).exists() else None


class StageRecorder:
    """Writes after each step what is due. There is one, in the first process.

    Parameters
    ----------
    plan : of the stage
    state : steps taken -> all that a checkpoint must hold
    averaged : the averaged weights' model
    validate : see `train_stage`
    """

    def __init__(
        self,
        plan: StagePlan,
        state: Callable[[int], dict[str, Any]],
        averaged: Denoiser,
        validate: Validate | None,
    ) -> None:
        self._plan, self._state, self._averaged, self._validate = plan, state, averaged, validate
        self._fingerprint = checkpoint.as_text(plan.fingerprint())
        self._best = _best_so_far(plan.folder, self._fingerprint, plan.settings.best_by)

    @contextmanager
    def open_at(self, start: int) -> Iterator[None]:
        """Open the tables, `start` steps being done; what they hold of later ones is forgotten."""
        self._book = Logbook(self._plan.folder, start, self._plan.steps)
        try:
            yield
        finally:
            self._book.close()

    def after(self, step: int, loss: float, norm: float) -> None:
        """Record a step; validate and save when it is time."""
        settings, steps = self._plan.settings, self._plan.steps
        self._book.step(step, loss, learning_rate(step, steps, settings), norm)
        done = step + 1
        if self._validate is not None and (done == steps or done % settings.validate_every == 0):
            self._judge(self._validate(self._averaged, done), done)
        if done == steps or done % settings.checkpoint_every == 0:
            state = {**self._state(done), "fingerprint": self._fingerprint}
            checkpoint.save(self._plan.folder, state, settings.keep_checkpoints)

    def _judge(self, figures: Mapping[str, float], done: int) -> None:
        name = self._plan.settings.best_by
        if name not in figures:
            raise TrainingError(
                f"Validation gives no figure {name!r}, by which the best weights are chosen: set best_by to one of "
                f"{', '.join(figures)}."
            )
        better = figures[name] < self._best
        self._book.metrics(done, figures, better)
        if better:
            self._best = float(figures[name])
            state = {"step": done, "name": name, "value": self._best, "ema": self._averaged.state_dict()}
            checkpoint.write(self._plan.folder / BEST, {**state, "fingerprint": self._fingerprint})


def _best_so_far(folder: Path, fingerprint: str, name: str) -> float:
    """The figure to beat; infinity when there is none, or one of another training or name."""
    try:
        best = best_weights(folder)
    except checkpoint.CheckpointError as error:
        LOG.warning("%s The next validation writes it anew.", error)
        return math.inf
    if best is None or best["fingerprint"] != fingerprint or best["name"] != name:
        return math.inf
    return float(best["value"])
