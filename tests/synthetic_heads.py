"""Heads of `bids_refacer simulate OUT --participants 7 --seed 1`, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_refacer.cli.simulate import parse_args
from bids_refacer.cli.simulate_run import participant_of
from bids_refacer.simulation.acquisition import acquire, true_brain
from bids_refacer.simulation.model import HeadModel, head_model
from bids_refacer.simulation.participants import Participant


@dataclass(frozen=True)
class SyntheticHead:
    """A head, who it is, and its T1w."""

    model: HeadModel
    drawn: Participant
    image: np.ndarray  # (i, j, k) int16 on the grid of drawn.session
    brain: np.ndarray  # (i, j, k) bool, the truth

    @property
    def affine(self) -> np.ndarray:
        return self.drawn.session.grid.affine


def synthetic_head(number: int) -> SyntheticHead:
    settings, model = parse_args(["never written", "--participants", "7", "--seed", "1"]), head_model()
    drawn = participant_of(settings, model, number)
    image = acquire(model, drawn.anatomy, drawn.session, drawn.protocol, "T1w", drawn.image_rngs["T1w"])
    return SyntheticHead(model, drawn, image, true_brain(model, drawn.anatomy, drawn.session))
