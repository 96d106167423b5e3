"""Random numbers of a step: functions of (seed, step, place in the batch), whichever process draws them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def strata(seed: int, step: int, count: int) -> Tensor:
    """(count,) float32 in (0, 1), one in each of `count` equal parts: less variance between steps than free draws."""
    return (torch.arange(count) + torch.rand(count, generator=_generator(seed, step, 0))) / count


def normal(seed: int, step: int, place: int, shape: torch.Size) -> Tensor:
    """Standard normal float32 noise for one place in the batch of a step."""
    return torch.randn(shape, generator=_generator(seed, step, 1 + place))


def _generator(seed: int, step: int, stream: int) -> torch.Generator:
    # SeedSequence keeps neighbours apart, such as step 3 of seed 4 and step 4 of seed 3. To it, (1, 2) is (1, 2, 0):
    # hence three numbers for everybody.
    state = np.random.SeedSequence((seed, step, stream)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
