"""Build bids_refacer/data/head_model.safetensors, the statistical head model of `bids_refacer simulate`.

    python -m bids_refacer train BIDS_DIR OUT --prepare-only     # heads on the canonical grid: OUT/cache
    python -m benchmarks.make_head_model OUT/cache BIDS_DIR/participants.tsv WORK

Heads of the split "train" whose nose lies in the field of view are used. An average of the first few carries the rest:
every head is registered to it (displacements are kept in WORK, a run that was stopped goes on), then mean, modes and
spread of displacements and tissue are taken over all. What is stored: sums over all heads, no head.
"""

from __future__ import annotations

import argparse
import csv
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from benchmarks.head_model_fit import fit_model
from benchmarks.head_registration import (
    SCHEDULE,
    Channels,
    affine_displacement,
    carried,
    channels_of,
    register,
    save_array,
)
from bids_refacer.simulation.model import ASSET, save_model
from bids_refacer.training.data.heads import Head, load_head

FIRST = 12
"""So many heads make the average that all are registered to."""


def people(table: Path, split: str) -> dict[str, tuple[float, float]]:
    """participant_id -> (age in years, 1 for male) of those of a split with both, and the nose in the field of view."""
    with table.open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["nose_in_fov"] == "1"]
    rows = [row for row in rows if row["split"] == split]
    return {r["participant_id"]: (float(r["age"]), float(r["sex"] == "M")) for r in rows if "n/a" not in r.values()}


def average(heads: list[Head], displacements: list[np.ndarray], start: Channels) -> Channels:
    """Mean of what heads show at x + u(x), within 13 mm of the skin of `start`, in which the rest stays."""
    where = start.values[1] < 0.8
    total, count = np.zeros((3, where.sum()), np.float32), np.full(where.sum(), 1e-3, np.float32)
    for head, moved in zip(heads, displacements, strict=True):
        channels = channels_of(head, 2)
        found = carried(np.concatenate([channels.values, channels.seen[None]]), moved, where)
        seen = found[3] > 0.9
        total += found[:3] * seen
        count += seen
    values = start.values.copy()
    values[:, where] = np.where(count > 0.5, total / count, values[:, where])
    return Channels(values, np.ones_like(start.seen), 2)


def to_head(head: Head) -> np.ndarray:
    """The brain's affine as a displacement: where the average's points lie in a head."""
    return affine_displacement(np.linalg.inv(head.alignment.affine @ np.linalg.inv(head.alignment.rigid)))


def first_average(heads: list[Head]) -> Channels:
    start = channels_of(heads[0], 2)
    start.values[1][:] = np.minimum(start.values[1], 0.5)  # the whole box takes part in the first mean
    bases = [to_head(head) for head in heads]
    mean = average(heads, bases, start)
    moved = [register(mean, channels_of(h, 2), b, b, SCHEDULE[:2]) for h, b in zip(heads, bases, strict=True)]
    return average(heads, moved, mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, help="folder of the training cache")
    parser.add_argument("participants", type=Path, help="table with age, sex, split and nose_in_fov")
    parser.add_argument("work", type=Path, help="displacements are kept here; they describe single heads")
    parser.add_argument("--out", type=Path, default=Path(str(files("bids_refacer") / "data" / ASSET)))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    known = people(options.participants, "train")
    paths = [path for path in sorted(options.heads.glob("*.npy")) if path.stem in known]
    start_file = options.work / "average.npy"
    if not start_file.exists():
        save_array(start_file, first_average([load_head(path) for path in paths[:FIRST]]).values)
    values = np.load(start_file)
    target = Channels(values, np.ones(values.shape[1:], np.float32), 2)
    for number, path in enumerate(paths, start=1):
        moved_file = options.work / f"{path.stem}.npy"
        if not moved_file.exists():
            began = time.process_time()
            head = load_head(path)
            base = to_head(head)
            save_array(moved_file, register(target, channels_of(head, 2), base, base).astype(np.float16))
            print(f"{number} of {len(paths)}: {time.process_time() - began:.1f} s CPU", flush=True)
    covariates = np.array([known[path.stem] for path in paths])
    model = fit_model(paths, [options.work / f"{path.stem}.npy" for path in paths], covariates, values)
    save_model(options.out, model)
    print(f"{len(paths)} heads; {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
