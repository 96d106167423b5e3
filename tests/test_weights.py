"""Models on disk: they describe themselves, and a damaged one is never used."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_models import tiny_stage

import bids_refacer
from bids_refacer.audit.machine import RunError, ask, child_environment
from bids_refacer.refacing.prior import BLOCKS, Block, LinearPrior
from bids_refacer.refacing.weights import LICENCE, WeightsError, load_model, model_folder, save_model, verify

CPU = torch.device("cpu")
TEMPLATE = ["face_template.nii.gz", "face_template_skin.nii.gz"]


def random_prior() -> LinearPrior:
    """Three modes; every block has a support and a scale of its own."""
    rng, blocks = np.random.default_rng(0), {}
    for number, name in enumerate(BLOCKS):
        support = rng.random((4, 4, 4)) > 0.3 + 0.2 * number
        modes = 10.0**number * rng.normal(size=(3, int(support.sum())))
        blocks[name] = Block(rng.normal(size=(4, 4, 4)).astype(np.float32), modes.astype(np.float32), support)
    return LinearPrior(blocks, 2.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stages = {"coarse": tiny_stage(4, 0.0, 1), "fine": tiny_stage(2, 0.1, 2)}
    save_model(tmp_path / "model", "tiny", random_prior(), stages, {"heads": 3}, {"misfit": (0.25, 0.5)})
    return tmp_path / "model"


def test_what_is_saved_is_loaded(folder: Path) -> None:
    model = load_model(str(folder), CPU)
    assert (model.name, model.finest, model.coarsest) == ("tiny", 2, 4)
    assert model.ranges == {"misfit": (0.25, 0.5)}
    for (config, denoiser), (saved, source) in zip(
        model.stages, [tiny_stage(4, 0.0, 1), tiny_stage(2, 0.1, 2)], strict=True
    ):
        assert config == saved
        for name, tensor in source.state_dict().items():
            torch.testing.assert_close(denoiser.state_dict()[name], tensor.to(torch.bfloat16).float())
    assert list(model.prior.blocks) == list(BLOCKS)
    for name, wanted in random_prior().blocks.items():
        got = model.prior.blocks[name]
        np.testing.assert_array_equal(got.support, wanted.support)
        np.testing.assert_allclose(got.mean, wanted.mean, atol=2e-3)
        largest = np.abs(wanted.modes).max(axis=1, keepdims=True)  # 8 bits, for every mode of every block
        assert (np.abs(got.modes - wanted.modes) <= largest / 250).all()
    assert model.prior.noise == 2.5


def test_files_describe_themselves(folder: Path) -> None:
    names = ["coarse", "fine", *(f"prior_{block}" for block in BLOCKS)]
    assert sorted(path.stem for path in folder.glob("*.safetensors")) == sorted(names)
    for name in names:
        with safe_open(folder / f"{name}.safetensors", "pt") as file:
            about = file.metadata()
        assert about["licence"] == LICENCE == "CC BY-SA 3.0"
        assert json.loads(about["card"]) == {"heads": 3}
        config = json.loads(about["config"])
        assert config == {"noise": 2.5} if name.startswith("prior") else config["spacing"] in (2, 4)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.glob("*.safetensors"))


def test_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "fine.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"fine.safetensors is damaged or was changed .* reinstall"):
        load_model(str(folder), CPU)


@pytest.mark.parametrize("block", BLOCKS)
def test_missing_file_is_named(folder: Path, block: str) -> None:
    (folder / f"prior_{block}.safetensors").unlink()
    with pytest.raises(WeightsError, match=rf"prior_{block}.safetensors is missing; reinstall"):
        load_model(str(folder), CPU)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_changed_prior_is_refused(folder: Path, block: str) -> None:
    path = folder / f"prior_{block}.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(WeightsError, match=rf"prior_{block}.safetensors is damaged or was changed"):
        load_model(str(folder), CPU)


def test_file_of_another_kind_is_refused(folder: Path) -> None:
    path = folder / "coarse.safetensors"
    path.write_bytes(b"not safetensors")
    description = json.loads((folder / "model.json").read_text())
    description["sha256"]["coarse.safetensors"] = hashlib.sha256(b"not safetensors").hexdigest()
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        load_model(str(folder), CPU)


def test_unknown_model_lists_what_there_is() -> None:
    with pytest.raises(WeightsError, match=r"No attack model 'nobody': .*default, linear, kriged, stages"):
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
    for name, estimate in (("linear", "linear"), ("kriged", "kriged")):
        bare = load_model(name, CPU)
        assert (bare.name, bare.stages, bare.estimate) == (name, [], estimate) and model.estimate == "kriged"
        assert sorted(bare.sha256) == [f"prior_{block}.safetensors" for block in ("intensity", "skin", "tissue")]


def test_the_template_belongs_to_the_weights_of_models_that_draw_with_it() -> None:
    """Refaced images are known by the digests: those that were drawn otherwise must not be taken for new."""
    painted, drawn = load_model("stages", CPU), load_model("default", CPU)
    assert drawn.sha256.keys() - painted.sha256.keys() == set(TEMPLATE)
    for name in TEMPLATE:
        asset = Path(bids_refacer.__file__).parent / "data" / name
        assert drawn.sha256[name] == hashlib.sha256(asset.read_bytes()).hexdigest()
    assert (painted.name, drawn.name) == ("stages", "default")
    assert (painted.drawing, drawn.drawing) == ("stages", "template")
    assert [config.spacing for config, _ in drawn.used_stages] == [4], "no stage paints where the template is drawn"
    assert [config.spacing for config, _ in painted.used_stages] == [4, 2]


def test_how_a_model_draws_is_read_and_checked(folder: Path) -> None:
    path = folder / "model.json"
    description = json.loads(path.read_text())
    assert load_model(str(folder), CPU).drawing == "stages", "a model that does not say so draws by its stages"
    for drawing in ("template", "stages"):
        path.write_text(json.dumps({**description, "drawing": drawing}))
        assert load_model(str(folder), CPU).drawing == drawing
    path.write_text(json.dumps({**description, "drawing": "by hand"}))
    with pytest.raises(WeightsError, match=r"does not describe .*drawing is 'by hand', not template or stages"):
        load_model(str(folder), CPU)


def change(folder: Path, stem: str, edit: Callable[[dict[str, torch.Tensor], dict[str, str]], None]) -> Path:
    """Change a file of a model, and its checksum with it."""
    path = folder / f"{stem}.safetensors"
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    edit(tensors, metadata)
    save_file(tensors, path, metadata)
    description = json.loads((folder / "model.json").read_text())
    description["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(description))
    return path


def config_with(**changes: object) -> Callable[[dict[str, torch.Tensor], dict[str, str]], None]:
    def edit(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        content = json.loads(metadata["config"])
        metadata["config"] = json.dumps({**content, "network": {**content["network"], **changes}})

    return edit


def a_value(name: str, value: float) -> Callable[[dict[str, torch.Tensor], dict[str, str]], None]:
    def edit(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        name_of_it = name or next(iter(tensors))
        tensors[name_of_it] = tensors[name_of_it].clone()
        tensors[name_of_it].view(-1)[0] = value

    return edit


EDITS = {
    "a stage with NaN": ("fine", a_value("", np.nan), r"the tensor .* holds NaN or infinity"),
    "a stage with infinity": ("coarse", a_value("", np.inf), r"holds NaN or infinity"),
    "a stage without a tensor": ("fine", lambda t, m: t.pop(next(iter(t))), "its tensors do not fit the network"),
    "a stage with one too many": ("fine", lambda t, m: t.update(more=torch.ones(1)), "do not fit the network"),
    "a stage of another size": ("fine", config_with(channels=[16, 8]), "do not fit the network"),
    "a huge stage": ("fine", config_with(channels=[10**6, 10**6]), "do not fit the network"),
    "a stage of unknown options": ("fine", config_with(colour="red"), "TypeError: "),
    "a stage without a configuration": ("fine", lambda t, m: m.pop("config"), "KeyError: 'config'"),
    "a configuration that is no JSON": ("fine", lambda t, m: m.update(config="{"), "JSONDecodeError: "),
    "a configuration nested too deeply": ("fine", lambda t, m: m.update(config="[" * 10**5), "RecursionError: "),
    "a prior with NaN": ("prior_skin", a_value("mean", np.nan), "the tensor mean holds NaN"),
    "a prior without modes": ("prior_skin", lambda t, m: t.pop("modes"), "KeyError: 'modes'"),
    "a prior of other modes": ("prior_skin", lambda t, m: t.update(modes=t["modes"][:2].clone()), "do not fit each"),
    "a prior of fewer modes": (
        "prior_skin",
        lambda t, m: t.update(modes=t["modes"][:2].clone(), mode_scale=t["mode_scale"][:2].clone()),
        "it does not fit the other blocks",
    ),
    "a flat prior": ("prior_tissue", lambda t, m: t.update(mean=t["mean"][0].clone()), "do not fit each other"),
    "a prior without noise": ("prior_tissue", lambda t, m: m.update(config='{"noise": NaN}'), "does not fit the other"),
}


@pytest.mark.parametrize("case", EDITS)
def test_weights_with_the_right_checksum_that_are_wrong(case: str, folder: Path) -> None:
    stem, edit, said = EDITS[case]
    path = change(folder, stem, edit)
    with pytest.raises(WeightsError, match=said) as caught:
        load_model(str(folder), CPU)
    assert str(path) in str(caught.value) and "holds no part of an attack model that can be used" in str(caught.value)


DESCRIPTIONS = ("", "{", "[]", "{}", "\x00", '{"name": 1, "stages": [], "sha256": {}}', "[" * 100_000, "null")


@pytest.mark.parametrize("text", [*DESCRIPTIONS, '{"name": "a", "stages": ["../x"], "sha256": {}}'])
def test_a_model_json_that_describes_no_model(text: str, folder: Path) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(WeightsError, match=r"model.json does not describe an attack model .*: .*reinstall"):
        load_model(str(folder), CPU)


def test_weights_are_checked_before_a_run(folder: Path, tmp_path: Path) -> None:
    """By what --dry-run calls, too."""
    path = change(folder, "fine", a_value("", np.nan))
    with pytest.raises(RunError, match="holds NaN or infinity") as caught:
        ask(str(folder), "none")
    assert str(path) in str(caught.value)


def test_models_are_checked_where_no_folder_can_be_written() -> None:
    """As in a container whose root is read-only: the check comes before there is a work folder."""
    nowhere = "import tempfile\ntempfile._get_default_tempdir = lambda: 1 / 0\n"
    code = f"{nowhere}from bids_refacer.audit.machine import main\nraise SystemExit(main(['default']))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
