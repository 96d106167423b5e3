"""Batches for the two stages, as tensors, each a pure function of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.refacing.conditioning import condition_volume, upsample
from bids_refacer.training.examples import Example, coarse_arrays, draw_example, fine_crop
from bids_refacer.training.heads import Head
from bids_refacer.volumes.grid import pool
from bids_refacer.volumes.prior import LinearPrior


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Arguments of `Denoiser.loss`, each with a leading batch axis."""

    target: Tensor
    condition: Tensor
    unknown: Tensor
    weight: Tensor
    augmentation: Tensor


class Examples(Dataset):
    """Item i is the i-th training example of a run, ready for its stage."""

    def __init__(
        self, heads: list[Head], priors: list[LinearPrior], stage: StageConfig, seed: int, crop: int
    ) -> None:
        self.heads, self.priors, self.stage, self.seed, self.crop = heads, priors, stage, seed, crop

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Batch:
        torch.set_num_threads(1)
        example = draw_example(self.heads, self.seed, index)
        if self.stage.augmentation == 0:
            condition, target, unknown, weight = coarse_arrays(example, self.priors[example.fold])
            arrays = [torch.from_numpy(np.ascontiguousarray(a))[None] for a in (target, condition, unknown, weight)]
            return _batch(*arrays, torch.zeros(1))
        return fine_batch(example, np.random.default_rng([self.seed, index, 1]), self.stage.augmentation, self.crop)


def fine_batch(example: Example, rng: np.random.Generator, augmentation: float, crop: int) -> Batch:
    """A cube of `crop` voxels with a corrupted coarse volume, for the 2 mm stage.

    The coarse volume of an attack is a sample, sharp here and wrong there. It is imitated by the pooled truth plus
    Gaussian noise of a random level (conditioning augmentation, Ho et al. 2022, section 3), which the network is told.
    """
    box = fine_crop(example, rng, crop)
    values, seen, known = example.values[box], example.seen[box], example.known[box]
    coarse = torch.from_numpy(pool(values, np.ones_like(seen))[0])[None, None]
    known4 = torch.from_numpy(pool(values, known)[1])[None, None]
    level = float(augmentation * rng.random())
    noise = torch.from_numpy(rng.standard_normal(coarse.shape).astype(np.float32))
    base = upsample(torch.where(known4, coarse, coarse + level * noise))
    truth, given = _tensor(values), _tensor(known)
    unknown, weight = 1 - given, _tensor(~known & seen)
    return _batch((truth - base) * weight, condition_volume(truth, given, base), unknown, weight, torch.tensor([level]))


def collate(items: list[Batch]) -> Batch:
    """Join along the batch axis."""
    return Batch(**{name: torch.cat([getattr(item, name) for item in items]) for name in Batch.__annotations__})


def repeat(batch: Batch, times: int) -> Batch:
    """The same examples again, to be seen at other noise levels: examples cost more than a forward pass."""
    return collate([batch] * times)


def _batch(target: Tensor, condition: Tensor, unknown: Tensor, weight: Tensor, augmentation: Tensor) -> Batch:
    return Batch(target=target, condition=condition, unknown=unknown, weight=weight, augmentation=augmentation)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))[None, None]


