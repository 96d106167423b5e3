"""Does the cascade pay, and what is it to have met a tool? `python -m benchmarks.ablations OUT NEW [options]`.

OUT is the folder of a training (`bids_refacer train`), whose cached heads and priors are used; NEW gets checkpoints and
NEW/model, for `python -m benchmarks.attack ... --models NEW/model`. Killed and called again, it goes on.

--single-stage
    one network instead of two: it draws the residual of the 2 mm image over the rendered estimate. An example is that
    of the cascade's second stage, but with the estimate where that has a sample of the first.
--without KIND ...
    the first stage alone, trained without regions of these kinds (`training/regions.py`, KINDS): a tool of such a
    region is then new to it. Compare with the same steps and none left out.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from bids_refacer.diffusion.cascade import COARSE, FINE, StageConfig
from bids_refacer.refacing.prior import LinearPrior
from bids_refacer.refacing.weights import save_model
from bids_refacer.training.data import regions
from bids_refacer.training.data.batches import Items, KeptItems
from bids_refacer.training.data.examples import Item, attacked, draw_example, fine_item
from bids_refacer.training.data.heads import Head, head_file, load_head
from bids_refacer.training.data.priors import load_priors
from bids_refacer.training.data.split import TRAIN
from bids_refacer.training.loop import train_stage
from bids_refacer.training.plan import LoopSettings
from bids_refacer.training.precision import choose
from bids_refacer.training.start import initial_stages
from bids_refacer.training.validation import held_out_loss


class SingleStageItems(Items):
    """The second stage's examples, over the estimate that an attack starts from."""

    def __getitem__(self, index: int) -> Item:
        example = draw_example(self.heads, self.seed, index)
        found = attacked(example, self.priors[example.fold])
        rng = np.random.default_rng([self.seed, index, 1])
        return fine_item(found, rng, self.stage.augmentation, self.crop, over_estimate=True)


class PartialItems(Items):
    """The first stage's examples without some kinds of regions."""

    def __init__(
        self, heads: list[Head], priors: list[LinearPrior], stage: StageConfig, seed: int, crop: int, without: list[str]
    ) -> None:
        super().__init__(heads, priors, stage, seed, crop)
        left = {kind: share for kind, share in regions.KINDS.items() if kind not in without}
        self.kinds = {kind: share / sum(left.values()) for kind, share in left.items()}

    def __getitem__(self, index: int) -> Item:
        regions.KINDS = self.kinds  # here, and not once: loader processes have modules of their own
        return super().__getitem__(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("new", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--single-stage", action="store_true")
    what.add_argument("--without", nargs="*", choices=list(regions.KINDS), help="none: the same with all of them")
    parser.add_argument("--init-from", help="a model; its stage of the same name")
    parser.add_argument("--crop", type=int, default=48)
    parser.add_argument("--examples", type=int, help="keep so many in NEW and use them again; none: new ones")
    for item in fields(LoopSettings):
        if item.type in ("int", "float"):
            kind, default = (int if item.type == "int" else float), None if item.name == "steps" else item.default
            parser.add_argument(
                f"--{item.name.replace('_', '-')}", type=kind, default=default, required=default is None
            )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    entries = json.loads((options.out / "heads.json").read_text())["heads"]
    train, held_out = (
        [load_head(head_file(options.out / "cache", e["name"])) for e in entries if (e["split"] == TRAIN) == trained]
        for trained in (True, False)
    )
    priors = load_priors(options.out / "priors.npz")
    name, stage = ("fine", FINE) if options.single_stage else ("coarse", COARSE)

    def items(heads: list[Head], of: list[LinearPrior], seed: int) -> Items:
        if options.single_stage:
            return SingleStageItems(heads, of, stage, seed, options.crop)
        return PartialItems(heads, of, stage, seed, options.crop, options.without)

    settings = LoopSettings(
        **{i.name: getattr(options, i.name) for i in fields(LoopSettings) if hasattr(options, i.name)}
    )
    initial = initial_stages(options.init_from, {name: stage})[name] if options.init_from else None
    loss = (
        held_out_loss(items(held_out, [priors[-1]] * len(priors), 1), 8, 1, choose("auto", torch.device("cpu")))
        if held_out
        else None
    )
    about = {"single_stage": options.single_stage, "without": options.without, "crop": options.crop}
    drawn: Dataset[Item] = items(train, priors, settings.seed)
    if options.examples:
        drawn = KeptItems(drawn, options.examples, options.new / name / "examples")
        about["examples"] = options.examples
    trained = train_stage(
        drawn,
        stage,
        settings,
        options.new / name,
        validate=loss,
        initial=initial,
        about=about,
    )
    save_model(options.new / "model", options.new.name, priors[-1], {name: (stage, trained)}, {"ablation": about})


if __name__ == "__main__":
    main()
