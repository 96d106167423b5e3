"""Weights to start from must be of the same architecture; what differs is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_heads import TINY_COARSE

from bids_refacer.diffusion.cascade import COARSE, FINE
from bids_refacer.refacing.weights import WeightsError, load_model
from bids_refacer.training.initial_weights import differences, initial_stages


def shipped() -> dict:
    """The configurations of the shipped model, so that this holds whichever model is shipped."""
    stages = load_model("default", torch.device("cpu")).stages
    return {str(config.spacing): (config, denoiser) for config, denoiser in stages}


def test_the_stages_of_a_model_are_found_by_their_voxel_size() -> None:
    stages = shipped()
    initial = initial_stages("default", {f"stage {name}": config for name, (config, _) in stages.items()})
    for name, (_, denoiser) in stages.items():
        for a, b in zip(initial[f"stage {name}"].parameters(), denoiser.parameters(), strict=True):
            assert torch.equal(a, b)


def test_sampler_settings_do_not_matter_and_the_network_does() -> None:
    assert differences(COARSE.to_dict(), replace(COARSE, steps=99, temperature=0.1).to_dict()) == []
    found = differences(COARSE.to_dict(), TINY_COARSE.to_dict())
    assert f"network.channels is {COARSE.network.channels} there and (8, 16) here" in found


def test_a_stage_that_the_model_has_not_is_named() -> None:
    with pytest.raises(WeightsError) as caught:
        initial_stages("default", {"sharp": replace(FINE, spacing=1)})
    assert str(caught.value).startswith("The model default has no stage at 1 mm, so the sharp stage cannot start from")


def test_another_architecture_is_refused_with_what_differs() -> None:
    config, _ = next(iter(shipped().values()))
    other = replace(config, noise=replace(config.noise, sigma_data=9.0))
    with pytest.raises(WeightsError, match=r"noise.sigma_data is .* there and 9.0 here\), so the first stage cannot"):
        initial_stages("default", {"first": other})
