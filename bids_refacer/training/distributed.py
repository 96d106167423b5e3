"""Data-parallel training over the processes that `torchrun` started; one process when there are no others.

Every process trains on its share of each batch and gradients are summed once a step, so that W processes take the
steps that one would with the same global batch (up to the order in which floats are added). DistributedDataParallel
would do the same behind a module's `forward`; here a step is many small backward passes of `Denoiser.loss`, between
which there is nothing to overlap.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")

PATIENCE = timedelta(days=2)
"""How long a process waits for the others: the first one may be filling the cache. torchrun ends all when one dies."""


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is, and the device it trains on."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0


def join() -> Processes:
    """Meet the other processes (NCCL where there are GPUs, gloo on CPUs) as torchrun's environment says."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        return Processes(0, 1, device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    return Processes(dist.get_rank(), count, device)


def leave() -> None:
    """Part from the others at the end."""
    if dist.is_initialized():
        dist.destroy_process_group()


def agree(value: Value, processes: Processes) -> Value:
    """The first process's value, in every process (plain types); also waits for all."""
    if processes.count == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=processes.device if processes.device.type == "cuda" else None)
    return box[0]


def share(batch: int, noises: int, processes: Processes) -> list[list[int]]:
    """Places of this process's draws among the batch * noises of a step: of each of its items, one a noise level.

    Places are numbered over all processes, so that what is drawn does not depend on how many there are.
    """
    items = range(processes.rank, batch, processes.count)
    return [[repeat * batch + item for repeat in range(noises)] for item in items]


def sum_over(parameters: Iterable[nn.Parameter], loss: float, processes: Processes) -> float:
    """Sum gradients, in place, and the loss over all processes: one message a step."""
    if processes.count == 1:
        return loss
    trained = [p for p in parameters if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    total = torch.tensor([loss], dtype=grads[0].dtype, device=grads[0].device)
    flat = torch.cat([total, *(grad.reshape(-1) for grad in grads)])
    dist.all_reduce(flat)
    sums: list[Tensor] = list(flat[1:].split([grad.numel() for grad in grads]))  # type: ignore[no-untyped-call]
    for parameter, grad, summed in zip(trained, grads, sums, strict=True):
        parameter.grad = grad.copy_(summed.view(grad.shape))
    return float(flat[0])
