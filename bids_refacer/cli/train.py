"""Train an attack model: `python -m bids_refacer.cli.train BIDS_DIR OUT`.

Killed at any moment and called again, it goes on where it was.

BIDS_DIR holds T1w images whose faces are there. `participants.tsv` may have a column `split` (only `train` is used)
and flags `nose_in_fov` ... (heads whose nose is cut are left out). OUT gets `cache/` (8-bit canonical heads),
`priors.npz`, `<stage>/checkpoint.pt` and `loss.csv`, `train.json` (all settings), and at the end `model/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from bids_refacer import __version__
from bids_refacer.diffusion.cascade import COARSE, FINE, StageConfig, build
from bids_refacer.interfaces.brain import extract_brain
from bids_refacer.training.batches import Items
from bids_refacer.training.heads import Head, load_head, make_head, save_head
from bids_refacer.training.loop import LoopSettings, train_stage
from bids_refacer.training.priors import cross_fitted_priors, load_priors, save_priors
from bids_refacer.volumes.nifti import read_scan
from bids_refacer.volumes.prior import LinearPrior
from bids_refacer.volumes.registration import align_brain
from bids_refacer.weights import save_model

LOG = logging.getLogger(__name__)
STAGES: dict[str, StageConfig] = {"coarse": COARSE, "fine": FINE}


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    names = training_participants(options.bids_dir)
    if len(names) < 10:
        print(f"{options.bids_dir}: {len(names)} heads to train on; at least 10 are needed.", file=sys.stderr)
        return 1
    heads = [cached_head(options.bids_dir, name, options.out / "cache") for name in names]
    LOG.info("%d heads", len(heads))
    priors = cached_priors(heads, options)
    loops = {stage: _loop_settings(options, stage) for stage in STAGES}
    _write_settings(options, names, loops)
    trained = {}
    for stage, config in STAGES.items():
        items = Items(heads, priors, config, options.seed, options.crop)
        trained[stage] = (config, train_stage(items, config, loops[stage], options.out / stage))
    card = {"heads": len(heads), "settings": json.loads((options.out / "train.json").read_text())}
    save_model(options.out / "model", options.name, priors[-1], trained, card)
    return 0


def training_participants(bids_dir: Path) -> list[str]:
    """Participants to train on, sorted: those of `split` train whose nose is in the field of view, where it is said."""
    with (bids_dir / "participants.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    wanted = [r for r in rows if r.get("split", "train") == "train" and r.get("nose_in_fov", "1") == "1"]
    return sorted(r["participant_id"] for r in wanted)


def cached_head(bids_dir: Path, name: str, cache: Path) -> Head:
    """The canonical head of a participant, made on the first call."""
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{name}.npz"
    if not target.exists():
        scan = read_scan(next(iter(sorted((bids_dir / name).rglob("*_T1w.nii*")))))
        brain = extract_brain(scan.values, scan.affine, name=scan.path)
        save_head(make_head(name, scan.values, scan.affine, brain, align_brain(scan.values, scan.affine, brain)), cache)
    return load_head(target)


def cached_priors(heads: list[Head], options: argparse.Namespace) -> list[LinearPrior]:
    """The cross-fitted priors, made on the first call."""
    target = options.out / "priors.npz"
    if not target.exists():
        save_priors(cross_fitted_priors(heads, options.modes, options.ridge), target)
    return load_priors(target)


def _loop_settings(options: argparse.Namespace, stage: str) -> LoopSettings:
    steps = {"coarse": options.coarse_steps, "fine": options.fine_steps}[stage]
    return LoopSettings(steps=steps, batch=options.batch, noises=options.noises, rate=options.rate, seed=options.seed)


def _write_settings(options: argparse.Namespace, names: list[str], loops: dict[str, LoopSettings]) -> None:
    content = {
        "bids_refacer": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "options": {key: value for key, value in vars(options).items() if not isinstance(value, Path)},
        "loops": {stage: asdict(settings) for stage, settings in loops.items()},
        "stages": {stage: config.to_dict() for stage, config in STAGES.items()},
        "parameters": {s: sum(p.numel() for p in build(c).parameters()) for s, c in STAGES.items()},
        "participants": names,
    }
    (options.out / "train.json").write_text(json.dumps(content, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bids_refacer.cli.train", description=__doc__)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="default", help="name of the model")
    parser.add_argument("--coarse-steps", type=int, default=1000)
    parser.add_argument("--fine-steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=2, help="heads a step")
    parser.add_argument("--noises", type=int, default=2, help="noise levels drawn for each head")
    parser.add_argument("--rate", type=float, default=4e-4, help="peak learning rate")
    parser.add_argument("--crop", type=int, default=64, help="side of the fine stage's training cubes, voxels of 2 mm")
    parser.add_argument("--modes", type=int, default=80, help="principal modes of the linear estimate")
    parser.add_argument("--ridge", type=float, default=0.5, help="noise variance of the linear estimate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
