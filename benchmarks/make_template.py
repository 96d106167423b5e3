"""Build bids_refacer/data/face_template*.nii.gz, the sharp average head that recovered faces are drawn with.

    python -m bids_refacer train BIDS_DIR OUT --prepare-only     # heads on the canonical grid: OUT/cache
    python -m benchmarks.make_template OUT/cache BIDS_DIR WORK

Heads of the split "train" are used whose nose, chin and ears lie in the field of view, without a signal void at teeth
(columns of participants.tsv). All are registered to the average of the head model, then, in the face, to their own
average. There the image is a trimmed mean, on a 1 mm grid, of the native images, each sampled once, and of their mirror
images; elsewhere a mean at 2 mm. Displacements and samples are kept in WORK and describe single heads; what is stored
is a mean of all.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from benchmarks.head_registration import REACH_MM, Channels, carried, channels_of, register, save_array
from benchmarks.make_head_model import to_head
from bids_refacer.refacing.conditioning import doubled
from bids_refacer.refacing.drawing.displacement import at_world, finer, halved
from bids_refacer.refacing.drawing.template import stored
from bids_refacer.refacing.fields import skin_field, tissue_field
from bids_refacer.simulation.model import head_model
from bids_refacer.surfaces.skin_distance import skin_distance
from bids_refacer.training.data.heads import Head, load_head
from bids_refacer.volumes.grid import CANONICAL, Volume, resample
from bids_refacer.volumes.intensity import CLIP, brain_scale
from bids_refacer.volumes.nifti import read_scan, write_volume

MOST_VOID_CM2 = 4.0
FIRST = ((6, 4, 2.0), (8, 2, 1.6), (6, 2, 1.0))
"""Schedule of the registration to the head model's average, and of that to the average of the faces."""
SECOND = ((6, 2, 1.4), (10, 2, 1.0))
ELASTIC = 0.6
LEAST_HEADS = 4
TRIMMED = 0.15
"""Share of the darkest and of the brightest values of a voxel that are left out of its mean."""
SHARPNESS = 2.0
"""A mean of heads crosses from tissue to air in so many times the distance that a head does."""
INSIDE_MM = 2.0
_AT_ONCE = 200_000


def whole_faces(bids_dir: Path, heads: Path) -> list[str]:
    """Names of cached heads whose face is whole."""
    with (bids_dir / "participants.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "train"]
    rows = [row for row in rows if all(row[f"{part}_in_fov"] == "1" for part in ("nose", "chin", "ears"))]
    names = [row["participant_id"] for row in rows if float(row["dental_void_cm2"]) < MOST_VOID_CM2]
    return [name for name in names if (heads / f"{name}.npy").exists()]


def first_mean() -> Channels:
    """The average of the head model, symmetric."""
    model = head_model()
    skin, brain = (np.clip(_linear(part) / REACH_MM, -1, 1) for part in (model.skin_mm, model.brain_mm))
    image = model.tissue_mean * np.clip(0.5 - skin * REACH_MM / 2, 0, 1)
    values = np.stack([image, skin, brain]).astype(np.float32)
    return Channels((values + values[:, ::-1]) / 2, np.ones(skin.shape, np.float32), 2)


def _linear(values: np.ndarray) -> np.ndarray:
    return ndimage.zoom(values, 2, order=1, grid_mode=True, mode="nearest")


def face_of(mean: Channels) -> np.ndarray:
    """(96, 128, 128) bool: the front of the head below the forehead, near its skin, without the brain."""
    x, y, z = _axes(2)
    front = (y > 0) & (z < 15) & (np.abs(x) < 84)
    return np.asarray(front & (mean.values[1] < 0.6) & (mean.values[1] > -0.9))


def _axes(spacing: int) -> list[np.ndarray]:
    grid = CANONICAL[spacing]
    sides = [np.arange(n) * float(spacing) + start for n, start in zip(grid.shape, grid.affine[:3, 3], strict=True)]
    return np.meshgrid(*sides, indexing="ij", sparse=True)


@dataclass(frozen=True)
class Work:
    """The heads of a template, and what is kept of each while it is made."""

    names: Sequence[str]
    heads: Path
    folder: Path
    bids_dir: Path

    def head(self, name: str) -> Head:
        return load_head(self.heads / f"{name}.npy")

    def displacement(self, name: str, turn: int) -> np.ndarray:
        """(3, 48, 64, 64) float32 mm, from the template to a head, of the first or the second registration."""
        return np.load(self.folder / f"{name}_{turn}.npy").astype(np.float32)

    def register_all(self, turn: int, mean: Channels, schedule: tuple, within: np.ndarray | None) -> None:
        for name in self.names:
            path = self.folder / f"{name}_{turn}.npy"
            if not path.exists():
                head = self.head(name)
                base = to_head(head)
                start = base if turn == 1 else self.displacement(name, turn - 1)
                found = register(mean, channels_of(head, 2), start, base, schedule, ELASTIC, within)
                save_array(path, found.astype(np.float16))
                print(f"{name}: registered, {turn} of 2", flush=True)

    def mean(self, before: Channels, where: np.ndarray) -> Channels:
        """The symmetric mean of all heads in a mask; what was before elsewhere."""
        total = np.zeros((4, *where.shape), np.float32)
        for name in self.names:
            channels = channels_of(self.head(name), 2)
            found = carried(np.concatenate([channels.values, channels.seen[None]]), self.displacement(name, 1), where)
            total[:, where] += np.concatenate([found[:3], np.ones_like(found[:1])]) * (found[3] > 0.9)
        total = total + total[:, ::-1]
        values = np.where(where & (total[3] > LEAST_HEADS), total[:3] / np.maximum(total[3], 1), before.values)
        return Channels(values.astype(np.float32), before.seen, 2)

    def whole_image(self, where: np.ndarray) -> np.ndarray:
        """(96, 128, 128) float32, 0 to 1: symmetric mean of the cached heads."""
        total = np.zeros((2, *where.shape), np.float32)
        for name in self.names:
            head = self.head(name)
            both = np.stack([head.stored, head.seen * np.uint8(255)]).astype(np.float32)
            found = carried(both, self.displacement(name, 2), where)
            total[:, where] += np.stack([found[0], np.ones_like(found[0])]) * (found[1] > 230)
        total = total + total[:, ::-1]
        return total[0] / np.maximum(total[1], 1) / 255

    def samples(self, name: str, points: np.ndarray) -> np.ndarray:
        """(n,) float16, 0 to 1: the native image of a head at (3, n) points of the template, NaN outside its view."""
        path = self.folder / f"{name}_1mm.npy"
        if not path.exists():
            scan, head = read_scan(next((self.bids_dir / name).rglob("*_T1w.nii*"))), self.head(name)
            rigid = head.alignment.rigid
            brain = resample(Volume(head.brain.astype(np.float32), CANONICAL[2].affine), scan.grid, rigid) > 0.5
            splines = ndimage.spline_filter(scan.values.astype(np.float32), order=3, output=np.float32)
            moved = points + at_world(finer(self.displacement(name, 2)), 2, points)
            voxels = apply_affine(np.linalg.inv(scan.affine) @ np.linalg.inv(rigid), moved.T).T
            found = ndimage.map_coordinates(splines, voxels, order=3, prefilter=False, output=np.float32)
            last = np.array(scan.grid.shape)[:, None] - 1
            seen = ((voxels >= 0) & (voxels <= last)).all(axis=0)
            unit = CLIP * brain_scale(scan.values, brain)
            save_array(path, np.where(seen, np.clip(found / unit, 0, 1), np.nan).astype(np.float16))
        return np.load(path)

    def fine_image(self, where: np.ndarray) -> np.ndarray:
        """(192, 256, 256) float32, 0 to 1: symmetric trimmed mean of the native images in a symmetric mask."""
        places = np.stack(np.nonzero(where))
        points = (places + CANONICAL[1].affine[:3, 3:]).astype(np.float32)
        values = np.stack([self.samples(name, points) for name in self.names])
        number = np.zeros(where.shape, np.int32)
        number[tuple(places)] = np.arange(places.shape[1])
        mirrored = number[::-1][tuple(places)]
        means = np.zeros(places.shape[1], np.float32)
        for first in range(0, len(means), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            means[part] = trimmed_mean(np.concatenate([values[:, part], values[:, mirrored[part]]]))
        image = np.zeros(where.shape, np.float32)
        image[tuple(places)] = means
        return (image + image[::-1]) / 2


def trimmed_mean(values: np.ndarray) -> np.ndarray:
    """(n,) float32: mean over the first axis of (heads, n), NaN and `TRIMMED` of either end left out; 0 without any."""
    ordered = np.sort(values.astype(np.float32), axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    rank = np.arange(len(ordered))[:, None]
    kept = (rank >= np.floor(count * TRIMMED)) & (rank < np.ceil(count * (1 - TRIMMED)))
    return np.where(kept, ordered, 0).sum(axis=0) / np.maximum(kept.sum(axis=0), 1)


@dataclass(frozen=True)
class Finished:
    """The template, from its mean image (192, 256, 256), 0 to 1: skin found, and crossed as sharply as a head's."""

    mean: np.ndarray

    @cached_property
    def skin_mm(self) -> np.ndarray:
        """(48, 64, 64) mm, symmetric."""
        found = skin_distance(np.round(halved(self.mean) * 255).astype(np.float32), 2, 4)
        return (found + found[::-1]) / 2

    @cached_property
    def image(self) -> np.ndarray:
        """(192, 256, 256) float32: half of the tissue's intensity stays where it was."""
        skin = doubled(skin_field(self.skin_mm))
        tissue = tissue_field(halved(self.mean) * 2 - 1, skin, np.ones(skin.shape, bool))
        tissue = np.clip((doubled(tissue) + 1) / 2, 0.02, 1)
        share = np.clip(0.5 + SHARPNESS * (self.mean / tissue - 0.5), 0, 1)
        near = doubled(skin) > skin_field(np.float32(-INSIDE_MM))
        image = np.where(near, share * tissue, self.mean)
        return ((image + image[::-1]) / 2).astype(np.float32)


def mean_image(work: Work) -> np.ndarray:
    """(192, 256, 256) float32, 0 to 1."""
    start = first_mean()
    work.register_all(1, start, FIRST, None)
    face = face_of(start)
    mean = work.mean(start, ndimage.binary_dilation(face, iterations=2))
    work.register_all(2, mean, SECOND, face)
    x, y, z = _axes(1)
    near = (mean.values[1] < 0.45) & (mean.values[2] > -0.6)
    where = np.kron(near, np.ones((2, 2, 2), bool)) & (y > 4) & (z < 12) & (np.abs(x) < 80)
    where |= where[::-1]
    fade = np.clip(ndimage.distance_transform_edt(where) / 4, 0, 1)  # from one mean to the other, voxels of 1 mm
    return fade * work.fine_image(where) + (1 - fade) * doubled(work.whole_image(start.values[1] < 0.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, help="folder of the training cache")
    parser.add_argument("bids_dir", type=Path, help="the dataset, whose participants.tsv has split and *_in_fov")
    parser.add_argument("work", type=Path, help="displacements are kept here; they describe single heads")
    parser.add_argument("--out", type=Path, default=Path(str(files("bids_refacer") / "data")))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    names = whole_faces(options.bids_dir, options.heads)
    done = Finished(mean_image(Work(names, options.heads, options.work, options.bids_dir)))
    for (name, array), spacing in zip(stored(done.image, done.skin_mm).items(), (1, 4), strict=True):
        write_volume(options.out / name, Volume(array, CANONICAL[spacing].affine), array.dtype)
        print(f"{name}: {nib.load(options.out / name).shape}, {(options.out / name).stat().st_size / 1e6:.1f} MB")
    print(f"{len(names)} heads and their mirror images")


if __name__ == "__main__":
    main()
