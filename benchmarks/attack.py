"""How close the attack comes, against its baselines: `python -m benchmarks.attack BIDS_DIR WORK_DIR [options]`.

For each head and tool: deface, attack the defaced image, score against the original. Prints one row per tool and kind
of face (average, the template as an average (`average-drawn`), linear attack, diffusion cascade), symmetric MASD in mm,
once where the tool took the skin and once over the whole face, with the skin that the tool left. Beside it stand the
mean ratio to the averages and to the linear attack, the number of heads that are closer, and a paired Wilcoxon test,
Holm-corrected over rows. `average-fitted` was warped onto the original and knows the truth, as no attack does. Looks
(`surfaces/quality.py`) follow and, with several samples, how much of the true face lies within the intervals that
their spread gives (`statistics/calibration.py`).
Two more baselines: `--models coarse`, the cascade's first stage alone, and `--models single`, one network of 2 mm over
the same estimate, as large as the second stage and trained as long. That one is not part of the project: where it is
missing, the benchmark names the command that makes it. A model's folder may be given, too.
Participants must not have been in the training set: `--split val` takes that column of participants.tsv.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.attack_tables import print_calibration, print_looks, print_tables
from bids_refacer.defacers import DEFACERS
from bids_refacer.refacing.attack import DefacedImage, reface
from bids_refacer.refacing.drawing.fitted import Original, fitted_average
from bids_refacer.refacing.drawing.template import face_template
from bids_refacer.refacing.sampling import SamplingSettings, paired_seeds
from bids_refacer.refacing.weights import AttackModel, WeightsError, load_model, load_stage
from bids_refacer.surfaces.quality import face_quality
from bids_refacer.surfaces.region import REMOVED
from bids_refacer.surfaces.score import SAMPLE, Key, original_skin, score_candidates
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.volumes.brain import extract_brain
from bids_refacer.volumes.grid import Alignment, Volume
from bids_refacer.volumes.nifti import read_scan, write_scan, write_volume
from bids_refacer.volumes.registration import align_brain
from bids_refacer.volumes.scan import Scan

SINGLE_STAGE = Path(__file__).with_name("single_stage.safetensors")
# OUT is the folder of a training (docs/training.md); docs/model-card.md says what is known of the time that it takes
SINGLE_STAGE_COMMAND = (
    "python -m benchmarks.ablations OUT NEW --single-stage --examples 420 --steps 2197 --batch 8 --ema 0.999 --seed 7"
    " --workers 8"
)


def attack_model(name: str) -> AttackModel:
    """A model as `--model` takes it, or a baseline made from the shipped one: `coarse`, `single`."""
    cpu = torch.device("cpu")
    if name not in ("coarse", "single"):
        return load_model(name, cpu)
    if name == "single" and not SINGLE_STAGE.exists():
        raise WeightsError(
            f"{SINGLE_STAGE} is missing: train it with `{SINGLE_STAGE_COMMAND}`, "
            "then copy NEW/model/fine.safetensors there."
        )
    shipped = load_model("stages", cpu)
    return replace(
        shipped, name=name, stages=shipped.stages[:1] if name == "coarse" else [load_stage(SINGLE_STAGE, cpu)]
    )


def brain_of(scan: Scan, folder: Path) -> np.ndarray:
    """Brain mask of an image, computed once."""
    mask = folder / "brain.nii.gz"
    if not mask.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_volume(mask, Volume(extract_brain(scan.volume, name=scan.path), scan.affine), "uint8")
    return read_scan(mask).stored > 0


def prepare(scan: Scan, folder: Path) -> tuple[np.ndarray, Alignment]:
    """Brain mask and alignment of an image, computed once."""
    brain, alignment = brain_of(scan, folder), folder / "alignment.json"
    if not alignment.exists():
        align_brain(scan.volume, brain).to_json(alignment)
    return brain, Alignment.from_json(alignment)


def defaced(original: Scan, tool: str, folder: Path) -> Scan:
    """The image defaced by a tool, computed once."""
    target = folder / tool / "defaced.nii.gz"
    if not target.exists():
        brain, alignment = prepare(original, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        result = DEFACERS[tool].run(original, brain, alignment, target.parent)
        write_scan(target, original, result.stored)
    return read_scan(target)


def defacing_of(original: Scan, scan: Scan) -> Defacing:
    """What a tool did to an image: what it left is the same, bit for bit."""
    return Defacing(original.volume, scan.values, original.stored != scan.stored)


def fitted_to(original: Scan, scan: Scan, target: np.ndarray, folder: Path) -> np.ndarray:
    """The defaced image with the average face as a registration of the ORIGINAL puts it there: it knows the truth."""
    brain, alignment = prepare(original, folder)
    return fitted_average(Original(original.volume, brain, alignment), face_template(), scan, target).values


def attack_rows(
    original: Scan, tool: str, folder: Path, models: dict[str, AttackModel], options: argparse.Namespace
) -> list[dict]:
    """MASD of every kind of face, per part, for one head and tool."""
    scan = defaced(original, tool, folder)
    brain, alignment = prepare(scan, folder / tool)
    candidates: dict[Key, np.ndarray] = {("defaced", None): scan.values}
    seconds: dict[str, float] = {}
    several: dict[str, dict[Key, np.ndarray]] = {}
    for name, model in models.items():
        seeds = tuple(number // 2 for number in range(options.num_samples if model.stages else 1))  # mirrored pairs
        settings = SamplingSettings(sampler=options.sampler, steps=options.steps, device=torch.device("cpu"))
        started = time.monotonic()
        refaced = reface(
            DefacedImage(scan, brain, alignment),
            model,
            settings,
            seeds=paired_seeds(seeds),
            zone=DEFACERS[tool].action == "replaces",
            progress=lambda *_: None,
        )
        seconds[name] = time.monotonic() - started
        average = "average" if model.drawing == "stages" else "average-drawn"
        candidates[(average, None)] = refaced.average * scan.slope + scan.inter
        candidates[(f"{name} mean", None)] = refaced.mean * scan.slope + scan.inter
        if model.stages:
            candidates[(f"{name} single", None)] = refaced.samples[0] * scan.slope + scan.inter
        if len(refaced.samples) > 1:
            several[name] = {
                (SAMPLE, number): sample * scan.slope + scan.inter for number, sample in enumerate(refaced.samples, 1)
            }
    truth = prepare(original, folder)[1]
    candidates[("average-fitted", None)] = fitted_to(original, scan, refaced.unknown, folder)
    skin = original_skin(original.volume)
    rows = score_candidates(skin, candidates, original.grid, truth, defacing_of(original, scan)).rows
    about = (skin.level, refaced.unknown, truth)
    original_looks = asdict(face_quality(original.volume, *about))
    looks = {
        kind: asdict(face_quality(Volume(image, original.affine), *about))
        for (kind, _), image in candidates.items()
        if kind != "defaced"
    }
    spreads = {name: score_candidates(skin, samples, original.grid, truth) for name, samples in several.items()}
    return [
        {
            "tool": tool,
            "image_type": f"{name} samples",
            "part": "spread",
            "bins": [asdict(row) for row in found.calibration],
        }
        for name, found in spreads.items()
    ] + [
        {
            "tool": tool,
            **asdict(row),
            "seconds": seconds.get(row.image_type.split()[0]),
            "looks": looks.get(row.image_type),
            "looks_of_original": original_looks,
        }
        for row in rows
    ]


def participants(bids_dir: Path, split: str) -> list[str]:
    """Labels, with ``sub-``, of a split: the column of that name in participants.tsv."""
    rows = csv.DictReader((bids_dir / "participants.tsv").open(), delimiter="\t")
    return [row["participant_id"] for row in rows if row["split"] == split]


def head_parser(description: str | None) -> argparse.ArgumentParser:
    """Arguments that say which heads are attacked, and where what is made of them is kept; see `chosen`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--split", default="val", help="rows of participants.tsv to take")
    parser.add_argument("--participants", nargs="*", help="instead of --split")
    return parser


def chosen(options: argparse.Namespace) -> list[str]:
    """Labels, with ``sub-``, of the heads that arguments of `head_parser` name."""
    return options.participants or participants(options.bids_dir, options.split)


def main() -> None:
    parser = head_parser(__doc__)
    parser.add_argument("--tools", nargs="+", default=["quickshear", "pydeface", "niimath", "skullstrip"])
    parser.add_argument("--models", nargs="+", default=["linear", "kriged", "default"])
    parser.add_argument("--num-samples", type=int, default=1)
    parser.add_argument("--sampler", default="dpmpp2m")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rows", type=Path, help="file for all figures (default: WORK_DIR/rows.json)")
    parser.add_argument("--table", nargs="+", type=Path, help="compute nothing: print the table of such files")
    options = parser.parse_args()
    if options.table:
        rows = [row for path in options.table for row in json.loads(path.read_text())]
        print_tables(rows)
        print_looks(rows)
        print_calibration(rows)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    models = {Path(name).name: attack_model(name) for name in options.models}
    target = options.rows or options.work_dir / "rows.json"
    rows: list[dict] = []
    for name in chosen(options):
        path = next((options.bids_dir / name).rglob("*_T1w.nii*"))
        original = read_scan(path)
        for tool in options.tools:
            new = attack_rows(original, tool, options.work_dir / name, models, options)
            rows += [{"participant": name, **row} for row in new]
            print(
                name, tool, {r["image_type"]: round(r["masd_mm"], 2) for r in new if r["part"] == REMOVED}, flush=True
            )
            target.write_text(json.dumps(rows, default=float))  # one that is stopped has what it found
    print_tables(rows)
    print_looks(rows)
    print_calibration(rows)


if __name__ == "__main__":
    main()
