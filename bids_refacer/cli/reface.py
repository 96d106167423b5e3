"""Reface one defaced image: the child command that the workflow calls, so that a GPU's memory is freed for sure.

`python -m bids_refacer.cli.reface DEFACED OUT_DIR --seeds 1 2 3` writes OUT_DIR/sample-<k>.nii.gz,
mean.nii.gz, average.nii.gz, unknown.nii.gz and attack.json. It is given the defaced image alone.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_refacer.cli.arguments import Parser
from bids_refacer.environment import keep_freed_memory
from bids_refacer.problems import NO_MEMORY, remedy_for
from bids_refacer.settings import ATTACKS, SAMPLERS
from bids_refacer.volumes.grid import Volume

if TYPE_CHECKING:
    from bids_refacer.refacing.attack import DefacedImage, Refaced
    from bids_refacer.volumes.scan import Scan


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code. Errors are one sentence on standard error."""
    options = _parser().parse_args(argv)
    keep_freed_memory()
    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    try:
        started = time.monotonic()
        scan, refaced, details = _attack(options, _defaced_image(options.defaced, options.brain_mask, options.threads))
        details["RunTime"] = round(time.monotonic() - started, 1)
        _write(options.out_dir, scan, refaced, details)
    except ValueError as error:
        text = str(error)
        print(text if str(options.defaced) in text else f"{options.defaced}: {text}", file=sys.stderr)
        return 1
    except (OSError, MemoryError, RuntimeError) as error:
        no_memory = isinstance(error, MemoryError) or NO_MEMORY in str(error)
        remedy = remedy_for(errno.ENOMEM if no_memory else getattr(error, "errno", None))
        if remedy is None:
            raise
        print(f"{options.defaced}: {str(error) or 'there is no memory left'}: {remedy}", file=sys.stderr)
        return 1
    return 0


def _defaced_image(path: Path, brain_mask: Path | None, threads: int | None) -> DefacedImage:
    """The image with its brain and alignment, both found in this image alone."""
    from bids_refacer.refacing.attack import DefacedImage
    from bids_refacer.volumes.brain import extract_brain
    from bids_refacer.volumes.nifti import read_mask, read_scan
    from bids_refacer.volumes.registration import align_brain

    scan = read_scan(path)
    if brain_mask is None:
        brain = extract_brain(scan.volume, num_threads=threads, name=path)
    else:
        brain = read_mask(brain_mask).values
        if brain.shape != scan.stored.shape:
            raise ValueError(f"The brain mask {brain_mask} has shape {brain.shape}, {path} {scan.stored.shape}.")
    return DefacedImage(scan, brain, align_brain(scan.volume, brain))


def _attack(options: argparse.Namespace, image: DefacedImage) -> tuple[Scan, Refaced, dict[str, Any]]:
    """The attacked image, what was made of it, and the details that the sidecars show."""
    import torch
    from tqdm import tqdm

    from bids_refacer.diffusion.device import choose_device
    from bids_refacer.refacing.attack_level import AttackLevel, attack_at
    from bids_refacer.refacing.sampling import SamplingSettings, paired_seeds
    from bids_refacer.refacing.weights import load_model

    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.gpu)
    model = load_model(options.model, device)
    settings = SamplingSettings(sampler=options.sampler, steps=options.steps, device=device)
    bar = tqdm(desc="sampling", unit="step", leave=False, disable=None if options.progress else True, file=sys.stderr)

    def progress(sample: int, step: int, total: int) -> None:
        bar.total = total * len(options.seeds)
        bar.update(sample * total + step - bar.n)

    level = AttackLevel(replaces=options.replaces, level=options.attack)
    scan, refaced = attack_at(level, image, model, settings, paired_seeds(options.seeds), progress)
    bar.close()
    return (
        scan,
        refaced,
        {
            **refaced.details,
            **({"Attack": options.attack} if options.replaces else {}),
            "Model": model.name,
            "WeightsSHA256": model.sha256,
            "Sampler": options.sampler,
            "Steps": [settings.steps_of(config) for config, _ in model.used_stages],
            "Seeds": list(options.seeds),
            "Device": str(device),
        },
    )


def _write(out_dir: Path, scan: Scan, refaced: Refaced, details: dict[str, Any]) -> None:
    from bids_refacer.audit.nodes import products
    from bids_refacer.volumes.nifti import write_scan, write_volume

    out_dir.mkdir(parents=True, exist_ok=True)
    # the defaced image has texts in its header only where that was asked for
    for number, stored in enumerate(refaced.samples, 1):
        write_scan(out_dir / products.sample(number), scan, stored, keep_texts=True)
    write_scan(out_dir / products.MEAN, scan, refaced.mean, keep_texts=True)
    write_scan(out_dir / products.AVERAGE, scan, refaced.average, keep_texts=True)
    write_volume(out_dir / "unknown.nii.gz", Volume(refaced.unknown, scan.affine), "uint8")
    (out_dir / "attack.json").write_text(json.dumps(details, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m bids_refacer.cli.reface", description=__doc__)
    parser.add_argument("defaced", type=Path, help="the defaced NIfTI image")
    parser.add_argument("out_dir", type=Path, help="folder for the refaced images; they are identifiable data")
    parser.add_argument("--brain-mask", type=Path, help="brain of this image, found in it alone (default: find it)")
    parser.add_argument("--replaces", action="store_true", help="the tool put another face there")
    parser.add_argument("--attack", default="mask", choices=ATTACKS, help="on replaced faces")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0],
        help="one per sample; given twice, it draws both sides of its sample",
    )
    parser.add_argument("--sampler", default="dpmpp2m", choices=SAMPLERS)
    parser.add_argument("--steps", type=int, help="sampler steps of every stage (default: each stage's own)")
    parser.add_argument("--model", default="default", help="a shipped model or a model folder")
    parser.add_argument("--gpu", default="try", choices=("require", "try", "none"))
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--progress", action="store_true", help="show a bar on a terminal")
    return parser


if __name__ == "__main__":
    sys.exit(main())
