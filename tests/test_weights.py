"""Models on disk: they describe themselves, and a damaged one is never used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_refacing import tiny_stage

from bids_refacer.volumes.prior import LinearPrior
from bids_refacer.weights import LICENCE, WeightsError, load_model, model_folder, save_model, verify

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    support = rng.random((4, 4, 4)) > 0.5
    prior = LinearPrior(
        rng.normal(size=(4, 4, 4)).astype(np.float32),
        rng.normal(size=(3, int(support.sum()))).astype(np.float32),
        support,
        2.5,
    )
    stages = {"coarse": tiny_stage(4, 0.0, 1), "fine": tiny_stage(2, 0.1, 2)}
    save_model(tmp_path / "model", "tiny", prior, stages, {"heads": 3})
    return tmp_path / "model"


def test_what_is_saved_is_loaded(folder: Path) -> None:
    model = load_model(str(folder), CPU)
    assert (model.name, model.finest, model.coarsest) == ("tiny", 2, 4)
    for (config, denoiser), (wanted, source) in zip(
        model.stages, [tiny_stage(4, 0.0, 1), tiny_stage(2, 0.1, 2)], strict=True
    ):
        assert config == wanted
        for name, tensor in source.state_dict().items():
            torch.testing.assert_close(denoiser.state_dict()[name], tensor.to(torch.bfloat16).float())
    rng = np.random.default_rng(0)
    support = rng.random((4, 4, 4)) > 0.5
    mean = rng.normal(size=(4, 4, 4))
    modes = rng.normal(size=(3, int(support.sum())))
    np.testing.assert_array_equal(model.prior.support, support)
    np.testing.assert_allclose(model.prior.mean, mean, atol=2e-3)
    np.testing.assert_allclose(model.prior.modes, modes, atol=np.abs(modes).max() / 200)
    assert model.prior.noise == 2.5


def test_files_describe_themselves(folder: Path) -> None:
    with safe_open(folder / "coarse.safetensors", "pt") as file:
        about = file.metadata()
    assert about["licence"] == LICENCE == "CC BY-SA 3.0"
    assert json.loads(about["config"])["spacing"] == 4
    assert json.loads(about["card"]) == {"heads": 3}
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.glob("*.safetensors"))


def test_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "fine.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"fine.safetensors is damaged or was changed .* reinstall"):
        load_model(str(folder), CPU)


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "prior.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"prior.safetensors is missing; reinstall"):
        load_model(str(folder), CPU)


def test_file_of_another_kind_is_refused(folder: Path) -> None:
    path = folder / "coarse.safetensors"
    path.write_bytes(b"not safetensors")
    description = json.loads((folder / "model.json").read_text())
    import hashlib

    description["sha256"]["coarse.safetensors"] = hashlib.sha256(b"not safetensors").hexdigest()
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        load_model(str(folder), CPU)


def test_unknown_model_lists_what_there_is() -> None:
    with pytest.raises(WeightsError, match=r"No attack model 'nobody': .*default, linear"):
        model_folder("nobody")


def test_shipped_weights_are_whole_and_small() -> None:
    folder = model_folder("default")
    description = json.loads((folder / "model.json").read_text())
    assert description["stages"] == ["coarse", "fine"]
    for name, digest in description["sha256"].items():
        assert verify(folder / name, digest) == digest
        assert (folder / name).stat().st_size <= 16 * 2**20
    model = load_model("default", CPU)
    assert [config.spacing for config, _ in model.stages] == [4, 2]
    assert load_model("linear", CPU).stages == []
