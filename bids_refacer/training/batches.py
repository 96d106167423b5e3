"""Training items as a torch dataset: item i is a pure function of (heads, seed, i)."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.training.examples import Item, attacked, coarse_item, draw_example, fine_item
from bids_refacer.training.heads import Head
from bids_refacer.volumes.prior import LinearPrior


class Items(Dataset):
    """Item i is the i-th training example of a run, ready for its stage."""

    def __init__(self, heads: list[Head], priors: list[LinearPrior], stage: StageConfig, seed: int, crop: int) -> None:
        self.heads, self.priors, self.stage, self.seed, self.crop = heads, priors, stage, seed, crop

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Item:
        if get_worker_info() is not None:
            torch.set_num_threads(1)  # loader workers share the machine with the network
        example = draw_example(self.heads, self.seed, index)
        found = attacked(example, self.priors[example.fold])
        if self.stage.augmentation == 0:
            return coarse_item(found)
        return fine_item(found, np.random.default_rng([self.seed, index, 1]), self.stage.augmentation, self.crop)


def as_list(items: list[Item]) -> list[Item]:
    """Collate without stacking: boxes differ in size."""
    return items
