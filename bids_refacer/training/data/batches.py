"""Training items as a torch dataset: item i is a pure function of (heads, seed, i)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.training import checkpoint
from bids_refacer.training.data.examples import Item, attacked, coarse_item, draw_example, fine_item
from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.regions import KINDS


class Items(Dataset[Item]):
    """Item i is the i-th training example of a run, ready for its stage.

    Parameters
    ----------
    priors : one for each fold of the heads
    kinds : shares of the kinds of regions that are removed
    """

    def __init__(
        self,
        heads: list[Head],
        priors: list[LinearPrior],
        stage: StageConfig,
        seed: int,
        crop: int,
        kinds: Mapping[str, float] = KINDS,
    ) -> None:
        self.heads, self.priors, self.stage, self.seed, self.crop, self.kinds = heads, priors, stage, seed, crop, kinds

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Item:
        if get_worker_info() is not None:
            torch.set_num_threads(1)  # loader workers share the machine with the network
        example = draw_example(self.heads, self.seed, index, self.kinds)
        found = attacked(example, self.priors[example.fold])
        if self.stage.draws == "fields":
            return coarse_item(found)
        return fine_item(found, np.random.default_rng([self.seed, index, 1]), self.stage.augmentation, self.crop)


class KeptItems(Dataset[Item]):
    """The first `count` items of a dataset, made once, kept on the disk in half precision, and used again and again.

    To make an item takes a second or two of a processor; a GPU learns from dozens in that time. Every other time an
    item is mirrored left to right, as faces may be.
    """

    def __init__(self, items: Dataset[Item], count: int, folder: Path) -> None:
        self.items, self.count, self.folder = items, count, folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # they show faces

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Item:
        turn, number = divmod(index, self.count)
        file = self.folder / f"{number}.pt"
        try:
            kept = checkpoint.read(file)
        except checkpoint.CheckpointError:  # not made yet, or damaged
            made = vars(self.items[number])
            kept = {name: part.half() if isinstance(part, Tensor) else part for name, part in made.items()}
            checkpoint.write(file, kept)
        seen: dict[str, Any] = {name: _as_seen(part, turn % 2 == 1) for name, part in kept.items()}
        return Item(**seen)


def _as_seen(part: Tensor | float, mirrored: bool) -> Tensor | float:
    if not isinstance(part, Tensor):
        return part
    return part.float().flip(2) if mirrored else part.float()


def as_list(items: list[Item]) -> list[Item]:
    """Collate without stacking: boxes differ in size."""
    return items
