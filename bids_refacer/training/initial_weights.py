"""Weights to start from: those of a model that is there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bids_refacer.diffusion.cascade import StageConfig
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.refacing.weights import WeightsError, load_model

_SAMPLING = ("steps", "temperature", "lone_temperature")  # how faces are drawn, not what was learned


def initial_stages(model: str, stages: Mapping[str, StageConfig]) -> dict[str, Denoiser]:
    """The denoisers of a model for the stages to train.

    Parameters
    ----------
    model : name of a shipped model, or a folder with a model.json
    stages : name -> configuration that will be trained

    Raises
    ------
    WeightsError
        When there is no such model, or one of its stages is built differently: names what differs.
    """
    loaded = load_model(model, torch.device("cpu"))
    by_spacing = {config.spacing: (config, denoiser) for config, denoiser in loaded.stages}
    initial = {}
    for name, wanted in stages.items():
        if wanted.spacing not in by_spacing:
            raise WeightsError(
                f"The model {model} has no stage at {wanted.spacing} mm, so the {name} stage cannot start from it: "
                "leave out --init-from, or give a model of the same cascade."
            )
        config, denoiser = by_spacing[wanted.spacing]
        different = differences(config.to_dict(), wanted.to_dict())
        if different:
            raise WeightsError(
                f"The model {model} is built differently at {wanted.spacing} mm ({'; '.join(different)}), so the "
                f"{name} stage cannot start from it: leave out --init-from, or give a model of the same cascade."
            )
        initial[name] = denoiser
    return initial


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations and matters to weights: "network.channels is A there and B here"."""
    found = []
    for key in [key for key in {**there, **here} if key not in _SAMPLING]:
        a, b = there.get(key, "not set"), here.get(key, "not set")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += [f"{key}.{sentence}" for sentence in differences(a, b)]
        elif a != b:
            found.append(f"{key} is {a} there and {b} here")
    return found
