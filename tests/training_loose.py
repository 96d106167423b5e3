"""Items for the loop alone; run as a script with a folder and settings in JSON, a training that can be killed."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import torch
from torch.utils.data import Dataset
from training_heads import TINY_COARSE

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.settings import TrainSettings
from bids_refacer.training.checkpoint import checkpoints, read
from bids_refacer.training.data.examples import Item
from bids_refacer.training.stage_plan import StagePlan

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


def stage_plan(
    folder: Path,
    steps: int,
    *,
    config: StageConfig = TINY_COARSE,
    initial: Denoiser | None = None,
    about: dict[str, object] | None = None,
    **changes: object,
) -> StagePlan:
    """The plan of a short training; `changes` are settings."""
    values = {"warmup": 2, "checkpoint_every": 2, "workers": 0, "rate": 1e-3, "seed": 0, **changes}
    settings = TrainSettings(bids_dir=Path("bids"), out=folder.parent, **values)
    return StagePlan(config=config, steps=steps, settings=settings, folder=folder, initial=initial, about=about or {})


def train(folder: Path, changes: dict) -> None:
    """Train a tiny stage with validation."""
    from bids_refacer.training.loop import train_stage
    from bids_refacer.training.loss import held_out_loss

    validate = held_out_loss(Loose(), 2, 5, torch.float32)
    train_stage(Loose(), stage_plan(folder, **changes), validate=validate)


def newest(folder: Path) -> dict:
    """The content of the newest checkpoint."""
    return read(checkpoints(folder)[-1])


def losses(folder: Path) -> dict[int, float]:
    """Step -> loss, of `loss.csv`."""
    with (folder / "loss.csv").open() as file:
        rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert len(dict(rows)) == len(rows), "a step stands in the table twice"
    return dict(rows)


def same(a: dict, b: dict) -> None:
    """Two states have the same tensors, bit for bit."""
    for name in a:
        if isinstance(a[name], dict):
            same(a[name], b[name])
        elif isinstance(a[name], torch.Tensor):
            assert torch.equal(a[name], b[name]), name


if __name__ == "__main__":
    from bids_refacer.training.distributed import leave

    torch.set_num_threads(1)
    train(Path(sys.argv[1]), json.loads(sys.argv[2]))
    leave()
