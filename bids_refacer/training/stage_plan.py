"""The plan of one stage's training, and what makes it that training and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.settings import TrainSettings
from bids_refacer.training import checkpoint

_LEARNING = ("batch", "noises", "rate", "warmup", "ema", "clip", "precision", "seed")
"""Settings that change weights. How often something is saved, and how many processes help, may change at any time."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """What is trained, for how long, from which weights, and where it is kept.

    Attributes
    ----------
    config : of the stage
    steps : optimiser steps in all
    settings : of the training, shared by all stages
    folder : of checkpoints, `best.pt` and tables
    initial : weights to start from, of the same stage; None: random ones
    about : whatever else makes it this training (heads, priors); plain types, which go into JSON
    """

    config: StageConfig
    steps: int
    settings: TrainSettings
    folder: Path
    initial: Denoiser | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> dict[str, Any]:
        """What two trainings must share to be the same one, as a checkpoint holds it."""
        learning = {name: getattr(self.settings, name) for name in _LEARNING}
        start = checkpoint.digest(self.initial.state_dict())[:12] if self.initial is not None else "random"
        return {
            "stage": self.config.to_dict(),
            "steps": self.steps,
            **learning,
            "initial_weights": start,
            **self.about,
        }

    def require_same(self) -> None:
        """Refuse, before anything is done, checkpoints of another training in the folder.

        Raises
        ------
        CheckpointError
            Names what differs; or no checkpoint can be read.
        """
        path = checkpoint.newest(self.folder)
        if path is not None:
            checkpoint.require_same(path, checkpoint.read(path), self.fingerprint())
