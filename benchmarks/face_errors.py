"""What the first stage adds to the linear estimate: `python -m benchmarks.face_errors CACHE [options]`.

CACHE is the cache of heads that `bids_refacer train` makes (OUT/cache); only the participants named are read, and they
must not have been trained on. Prints, for each temperature, the distance between the true skin and that of the linear
estimate, of the kriged one, of single samples and of their mean where the face was removed (symmetric, mm:
`training/face_distance.py`), for every sampler and number of steps; and the seconds that a sample takes (compare them
within one run alone).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from bids_refacer.diffusion.samplers import SAMPLERS
from bids_refacer.refacing.weights import load_model
from bids_refacer.training.data.heads import head_file, load_head
from bids_refacer.training.face_distance import REGIONS, face_errors, face_problem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("heads", nargs="+", help="names of cached heads, such as sub-01")
    parser.add_argument("--region", choices=list(REGIONS), default="template")
    parser.add_argument("--model", default="default")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 0.5, 0.2, 0.0])
    parser.add_argument("--num-samples", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=[8])
    parser.add_argument("--samplers", nargs="+", choices=list(SAMPLERS), default=["dpmpp2m"])
    options = parser.parse_args()
    model = load_model(options.model, torch.device("cpu"))
    stage, denoiser = model.stages[0]
    heads = [load_head(head_file(options.cache, name)) for name in options.heads]
    problems = [face_problem(head, model.prior, REGIONS[options.region](head)) for head in heads]
    print("| temperature | sampler | steps | linear mm | kriged mm | one sample mm | mean of samples mm | s a sample |")
    print("|---|---|---|---|---|---|---|---|")
    for temperature, sampler, steps in product(options.temperatures, options.samplers, options.steps):
        samples = options.num_samples if temperature else 1  # without noise, all are the same
        started = time.monotonic()
        config = replace(stage, temperature=temperature, lone_temperature=None)
        found = face_errors(config, denoiser, problems, samples, steps, sampler)
        seconds = (time.monotonic() - started) / samples / len(problems)
        figures = " | ".join(f"{found[name]:.2f}" for name in ("linear_mm", "anchored_mm", "single_mm", "mean_mm"))
        print(f"| {temperature:g} | {sampler} | {steps} | {figures} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
