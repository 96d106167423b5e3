"""Items for the loop alone; run as a script with a folder and settings in JSON, a training that can be killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch.utils.data import Dataset
from training_heads import TINY_COARSE

from bids_refacer.training.data.examples import Item
from bids_refacer.training.plan import LoopSettings

SPREAD = TINY_COARSE.noise.sigma_data


class Loose(Dataset):
    """Small volumes of different sizes, each a function of its index.

    At least 16 voxels a side, so that the coarsest level of a tiny network has 4: on some CPUs oneDNN's bfloat16
    weight gradient of a 3x3x3 convolution over 2 voxels along the first axis reads memory that was never written.
    """

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Item:
        generator = torch.Generator().manual_seed(index)
        shape = (16, 16 + 8 * (index % 2), 16)
        unknown = (torch.rand((1, 1, *shape), generator=generator) < 0.6).float()
        target = SPREAD * torch.randn((1, 2, *shape), generator=generator) * unknown
        noise = torch.randn((1, 2, *shape), generator=generator)
        condition = torch.cat([target / SPREAD, noise], dim=1)  # something that can be learned
        return Item(target, condition, unknown, unknown.expand_as(target), 0.0)


def loop_settings(steps: int, **changes: object) -> LoopSettings:
    values = {"steps": steps, "warmup": 2, "checkpoint_every": 2, "workers": 0, "rate": 1e-3}
    return LoopSettings(**{**values, **changes})


def train(folder: Path, changes: dict) -> None:
    """Train a tiny stage with validation."""
    from bids_refacer.training.loop import train_stage
    from bids_refacer.training.validation import held_out_loss

    validate = held_out_loss(Loose(), 2, 5, torch.float32)
    train_stage(Loose(), TINY_COARSE, loop_settings(**changes), folder, validate=validate)


if __name__ == "__main__":
    from bids_refacer.training.distributed import leave

    torch.set_num_threads(1)
    train(Path(sys.argv[1]), json.loads(sys.argv[2]))
    leave()
