"""Does the cascade pay, and what is it to have met a tool? `python -m benchmarks.ablations OUT NEW [options]`.

OUT is the folder of a training (`bids_refacer train`), whose cached heads and priors are used; NEW gets checkpoints and
NEW/model, for `python -m benchmarks.attack ... --models NEW/model`. Killed and called again, it goes on.

--single-stage
    one network instead of two: it draws the residual of the 2 mm image over the rendered estimate. An example is that
    of the cascade's second stage, but with the estimate where that has a sample of the first.
--without KIND ...
    the first stage alone, trained without regions of these kinds (`training/data/regions.py`, KINDS): a tool of such a
    region is then new to it. Compare with the same steps and none left out.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from bids_refacer.diffusion.cascade import COARSE, FINE, StageConfig
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.weights import save_model
from bids_refacer.settings import TrainSettings
from bids_refacer.training.data.batches import Items, KeptItems
from bids_refacer.training.data.cache import listed_heads, load_heads
from bids_refacer.training.data.examples import Item, attacked, draw_example, fine_item
from bids_refacer.training.data.heads import Head
from bids_refacer.training.data.priors import load_priors
from bids_refacer.training.data.regions import KINDS
from bids_refacer.training.data.selection import TRAIN, VAL
from bids_refacer.training.initial_weights import initial_stages
from bids_refacer.training.loop import train_stage
from bids_refacer.training.loss import held_out_loss
from bids_refacer.training.optimisation import choose_precision
from bids_refacer.training.stage_plan import StagePlan

SETTINGS = "batch noises rate warmup ema clip seed checkpoint_every keep_checkpoints validate_every workers".split()
"""Options that are settings of a training; the seed is 0 here, as the published ablations had it."""
VALIDATION_ITEMS, VALIDATION_SEED = 8, 1


class SingleStageItems(Items):
    """The second stage's examples, over the estimate that an attack starts from."""

    def __getitem__(self, index: int) -> Item:
        example = draw_example(self.heads, self.seed, index)
        found = attacked(example, self.priors[example.fold])
        rng = np.random.default_rng([self.seed, index, 1])
        return fine_item(found, rng, self.stage.augmentation, self.crop, over_estimate=True)


def kinds_without(left_out: Sequence[str]) -> Mapping[str, float]:
    """Shares of the kinds of regions when some are left out; they add up to 1."""
    left = {kind: share for kind, share in KINDS.items() if kind not in left_out}
    return {kind: share / sum(left.values()) for kind, share in left.items()}


@dataclass(frozen=True)
class Ablation:
    """What is trained: one network instead of a cascade, or (`single` False) a first stage without kinds of regions."""

    single: bool
    without: Sequence[str]
    crop: int

    @property
    def stage(self) -> tuple[str, StageConfig]:
        return ("fine", FINE) if self.single else ("coarse", COARSE)

    def items(self, heads: list[Head], priors: list[LinearPrior], seed: int) -> Items:
        stage = self.stage[1]
        if self.single:
            return SingleStageItems(heads, priors, stage, seed, self.crop)
        return Items(heads, priors, stage, seed, self.crop, kinds_without(self.without))


def parser_of_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("new", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--single-stage", action="store_true")
    what.add_argument("--without", nargs="*", choices=list(KINDS), help="none: the same with all of them")
    parser.add_argument("--init-from", help="a model; its stage of the same name")
    parser.add_argument("--crop", type=int, default=48)
    parser.add_argument("--examples", type=int, help="keep so many in NEW and use them again; none: new ones")
    parser.add_argument("--steps", type=int, required=True)
    defaults = {item.name: item.default for item in fields(TrainSettings)} | {"seed": 0}
    for name in SETTINGS:
        default = defaults[name]
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser_of_options().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    entries = listed_heads(options.out)
    train, held_out = (load_heads(entries, split, options.out) for split in (TRAIN, VAL))
    priors = load_priors(options.out / "priors.npz")
    ablation = Ablation(options.single_stage, options.without or (), options.crop)
    name, stage = ablation.stage
    about = {"single_stage": options.single_stage, "without": options.without, "crop": options.crop}
    drawn: Dataset[Item] = ablation.items(train, priors, options.seed)
    if options.examples:
        drawn = KeptItems(drawn, options.examples, options.new / name / "examples")
        about["examples"] = options.examples
    loss = None
    if held_out:
        items = ablation.items(held_out, [priors[-1]] * len(priors), VALIDATION_SEED)
        precision = choose_precision("auto", torch.device("cpu"))
        loss = held_out_loss(items, VALIDATION_ITEMS, VALIDATION_SEED, precision)
    plan = StagePlan(
        config=stage,
        steps=options.steps,
        settings=TrainSettings(
            bids_dir=options.out, out=options.new, **{name: getattr(options, name) for name in SETTINGS}
        ),
        folder=options.new / name,
        initial=initial_stages(options.init_from, {name: stage})[name] if options.init_from else None,
        about=about,
    )
    trained = train_stage(drawn, plan, validate=loss)
    save_model(options.new / "model", options.new.name, priors[-1], {name: (stage, trained)}, {"ablation": about})


if __name__ == "__main__":
    main()
