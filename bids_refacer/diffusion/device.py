"""Where networks run: a CUDA GPU or the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NO_GPU = "--gpu require: torch finds no CUDA GPU here; check the driver and the torch build, or use --gpu try."


def choose_device(policy: str) -> torch.device:
    """The torch device for a GPU policy: require, try or none.

    Raises
    ------
    ValueError
        When a GPU is required and torch finds none.
    """
    import torch

    if policy != "none" and torch.cuda.is_available():
        return torch.device("cuda")
    if policy == "require":
        raise ValueError(NO_GPU)
    return torch.device("cpu")
