"""Model weights: found, verified, loaded. The one reader and writer of weight files.

A model is a folder: `model.json` (name, card figures, stages, SHA-256 of every file), `prior_<block>.safetensors` for
each block of the linear prior and one `<stage>.safetensors` per stage. Each file also describes itself in its metadata.
No pickles.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors

from bids_refacer.diffusion.cascade import StageConfig, build
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.refacing.estimate import Estimate
from bids_refacer.refacing.prior import BLOCKS, FIELD_SPACING, Block, LinearPrior

LICENCE = "CC BY-SA 3.0"
BARE = ("linear", "kriged")
"""Models without networks: the linear estimate alone, and moved to agree with the skin beside the cut."""
_PRIOR_FILES = {block: f"prior_{block}" for block in BLOCKS}


class WeightsError(ValueError):
    """A model is missing, damaged, or not one of ours."""


@dataclass(frozen=True)
class AttackModel:
    """Everything learned that an attack needs.

    Attributes
    ----------
    name : of the model
    prior : linear estimate at the coarsest spacing
    stages : (configuration, denoiser) from coarse to fine; none for the linear attack
    sha256 : file name -> SHA-256 of the file
    estimate : what the networks draw over: the linear estimate, or that moved to agree with the skin beside the cut
    ranges : what heads it was trained on (`refacing.range_check`); empty when the model does not say
    """

    name: str
    prior: LinearPrior
    stages: list[tuple[StageConfig, Denoiser]]
    sha256: dict[str, str]
    estimate: Estimate = "kriged"
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def coarsest(self) -> int:
        """Voxel size of the fields, mm: the prior's."""
        return FIELD_SPACING

    @property
    def finest(self) -> int:
        """Voxel size of the painted image, mm: the finest stage's; the image of fields alone has 2 mm."""
        return min([2, *(config.spacing for config, _ in self.stages)])


def model_folder(name: str) -> Path:
    """The folder of a model: the shipped one called `name` (that of `BARE` is the default's), or a path.

    Raises
    ------
    WeightsError
        When there is no such model.
    """
    shipped = Path(str(files("bids_refacer"))) / "data" / "weights"
    for folder in (shipped / ("default" if name in BARE else name), Path(name)):
        if (folder / "model.json").is_file():
            return folder
    have = sorted(p.parent.name for p in shipped.glob("*/model.json"))
    raise WeightsError(
        f"No attack model {name!r}: it is neither one of the shipped models ({', '.join([*have, *BARE])}) nor a folder "
        "with a model.json."
    )


def load_model(name: str, device: torch.device) -> AttackModel:
    """Load and verify a model; those of `BARE` are the shipped one without its networks.

    Raises
    ------
    WeightsError
        When the model is missing or a file does not have the SHA-256 that model.json states.
    """
    folder = model_folder(name)
    description = json.loads((folder / "model.json").read_text())
    names = list(_PRIOR_FILES.values()) + ([] if name in BARE else description["stages"])
    sha256 = {
        file: verify(folder / file, description["sha256"].get(file)) for file in (f"{n}.safetensors" for n in names)
    }
    stages = [load_stage(folder / f"{stage}.safetensors", device) for stage in names[len(BLOCKS) :]]
    label = name if name in BARE else description["name"]
    ranges = {measure: (low, high) for measure, (low, high) in description.get("ranges", {}).items()}
    estimate: Estimate = "linear" if name == "linear" else "kriged"
    return AttackModel(label, _load_prior(folder), stages, sha256, estimate, ranges)


def verify(path: Path, expected: str | None) -> str:
    """SHA-256 of a file, checked against what model.json states."""
    if not path.is_file():
        raise WeightsError(f"{path} is missing; reinstall bids_refacer or point --model at a complete model folder.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != expected:
        raise WeightsError(
            f"{path} is damaged or was changed (its SHA-256 is not the one in model.json); reinstall it."
        )
    return digest


def load_stage(path: Path, device: torch.device) -> tuple[StageConfig, Denoiser]:
    """One stage from the file that `save_model` wrote for it."""
    tensors, metadata = _read(path)
    config = StageConfig.from_dict(json.loads(metadata["config"]))
    denoiser = build(config)
    denoiser.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    denoiser.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # its stub lacks it
    return config, denoiser.eval()


def _load_prior(folder: Path) -> LinearPrior:
    blocks, noise = {}, 0.0
    for name, stem in _PRIOR_FILES.items():
        tensors, metadata = _read(folder / f"{stem}.safetensors")
        scale = tensors["mode_scale"].numpy()[:, None]
        support = np.unpackbits(tensors["support"].numpy()).astype(bool).reshape(tensors["mean"].shape)
        modes = tensors["modes"].numpy().astype(np.float32) * scale
        blocks[name] = Block(tensors["mean"].float().numpy(), modes, support)
        noise = float(json.loads(metadata["config"])["noise"])
    return LinearPrior(blocks, noise)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file ({error}).") from error


def save_model(
    folder: Path,
    name: str,
    prior: LinearPrior,
    stages: dict[str, tuple[StageConfig, Denoiser]],
    card: dict[str, Any],
    ranges: dict[str, tuple[float, float]] | None = None,
) -> None:
    """Write a model: stages in bfloat16, modes in 8 bits, everything described in its own metadata.

    Parameters
    ----------
    folder : created when missing
    stages : file stem -> (configuration, denoiser), from coarse to fine
    card : training data, settings, figures; plain types
    ranges : of the heads that it was trained on, by `refacing.range_check.extremes`
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {"licence": LICENCE, "card": json.dumps(card)}
    for block, file in _PRIOR_FILES.items():
        arrays = _packed(prior.blocks[block])
        save_arrays(arrays, folder / f"{file}.safetensors", {**about, "config": json.dumps({"noise": prior.noise})})
    for stem, (config, denoiser) in stages.items():
        tensors = {key: value.to(torch.bfloat16).contiguous() for key, value in denoiser.state_dict().items()}
        save_tensors(tensors, folder / f"{stem}.safetensors", {**about, "config": json.dumps(config.to_dict())})
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes 0600; any user of a container must be able to read them
    sha256 = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*.safetensors"))}
    content = {"name": name, "licence": LICENCE, "stages": list(stages), "sha256": sha256, "ranges": ranges or {}}
    content["card"] = card
    (folder / "model.json").write_text(json.dumps(content, indent=1) + "\n")


def _packed(block: Block) -> dict[str, np.ndarray]:
    scale = np.abs(block.modes).max(axis=1) / 127
    return {
        "mean": block.mean.astype(np.float16),
        "modes": np.round(block.modes / scale[:, None]).astype(np.int8),
        "mode_scale": scale.astype(np.float32),
        "support": np.packbits(block.support),
    }
