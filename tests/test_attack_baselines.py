"""The baselines of the benchmark of the attack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import ablations, attack
from benchmarks.attack import attack_model
from bids_refacer.diffusion.cascade import FINE, build
from bids_refacer.refacing.weights import WeightsError, load_model, save_model


def test_coarse_is_the_first_stage_alone() -> None:
    shipped, coarse = load_model("default", torch.device("cpu")), attack_model("coarse")
    assert [config.spacing for config, _ in coarse.stages] == [4] and coarse.finest == 2
    weights = [model.stages[0][1].state_dict() for model in (shipped, coarse)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_single_is_one_network_of_2_mm_over_the_same_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_model("default", torch.device("cpu"))
    save_model(tmp_path, "single", shipped.prior, {"fine": (FINE, build(FINE))}, {})  # as benchmarks.ablations does
    monkeypatch.setattr(attack, "SINGLE_STAGE", tmp_path / "fine.safetensors")
    single = attack_model("single")
    (config, denoiser), (fine, painter) = single.stages[0], shipped.stages[1]
    assert len(single.stages) == 1 and config == fine and single.estimate == "kriged"
    assert any(not torch.equal(a, b) for a, b in zip(denoiser.parameters(), painter.parameters(), strict=True))


def test_single_names_the_command_that_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "single_stage.safetensors"
    monkeypatch.setattr(attack, "SINGLE_STAGE", missing)
    with pytest.raises(WeightsError) as raised:
        attack_model("single")
    assert str(raised.value).startswith(f"{missing} is missing: train it with `python -m benchmarks.ablations OUT NEW")
    page = (Path(__file__).parent.parent / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert attack.SINGLE_STAGE_COMMAND in str(raised.value) and attack.SINGLE_STAGE_COMMAND in page


def test_the_command_that_makes_it_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the folder of a training is missing."""
    words = attack.SINGLE_STAGE_COMMAND.split()
    assert words[:3] == ["python", "-m", "benchmarks.ablations"]
    monkeypatch.setattr("sys.argv", ["ablations", *words[3:]])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"OUT/heads\.json"):
        ablations.main()


def test_any_other_model_is_one_of_the_app(tmp_path: Path) -> None:
    assert attack_model("linear").stages == []
    with pytest.raises(WeightsError, match="No attack model"):
        attack_model(str(tmp_path))
