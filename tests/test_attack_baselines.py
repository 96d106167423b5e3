"""The baselines that travel with the benchmark of the attack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.attack import attack_model
from bids_refacer.refacing.weights import WeightsError, load_model


def test_coarse_is_the_first_stage_alone() -> None:
    shipped, coarse = load_model("default", torch.device("cpu")), attack_model("coarse")
    assert [config.spacing for config, _ in coarse.stages] == [4] and coarse.finest == 2
    weights = [model.stages[0][1].state_dict() for model in (shipped, coarse)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_single_is_one_network_of_2_mm_over_the_same_estimate() -> None:
    shipped, single = load_model("default", torch.device("cpu")), attack_model("single")
    (config, denoiser), (fine, painter) = single.stages[0], shipped.stages[1]
    assert len(single.stages) == 1 and config == fine and single.estimate == "kriged"
    assert any(not torch.equal(a, b) for a, b in zip(denoiser.parameters(), painter.parameters(), strict=True))


def test_any_other_model_is_one_of_the_app(tmp_path: Path) -> None:
    assert attack_model("linear").stages == []
    with pytest.raises(WeightsError, match="No attack model"):
        attack_model(str(tmp_path))
