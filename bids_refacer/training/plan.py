"""How long and how fast one stage is trained, and what makes it that training and no other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.training import checkpoint
from bids_refacer.training.validation import EDM_LOSS

_FREE = ("checkpoint_every", "keep_checkpoints", "workers", "validate_every", "best_by")


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how fast.

    Attributes
    ----------
    steps : optimiser steps in all
    batch : examples a step over all processes; `noises` noise levels are drawn for each
    rate : peak learning rate; linear warm-up over `warmup` steps, then a cosine down to a fiftieth
    ema : decay of the averaged weights
    clip : largest norm of the gradient; a longer one is shortened
    precision : "auto", "float32", "bfloat16" or "float16"
    checkpoint_every, validate_every : steps between
    keep_checkpoints : the newest so many
    best_by : name of the validation figure, lower is better, by which `best.pt` is chosen
    workers : processes that make examples
    """

    steps: int
    batch: int = 2
    noises: int = 2
    rate: float = 4e-4
    warmup: int = 100
    ema: float = 0.998
    clip: float = 1.0
    precision: str = "auto"
    seed: int = 0
    checkpoint_every: int = 50
    keep_checkpoints: int = 3
    validate_every: int = 100
    best_by: str = EDM_LOSS
    workers: int = 1


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Learning rate of a step: linear warm-up, cosine decay."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    done = min(1.0, (step - settings.warmup) / max(1, settings.steps - settings.warmup))
    return settings.rate * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def fingerprint(
    stage: StageConfig, settings: LoopSettings, initial: Denoiser | None, about: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What two trainings must share to be the same one; how often something is saved is not part of it."""
    loop = {name: value for name, value in asdict(settings).items() if name not in _FREE}
    start = checkpoint.digest(initial.state_dict())[:12] if initial is not None else "random"
    return {"stage": stage.to_dict(), **loop, "initial_weights": start, **(about or {})}
