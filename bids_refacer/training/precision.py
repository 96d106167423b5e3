"""In which arithmetic the network runs while it learns; weights, gradients and the optimiser stay in float32."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bids_refacer.diffusion.denoiser import has_fast_bf16


class PrecisionError(ValueError):
    """The precision that was asked for cannot be had on this device."""


def choose(name: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast for a setting; "auto" is the fastest that is safe.

    Raises
    ------
    PrecisionError
        For float16 anywhere but on CUDA: it needs loss scaling, and no CPU is faster in it.
    """
    if name == "float16" and device.type != "cuda":
        raise PrecisionError(
            f"Precision float16 needs a CUDA GPU, and training runs on {device.type}: use auto, bfloat16 or float32."
        )
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if has_fast_bf16() else torch.float32


def loss_scaler(dtype: torch.dtype, device: torch.device) -> torch.amp.GradScaler:
    """The gradient scaler that float16 needs (small gradients would be zero); does nothing for other dtypes."""
    return torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)


def autocast(dtype: torch.dtype, device: torch.device) -> Callable[[], torch.autocast]:
    """Makes the context in which the loss is computed."""
    return lambda: torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
