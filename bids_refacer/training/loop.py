"""The training loop of one stage: averaged weights, autocast, clipping, a schedule, validation, exact resume.

Every item is propagated back alone, as boxes differ in size, at all of its noise levels together, and gradients are
accumulated over the batch: the memory of a step is that of one item, however large the batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from bids_refacer.diffusion.cascade import build
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.training import checkpoint
from bids_refacer.training.data.batches import as_list
from bids_refacer.training.data.examples import Item
from bids_refacer.training.distributed import Processes, agree, join, share, sum_over
from bids_refacer.training.loss import Validate, item_loss, normal_noise, stratified
from bids_refacer.training.optimisation import (
    autocast,
    averaged_copy,
    choose_precision,
    decay_at,
    learning_rate,
    loss_scaler,
    move_average,
)
from bids_refacer.training.recorder import StageRecorder, TrainingError
from bids_refacer.training.stage_plan import StagePlan

LOG = logging.getLogger(__name__)

_LEAST_SCALE = 1.0


class StageState:
    """A stage while it is trained: everything that a step changes, and this process's part in it."""

    def __init__(self, plan: StagePlan, processes: Processes) -> None:
        settings, self.device = plan.settings, processes.device
        torch.manual_seed(settings.seed)
        model = build(plan.config)
        if plan.initial is not None:
            model.load_state_dict(plan.initial.state_dict())
        self.model = model.to(self.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.averaged = cast(Denoiser, averaged_copy(self.model))
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=settings.rate, betas=(0.9, 0.98), weight_decay=1e-3
        )
        dtype = choose_precision(settings.precision, self.device)
        self.scaler, self.autocast = loss_scaler(dtype, self.device), autocast(dtype, self.device)
        self.plan, self.processes = plan, processes

    def to_dict(self, step: int) -> dict[str, Any]:
        """All that a checkpoint after `step` steps must hold."""
        parts = {"model": self.model, "ema": self.averaged, "optimiser": self.optimiser, "scaler": self.scaler}
        return {"step": step, **{name: part.state_dict() for name, part in parts.items()}}

    def restore(self, state: Mapping[str, Any]) -> int:
        """Take over what `to_dict` gave; returns the number of steps taken."""
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        return int(state["step"])


def train_stage(
    items: Dataset[Item],
    plan: StagePlan,
    *,
    validate: Validate | None = None,
    processes: Processes | None = None,
) -> Denoiser:
    """Train one stage, or go on where the newest checkpoint of its folder left off.

    The noise of a step comes from (seed, step), the examples from their own seeds: a run that was killed and resumed
    gives the weights of one that was not (bit for bit on one machine with the same number of threads).

    Parameters
    ----------
    items : item i is the i-th training example
    plan : what is trained, for how long, from which weights, and where it is kept
    validate : called with the averaged model and the number of steps taken, every `validate_every` steps and at the
        end; the averaged weights with the lowest `best_by` among its figures are kept in `best.pt`
    processes : those of `torchrun`; found out when omitted

    Returns
    -------
    Denoiser
        With the averaged weights.

    Raises
    ------
    TrainingError, CheckpointError, PrecisionError
        A sentence.
    """
    processes = processes or join()
    _require_fair_shares(plan.settings.batch, processes)
    plan.folder.mkdir(parents=True, exist_ok=True)
    state = StageState(plan, processes)
    start = _resume(state)
    if start < plan.steps:
        recorder = StageRecorder(plan, state.to_dict, state.averaged, validate) if processes.first else None
        _take_steps(state, items, start, recorder)
    return state.averaged


def _take_steps(state: StageState, items: Dataset[Item], start: int, recorder: StageRecorder | None) -> None:
    plan, processes, batch_size = state.plan, state.processes, state.plan.settings.batch
    places = range(processes.rank, batch_size, processes.count)
    indices = [step * batch_size + place for step in range(start, plan.steps) for place in places]
    loader = DataLoader(items, len(places), sampler=indices, num_workers=plan.settings.workers, collate_fn=as_list)
    with recorder.open_at(start) if recorder else nullcontext():
        for step, batch in enumerate(loader, start):
            loss, norm = take_step(state, batch, step)
            if recorder:
                recorder.after(step, loss, norm)


def take_step(state: StageState, batch: list[Item], step: int) -> tuple[float, float]:
    """Take one step with this process's share of a batch; returns the whole batch's loss and norm of the gradient.

    Raises
    ------
    TrainingError
        When the gradient is not finite.
    """
    settings = state.plan.settings
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(step, state.plan.steps, settings)
    loss = sum_over(state.model.parameters(), _accumulate(state, batch, step), state.processes)
    state.scaler.unscale_(state.optimiser)
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip).item()
    if not math.isfinite(loss) or (not math.isfinite(norm) and not _may_overflow(state.scaler)):
        raise TrainingError(
            f"The gradient of step {step} is not finite; the checkpoint before it is whole. Train on with precision "
            "float32, or with a lower learning rate."
        )
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.optimiser.zero_grad(set_to_none=True)
    move_average(state.averaged, state.model, decay_at(step, settings.ema))
    return loss, norm


def _accumulate(state: StageState, batch: list[Item], step: int) -> float:
    """Propagate every item of this process's share back; returns their part of the whole batch's mean loss."""
    settings, device = state.plan.settings, state.device
    count = settings.batch * settings.noises
    uniform = stratified(settings.seed, step, count)
    total = torch.zeros((), device=device)
    for item, places in zip(batch, share(settings.batch, settings.noises, state.processes), strict=True):
        noise = torch.cat([normal_noise(settings.seed, step, place, item.target.shape) for place in places])
        with state.autocast():
            loss = item_loss(state.model, item, uniform[places], noise, device) * len(places) / count
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total.item()


def _may_overflow(scaler: torch.amp.GradScaler) -> bool:
    """Whether an infinite gradient is the scaler's way to find its scale: it skips the step and scales less."""
    return scaler.is_enabled() and scaler.get_scale() >= _LEAST_SCALE


def _resume(state: StageState) -> int:
    """The first process looks for the newest checkpoint, all read it; returns the step that comes next."""
    folder, processes = state.plan.folder, state.processes
    path = checkpoint.newest(folder) if processes.first else None
    path = agree(path, processes)
    if path is None:
        return 0
    saved = checkpoint.read(path)
    checkpoint.require_same(path, saved, state.plan.fingerprint())
    start = state.restore(saved)
    LOG.info("%s: going on after step %d of %d", folder.name, start, state.plan.steps)
    return start


def _require_fair_shares(batch: int, processes: Processes) -> None:
    if batch % processes.count:
        raise TrainingError(
            f"A batch of {batch} cannot be shared equally by {processes.count} processes: set batch to a "
            f"multiple of {processes.count}, or start fewer."
        )
