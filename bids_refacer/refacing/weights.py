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
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors

from bids_refacer.diffusion.cascade import StageConfig, build
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.refacing.drawing.template import template_digests
from bids_refacer.refacing.estimate import Estimate
from bids_refacer.refacing.prior import BLOCKS, FIELD_SPACING, Block, LinearPrior

LICENCE = "CC BY-SA 3.0"
BARE = ("linear", "kriged")
"""Models without networks: the linear estimate alone, and moved to agree with the skin beside the cut."""
PAINTED = "stages"
"""The shipped model with its second stage, in place of the template that draws its faces otherwise."""
VARIANTS = (*BARE, PAINTED)
"""Models made of the shipped one."""

Drawing = Literal["template", "stages"]
"""How a head is drawn from its fields: by the template warped to them (`drawing.head`), or by stages of its own."""
_PRIOR_FILES = {block: f"prior_{block}" for block in BLOCKS}


class WeightsError(ValueError):
    """A model is missing, damaged, or not one of ours."""


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What `model.json` says: name, file stems of the stages, SHA-256 by file name, `AttackModel.ranges` and drawing.

    A model that does not say how it draws has stages that do.
    """

    name: str
    stages: list[str]
    sha256: dict[str, str]
    ranges: dict[str, tuple[float, float]]
    drawing: Drawing = "stages"


@dataclass(frozen=True)
class AttackModel:
    """Everything learned that an attack needs.

    Attributes
    ----------
    name : of the model
    prior : linear estimate at the coarsest spacing
    stages : (configuration, denoiser) from coarse to fine; none for the linear attack
    sha256 : file name -> SHA-256 of the file; also of the template's where it is drawn
    estimate : what the networks draw over: the linear estimate, or that moved to agree with the skin beside the cut
    ranges : what heads it was trained on (`refacing.range_check`); empty when the model does not say
    drawing : with "template", stages that draw an image are not used
    """

    name: str
    prior: LinearPrior
    stages: list[tuple[StageConfig, Denoiser]]
    sha256: dict[str, str]
    estimate: Estimate = "kriged"
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    drawing: Drawing = "stages"

    @property
    def used_stages(self) -> list[tuple[StageConfig, Denoiser]]:
        """The stages that an attack samples, from coarse to fine."""
        return [stage for stage in self.stages if self.drawing == "stages" or stage[0].draws == "fields"]

    @property
    def coarsest(self) -> int:
        """Voxel size of the fields, mm: the prior's."""
        return FIELD_SPACING

    @property
    def finest(self) -> int:
        """Voxel size of the painted image, mm: the finest stage's; the image of fields alone has 2 mm."""
        return min([2, *(config.spacing for config, _ in self.stages)])


def model_folder(name: str) -> Path:
    """The folder of a model: the shipped one called `name` (that of `VARIANTS` is the default's), or a path.

    Raises
    ------
    WeightsError
        When there is no such model.
    """
    shipped = Path(str(files("bids_refacer"))) / "data" / "weights"
    for folder in (shipped / ("default" if name in VARIANTS else name), Path(name)):
        if (folder / "model.json").is_file():
            return folder
    have = sorted(p.parent.name for p in shipped.glob("*/model.json"))
    raise WeightsError(
        f"No attack model {name!r}: it is neither one of the shipped models ({', '.join([*have, *VARIANTS])}) nor a "
        "folder with a model.json."
    )


def load_model(name: str, device: torch.device) -> AttackModel:
    """Load and verify a model; those of `VARIANTS` are made of the shipped one.

    Raises
    ------
    WeightsError
        When the model is missing, a file does not have the SHA-256 that model.json states, or what it holds is no part
        of an attack model.
    """
    folder = model_folder(name)
    description = read_description(folder)
    names = list(_PRIOR_FILES.values()) + ([] if name in BARE else description.stages)
    sha256 = {file: verify(folder / file, description.sha256.get(file)) for file in (f"{n}.safetensors" for n in names)}
    stages = [load_stage(folder / f"{stage}.safetensors", device) for stage in names[len(BLOCKS) :]]
    label = name if name in VARIANTS else description.name
    estimate: Estimate = "linear" if name == "linear" else "kriged"
    drawing: Drawing = "stages" if name in VARIANTS else description.drawing
    if drawing == "template":
        sha256 |= template_digests()
    return AttackModel(label, _load_prior(folder), stages, sha256, estimate, description.ranges, drawing)


def read_description(folder: Path) -> ModelDescription:
    """What the `model.json` of a model folder says. Raises WeightsError when it is not that of a model."""
    path = folder / "model.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        description = ModelDescription(
            name=content["name"],
            stages=list(content["stages"]),
            sha256=dict(content["sha256"]),
            ranges={measure: (float(low), float(high)) for measure, (low, high) in content.get("ranges", {}).items()},
            drawing=content.get("drawing", "stages"),
        )
        if description.drawing not in ("template", "stages"):
            raise ValueError(f"drawing is {description.drawing!r}, not template or stages")
        texts = [description.name, *description.stages, *description.sha256, *description.sha256.values()]
        if not all(isinstance(text, str) and "/" not in text for text in texts):
            raise ValueError("names and checksums must be texts without slashes")
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path} does not describe an attack model ({type(error).__name__}: {error}); reinstall bids_refacer or "
            "point --model at a folder that `bids_refacer train` wrote."
        ) from error
    return description


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
    """One stage from the file that `save_model` wrote for it.

    Raises
    ------
    WeightsError
        When the file cannot be read, or does not hold the finite tensors of the network that it describes.
    """
    tensors, metadata = read_tensors(path)
    try:
        config = StageConfig.from_dict(json.loads(metadata["config"]))
        with torch.device("meta"):  # without memory: the description may ask for any size
            wanted = {name: tensor.shape for name, tensor in build(config).state_dict().items()}
    except Exception as error:  # a network of impossible sizes fails in many ways
        raise wrong_weights(path, f"{type(error).__name__}: {error}") from error
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise wrong_weights(path, "its tensors do not fit the network that it describes")
    denoiser = build(config)
    denoiser.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    denoiser.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # its stub lacks it
    return config, denoiser.eval()


def _load_prior(folder: Path) -> LinearPrior:
    blocks, noise = {}, 0.0
    for name, stem in _PRIOR_FILES.items():
        path = folder / f"{stem}.safetensors"
        tensors, metadata = read_tensors(path)
        try:
            blocks[name] = _block(tensors)
            noise = float(json.loads(metadata["config"])["noise"])
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise wrong_weights(path, f"{type(error).__name__}: {error}") from error
        first = next(iter(blocks.values()))
        if blocks[name].mean.shape != first.mean.shape or len(blocks[name].modes) != len(first.modes) or not noise > 0:
            raise wrong_weights(path, "it does not fit the other blocks of the linear estimate")
    return LinearPrior(blocks, noise)


def _block(tensors: dict[str, torch.Tensor]) -> Block:
    """Raises ValueError for tensors that do not fit each other; KeyError for a missing one."""
    mean, modes, scale = (tensors[name].numpy() for name in ("mean", "modes", "mode_scale"))
    support = np.unpackbits(tensors["support"].numpy(), count=mean.size).astype(bool).reshape(mean.shape)
    if mean.ndim != 3 or scale.ndim != 1 or modes.shape != (scale.size, int(support.sum())):
        raise ValueError("mean, modes, mode_scale and support do not fit each other")
    return Block(mean.astype(np.float32), modes.astype(np.float32) * scale[:, None], support)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a file and its metadata. Raises WeightsError; also for a tensor that is not finite."""
    try:
        with safe_open(path, "pt") as file:
            tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file ({error}).") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise wrong_weights(path, f"the tensor {name} holds NaN or infinity")
    return tensors, metadata or {}


def wrong_weights(path: Path, reason: str) -> WeightsError:
    """What is said of a file that has the right checksum and cannot be used all the same."""
    return WeightsError(
        f"{path} holds no part of an attack model that can be used ({reason}); reinstall bids_refacer or point --model "
        "at a complete model folder."
    )


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
