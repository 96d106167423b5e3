"""The training loop of one stage: averaged weights, autocast, clipping, a schedule, validation, exact resume.

Every item is propagated back alone, as boxes differ in size, at all of its noise levels together, and gradients are
accumulated over the batch: the memory of a step is that of one item, however large the batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from bids_refacer.diffusion.cascade import StageConfig, build
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.training import checkpoint
from bids_refacer.training.data.batches import as_list
from bids_refacer.training.data.examples import Item
from bids_refacer.training.distributed import Processes, agree, join, share, sum_over
from bids_refacer.training.draws import normal, strata
from bids_refacer.training.ema import averaged_copy, decay_at, follow
from bids_refacer.training.keeper import Keeper, TrainingError
from bids_refacer.training.plan import LoopSettings, fingerprint, learning_rate
from bids_refacer.training.precision import autocast, choose, loss_scaler
from bids_refacer.training.validation import Validate, item_loss

LOG = logging.getLogger(__name__)

_LEAST_SCALE = 1.0


def require_same(folder: Path, mark: Mapping[str, Any]) -> None:
    """Refuse, before anything is done, what `train_stage` would refuse: checkpoints of another training."""
    path = checkpoint.newest(folder)
    if path is not None:
        checkpoint.require_same(path, checkpoint.read(path), mark)


class _Run:
    """One stage while it is trained: everything that a step changes."""

    def __init__(
        self, stage: StageConfig, settings: LoopSettings, initial: Denoiser | None, processes: Processes
    ) -> None:
        torch.manual_seed(settings.seed)
        model = build(stage)
        if initial is not None:
            model.load_state_dict(initial.state_dict())
        self.device = processes.device
        self.model = model.to(self.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.averaged = cast(Denoiser, averaged_copy(self.model))
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=settings.rate, betas=(0.9, 0.98), weight_decay=1e-3
        )
        dtype = choose(settings.precision, self.device)
        self.scaler, self.autocast = loss_scaler(dtype, self.device), autocast(dtype, self.device)
        self.settings, self.processes = settings, processes

    def state(self, step: int) -> dict[str, Any]:
        parts = {"model": self.model, "ema": self.averaged, "optimiser": self.optimiser, "scaler": self.scaler}
        return {"step": step, **{name: part.state_dict() for name, part in parts.items()}}

    def restore(self, state: Mapping[str, Any]) -> int:
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        return state["step"]


def train_stage(
    items: Dataset[Item],
    stage: StageConfig,
    settings: LoopSettings,
    folder: Path,
    *,
    validate: Validate | None = None,
    initial: Denoiser | None = None,
    about: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
) -> Denoiser:
    """Train one stage, or go on where the newest checkpoint in `folder` left off; returns the averaged weights' model.

    The noise of a step comes from (seed, step), the examples from their own seeds: a run that was killed and resumed
    gives the weights of one that was not (bit for bit on one machine with the same number of threads).

    Parameters
    ----------
    items : item i is the i-th training example
    folder : checkpoints, `best.pt`, tables
    validate : called with the averaged model and the number of steps taken, every `validate_every` steps and at the
        end; the averaged weights with the lowest `best_by` among its figures are kept in `best.pt`
    initial : weights to start from, of the same stage
    about : whatever else makes it this training and no other (heads, priors); checkpoints of others are refused
    processes : those of `torchrun`; found out when omitted

    Raises
    ------
    TrainingError, CheckpointError, PrecisionError
        A sentence.
    """
    processes = processes or join()
    _require_fair_shares(settings, processes)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(stage, settings, initial, processes)
    mark = fingerprint(stage, settings, initial, about)
    start = _resume(run, folder, mark)
    if start < settings.steps:
        keeper = Keeper(run.state, run.averaged, settings, folder, mark, validate) if processes.first else None
        _train(run, items, start, keeper)
    return run.averaged


def _train(run: _Run, items: Dataset[Item], start: int, keeper: Keeper | None) -> None:
    settings, processes = run.settings, run.processes
    own = range(processes.rank, settings.batch, processes.count)
    indices = [step * settings.batch + place for step in range(start, settings.steps) for place in own]
    loader = DataLoader(items, len(own), sampler=indices, num_workers=settings.workers, collate_fn=as_list)
    with keeper.open_at(start) if keeper else nullcontext():
        for step, batch in enumerate(loader, start):
            loss, norm = _step(run, batch, step)
            if keeper:
                keeper.after(step, loss, norm)


def _step(run: _Run, batch: list[Item], step: int) -> tuple[float, float]:
    """Take one step with this process's share of a batch; returns the whole batch's loss and norm of the gradient."""
    settings, count = run.settings, run.settings.batch * run.settings.noises
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(step, settings)
    uniform = strata(settings.seed, step, count)
    total = torch.zeros((), device=run.device)
    for item, places in zip(batch, share(settings.batch, settings.noises, run.processes), strict=True):
        noise = torch.cat([normal(settings.seed, step, place, item.target.shape) for place in places])
        with run.autocast():
            loss = item_loss(run.model, item, uniform[places], noise, run.device) * len(places) / count
        run.scaler.scale(loss).backward()
        total += loss.detach()
    loss_of_all = sum_over(run.model.parameters(), total.item(), run.processes)
    run.scaler.unscale_(run.optimiser)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip).item()
    if not math.isfinite(loss_of_all) or (not math.isfinite(norm) and not _may_overflow(run.scaler)):
        raise TrainingError(
            f"The gradient of step {step} is not finite; the checkpoint before it is whole. Train on with precision "
            "float32, or with a lower learning rate."
        )
    run.scaler.step(run.optimiser)
    run.scaler.update()
    run.optimiser.zero_grad(set_to_none=True)
    follow(run.averaged, run.model, decay_at(step, settings.ema))
    return loss_of_all, norm


def _may_overflow(scaler: torch.amp.GradScaler) -> bool:
    """Whether an infinite gradient is the scaler's way to find its scale: it skips the step and scales less."""
    return scaler.is_enabled() and scaler.get_scale() >= _LEAST_SCALE


def _resume(run: _Run, folder: Path, mark: Mapping[str, Any]) -> int:
    """The first process looks for the newest checkpoint, all read it; returns the step that comes next."""
    path = checkpoint.newest(folder) if run.processes.first else None
    path = agree(path, run.processes)
    if path is None:
        return 0
    state = checkpoint.read(path)
    checkpoint.require_same(path, state, mark)
    start = run.restore(state)
    LOG.info("%s: going on after step %d of %d", folder.name, start, run.settings.steps)
    return start


def _require_fair_shares(settings: LoopSettings, processes: Processes) -> None:
    if settings.batch % processes.count:
        raise TrainingError(
            f"A batch of {settings.batch} cannot be shared equally by {processes.count} processes: set batch to a "
            f"multiple of {processes.count}, or start fewer."
        )
