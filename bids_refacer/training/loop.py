"""The training loop of one stage: EMA, autocast, clipping, cosine schedule, exact resume from an atomic checkpoint."""

from __future__ import annotations

import copy
import csv
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from bids_refacer.diffusion.cascade import StageConfig, build
from bids_refacer.diffusion.denoiser import Denoiser, has_fast_bf16
from bids_refacer.training.batches import Items, as_list
from bids_refacer.training.examples import Item

LOG = logging.getLogger(__name__)


class TrainingError(RuntimeError):
    """Training cannot go on."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how fast.

    Attributes
    ----------
    steps : optimiser steps in all
    batch : examples a step; `noises` noise levels are drawn for each
    rate : peak learning rate; linear warm-up over `warmup` steps, then a cosine down to a fiftieth
    ema : decay of the averaged weights
    checkpoint_every : steps between checkpoints
    """

    steps: int
    batch: int = 2
    noises: int = 2
    rate: float = 4e-4
    warmup: int = 100
    ema: float = 0.998
    seed: int = 0
    checkpoint_every: int = 50
    workers: int = 1


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Learning rate of a step: linear warm-up, cosine decay."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    done = min(1.0, (step - settings.warmup) / max(1, settings.steps - settings.warmup))
    return settings.rate * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def train_stage(items: Items, stage: StageConfig, settings: LoopSettings, folder: Path) -> Denoiser:
    """Train one stage, or go on where the checkpoint in `folder` left off; returns the averaged weights' model.

    The noise of a step comes from (seed, step), the examples from their own seeds: a run that was killed and resumed
    gives the weights of one that was not (bit for bit on one machine with the same number of threads).
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(settings.seed)
    model = build(stage).to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    averaged = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, betas=(0.9, 0.98), weight_decay=1e-3)
    start = _restore(folder / "checkpoint.pt", model, averaged, optimiser)
    indices = range(start * settings.batch, settings.steps * settings.batch)
    loader = DataLoader(
        items, settings.batch, sampler=indices, num_workers=settings.workers, collate_fn=as_list, drop_last=True
    )
    began = time.monotonic()
    for step, batch in enumerate(loader, start):
        loss = _step(model, averaged, optimiser, batch * settings.noises, step, settings, device)
        _log(folder / "loss.csv", step, loss, time.monotonic() - began)
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
            _save(folder / "checkpoint.pt", step + 1, model, averaged, optimiser)
    return averaged


def _step(
    model: Denoiser,
    averaged: Denoiser,
    optimiser: torch.optim.Optimizer,
    batch: list[Item],
    step: int,
    settings: LoopSettings,
    device: torch.device,
) -> float:
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    n = len(batch)
    uniform = (torch.arange(n) + torch.rand(n, generator=generator)) / n  # stratified: less variance between steps
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, settings)
    total = 0.0
    for item, share in zip(batch, uniform, strict=True):  # boxes differ in size; and this is no slower on a CPU
        noise = torch.randn(item.target.shape, generator=generator)
        level = torch.tensor([item.augmentation])
        tensors = (item.target, item.condition, item.unknown, level, item.weight, share[None], noise)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" or has_fast_bf16()):
            loss = model.loss(*(t.to(device) for t in tensors)) / n
        loss.backward()
        total += loss.item()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    if not torch.isfinite(norm):
        raise TrainingError(
            f"The gradient of step {step} is not finite; the checkpoint before it is whole. Train on without bfloat16, "
            "or with a lower learning rate."
        )
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    decay = min(settings.ema, (1 + step) / (10 + step))
    with torch.no_grad():
        for slow, fast in zip(averaged.parameters(), model.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)
    return total


def _save(path: Path, step: int, model: Denoiser, averaged: Denoiser, optimiser: torch.optim.Optimizer) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "ema": averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def _restore(path: Path, model: Denoiser, averaged: Denoiser, optimiser: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["ema"])
    optimiser.load_state_dict(state["optimiser"])
    LOG.info("Resuming %s at step %d", path.parent.name, state["step"])
    return state["step"]


def _log(path: Path, step: int, loss: float, elapsed: float) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "loss", "elapsed_s"])
        writer.writerow([step, f"{loss:.5f}", f"{elapsed:.1f}"])
