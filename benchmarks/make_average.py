"""Build the average-head assets: `python -m benchmarks.make_average BIDS_DIR OUT` (then benchmarks/make_face_parts.py).

From the participants that `bids_refacer train` would train on: the mean of their affinely registered heads
(average_head, hundredths of the brain median), its brain, the brain mask, and the public face zone. Averages of about a
hundred heads: nobody's face. The package's own assets were made so in two rounds, the first against the brain of
pydeface's template, the frame then turned until the average was symmetric about x = 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_refacer.dataset.images import participant_labels
from bids_refacer.settings import TrainSettings
from bids_refacer.training.data.selection import TRAIN, Limits, flagged, read_rows, splits
from bids_refacer.volumes.brain import extract_brain
from bids_refacer.volumes.grid import CANONICAL, Volume, resample
from bids_refacer.volumes.intensity import brain_scale
from bids_refacer.volumes.nifti import read_scan, write_volume
from bids_refacer.volumes.registration import align_brain
from bids_refacer.volumes.templates import pydeface_keep_mask

GRID = CANONICAL[2]
LEAST_HEADS = 10
BRAIN_MARGIN = 4


def training_images(bids_dir: Path) -> list[Path]:
    """The first T1w of each participant that participants.tsv gives to training and does not flag."""
    labels = participant_labels(bids_dir)
    rows = read_rows(bids_dir, labels)
    defaults = TrainSettings(bids_dir=bids_dir, out=Path())
    limits = Limits(max_roughness_mm=defaults.max_roughness_mm, max_dental_void_cm2=defaults.max_dental_void_cm2)
    split = splits(labels, rows, defaults.split_seed, defaults.val_share)
    wanted = [label for label in labels if split[label] == TRAIN and not flagged(rows[label], TRAIN, limits)]
    found = [sorted((bids_dir / f"sub-{label}").rglob("*_T1w.nii*")) for label in wanted]
    return [paths[0] for paths in found if paths]


def accumulate(paths: list[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum of heads in brain medians, heads per voxel, sum of brain masks; each (96, 128, 128)."""
    total, count, brains = (np.zeros(GRID.shape) for _ in range(3))
    for path in paths:
        scan = read_scan(path)
        brain = extract_brain(scan.volume, name=scan.path)
        to_native = np.linalg.inv(align_brain(scan.volume, brain).affine)
        seen = resample(Volume(np.ones(brain.shape, np.float32), scan.affine), GRID, to_native) > 0.99
        values = scan.values / brain_scale(scan.values, brain)
        total += resample(Volume(values, scan.affine), GRID, to_native) * seen
        count += seen
        brains += resample(Volume(brain.astype(np.float32), scan.affine), GRID, to_native)
        print(path.name, flush=True)
    return total, count, brains


def face_zone(brain: np.ndarray) -> np.ndarray:
    """What pydeface's mask removes of the average head, made symmetric, with a margin around the brain."""
    removed = resample(pydeface_keep_mask(), GRID, order=1, cval=1.0) < 0.5
    return (removed | removed[::-1]) & ~ndimage.binary_dilation(brain, iterations=BRAIN_MARGIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    images_used = training_images(options.bids_dir)
    total, count, brains = accumulate(images_used)
    head = np.where(count >= LEAST_HEADS, total / np.maximum(count, 1), 0)
    brain = brains / len(images_used) > 0.5
    stored = np.clip(head * 100, 0, 255)
    images = {
        "average_head": stored,
        "average_brain": np.where(brain, stored, 0),
        "average_brain_mask": brain,
        "face_zone": face_zone(brain),
    }
    for name, image in images.items():
        write_volume(options.out / f"{name}.nii.gz", Volume(image, GRID.affine), "uint8")
    print(f"{len(images_used)} heads; brain of the average {brain.sum() * 8 / 1000:.0f} mL")


if __name__ == "__main__":
    main()
