"""A training: prepare the data, train the stages of the cascade one after the other, write the model."""

from __future__ import annotations

import fcntl
import json
import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from bids_refacer import __version__
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.diffusion.cascade import COARSE, FINE, StageConfig, build, parameter_count
from bids_refacer.diffusion.denoiser import Denoiser
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.weights import WeightsError, save_model
from bids_refacer.settings import TrainSettings
from bids_refacer.training.checkpoint import CheckpointError, digest
from bids_refacer.training.data.batches import Items, KeptItems
from bids_refacer.training.data.cache import Entry, cached_priors, heads_sha256, load_heads, prepare
from bids_refacer.training.data.examples import Item
from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.priors import training_ranges
from bids_refacer.training.data.regions import template_region
from bids_refacer.training.data.selection import TRAIN, VAL, TrainingDataError
from bids_refacer.training.distributed import Processes, agree, join, leave
from bids_refacer.training.face_distance import REGIONS, face_errors, face_problem
from bids_refacer.training.initial_weights import initial_stages
from bids_refacer.training.loop import train_stage
from bids_refacer.training.loss import Validate, held_out_loss
from bids_refacer.training.optimisation import PrecisionError, choose_precision
from bids_refacer.training.recorder import TrainingError, best_weights
from bids_refacer.training.stage_plan import StagePlan

LOG = logging.getLogger(__name__)
STAGES: dict[str, StageConfig] = {"coarse": COARSE, "fine": FINE}
_SENTENCES = (TrainingDataError, DatasetError, TrainingError, CheckpointError, PrecisionError, WeightsError)
_VALIDATION_SEED = 0
_VALIDATION_FACES = 6
"""Held-out heads whose faces are drawn at every validation of the first stage."""


def run(settings: TrainSettings, prepare_only: bool) -> int:
    """Train, or go on; 0 when the model is written, 1 when it cannot be, 130 when interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        processes = join()
        logging.getLogger("bids_refacer").setLevel(logging.INFO if processes.first else logging.ERROR)
        with _only_training_in(settings.out, processes):
            _run(settings, prepare_only, processes)
        return 0
    except _SENTENCES as error:
        print(error, file=sys.stderr)
    except OSError as error:
        where = error.filename or settings.out
        print(f"{where}: {error.strerror or error}; check the disk, then call again.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    finally:
        leave()
    return 1


@dataclass(frozen=True)
class TrainingData:
    """What the stages learn from.

    Attributes
    ----------
    heads, held_out : to train on, and to validate on
    priors : cross-fitted linear estimates, one for each fold, and last the one that was fitted on all heads
    sha256 : start of the SHA-256 of the heads
    """

    heads: list[Head]
    held_out: list[Head]
    priors: list[LinearPrior]
    sha256: str


def _run(settings: TrainSettings, prepare_only: bool, processes: Processes) -> None:
    choose_precision(settings.precision, processes.device)  # refuses what cannot be had, before the cache is filled
    prepared = prepare(settings, LOG.info, prepare_only) if processes.first else []
    entries = agree(prepared, processes)
    if prepare_only:
        return
    data = _load(entries, settings, processes)
    plans = _plans(settings, data)
    if processes.first:
        for plan in plans.values():  # all of them, before hours are spent on the first
            plan.require_same()
        _write_settings(settings, entries)
    trained = {
        stage: (
            plan.config,
            train_stage(_items(plan, data), plan, validate=_validation(plan, data, processes), processes=processes),
        )
        for stage, plan in plans.items()
    }
    if processes.first:
        ranges = training_ranges(data.heads, data.priors, list(REGIONS.values()))
        _export(settings, trained, data.priors[-1], len(data.heads), ranges)


def _load(entries: list[Entry], settings: TrainSettings, processes: Processes) -> TrainingData:
    heads, held_out = (load_heads(entries, split, settings.out) for split in (TRAIN, VAL))
    sha256 = heads_sha256(entries)
    if processes.first:
        cached_priors(heads, sha256, settings)
    agree(None, processes)  # the others wait until the priors are on the disk
    return TrainingData(heads, held_out, cached_priors(heads, sha256, settings), sha256)


def _plans(settings: TrainSettings, data: TrainingData) -> dict[str, StagePlan]:
    """The plan of each stage, in the order in which they are trained."""
    initial = initial_stages(settings.init_from, STAGES) if settings.init_from else {}
    about = _made_of(settings, data) | ({} if settings.examples is None else {"examples": settings.examples})
    steps = {"coarse": settings.coarse_steps, "fine": settings.fine_steps}
    return {
        stage: StagePlan(
            config=config,
            steps=steps[stage],
            settings=settings,
            folder=settings.out / stage,
            initial=initial.get(stage),
            about=about,
        )
        for stage, config in STAGES.items()
    }


def _made_of(settings: TrainSettings, data: TrainingData) -> dict[str, str | int | float]:
    """What training examples depend on beside the stage and the seed."""
    return {"heads_sha256": data.sha256, "modes": settings.modes, "ridge": settings.ridge, "crop": settings.crop}


def _items(plan: StagePlan, data: TrainingData) -> Dataset[Item]:
    """The training examples of a stage, new ones or kept ones. Kept ones are found again by all that they depend on."""
    settings, config = plan.settings, plan.config
    items = Items(data.heads, data.priors, config, settings.seed, settings.crop)
    if settings.examples is None:
        return items
    made_of = _made_of(settings, data)
    known_by = digest({**made_of, "stage": config.to_dict(), "seed": settings.seed, "version": __version__})
    return KeptItems(items, settings.examples, settings.out / "examples" / known_by[:12])


def _validation(plan: StagePlan, data: TrainingData, processes: Processes) -> Validate | None:
    """The figures of a stage while it is trained, on held-out heads; none when there are no such heads."""
    config, settings, held_out, prior = plan.config, plan.settings, data.held_out, data.priors[-1]
    if not held_out:
        LOG.info("No participants are held out: no validation, and the last averaged weights become the model.")
        return None
    # held-out heads are in no prior: each takes the one that was fitted on all training heads
    items = Items(held_out, [prior] * len(data.priors), config, _VALIDATION_SEED, settings.crop)
    dtype = choose_precision(settings.precision, processes.device)
    loss = held_out_loss(items, settings.validate_items, _VALIDATION_SEED, dtype)
    if config.augmentation:
        return loss
    problems = [face_problem(head, prior, template_region(head)) for head in held_out[:_VALIDATION_FACES]]
    return lambda model, step: {**loss(model, step), **face_errors(config, model, problems, samples=1)}


def _export(
    settings: TrainSettings,
    trained: dict[str, tuple[StageConfig, Denoiser]],
    prior: LinearPrior,
    heads: int,
    ranges: dict[str, tuple[float, float]],
) -> None:
    """Write OUT/model from the best or the last averaged weights of each stage."""
    chosen: dict[str, Any] = {}
    for stage, (_, denoiser) in trained.items():
        best = best_weights(settings.out / stage) if settings.export == "best" else None
        if best:
            denoiser.load_state_dict(best["ema"])
            chosen[stage] = {name: best[name] for name in ("step", "name", "value")}
    content = json.loads((settings.out / "train.json").read_text())
    card = {"heads": heads, "settings": content, "best": chosen}
    save_model(settings.out / "model", settings.name, prior, trained, card, ranges)
    LOG.info("The model is in %s.", settings.out / "model")


def _write_settings(settings: TrainSettings, entries: list[Entry]) -> None:
    """`train.toml`, for --config-file, and `train.json`, for the card: it names no folder of this machine."""
    settings.to_toml(settings.out / "train.toml")
    options = {k: v for k, v in asdict(settings).items() if not isinstance(v, Path) and k != "init_from"}
    content = {
        "bids_refacer": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "options": {**options, "init_from": Path(settings.init_from).name if settings.init_from else None},
        "stages": {stage: config.to_dict() for stage, config in STAGES.items()},
        "parameters": {stage: parameter_count(build(config)) for stage, config in STAGES.items()},
        "participants": sorted({entry.participant for entry in entries if entry.split == TRAIN}),
    }
    (settings.out / "train.json").write_text(json.dumps(content, indent=1) + "\n")


@contextmanager
def _only_training_in(out: Path, processes: Processes) -> Iterator[None]:
    """Keep a second training out of the same folder; the lock goes with the process, however it ends."""
    if not processes.first:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"Another training is writing to {out}: wait for it, or give another folder."
            ) from error
        except OSError:
            LOG.info("The file system of %s has no locks: see that no second training writes there.", out)
        yield
