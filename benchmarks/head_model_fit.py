"""Mean, modes and spread of registered heads: the numbers of the head model, for `make_head_model`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.head_registration import REACH_MM, carried, channels_of
from bids_refacer.refacing.fields import SKIN_UNIT_MM, tissue_field
from bids_refacer.simulation.model import HeadModel
from bids_refacer.training.data.heads import load_head
from bids_refacer.volumes.grid import CANONICAL, resample
from bids_refacer.volumes.intensity import CLIP
from bids_refacer.volumes.templates import pydeface_keep_mask

MODES = 50
ROUNDS = 4  # of filling what a field of view does not show
INSIDE = -2.0 / REACH_MM  # deeper than 2 mm under the skin there is no air in a voxel
LEAST_HEADS = 10  # that must show a voxel
SUPPORT_MM = 24.0  # shape is modelled to this distance from the skin
EYES = np.array([[-32.0, 80.0, -34.0], [32.0, 80.0, -34.0]])  # in the average head, mm: where eyes are looked for
EYE_REACH, EYE_LEVELS = 14.0, (0.06, 0.26)  # mm; T1w intensity of the vitreous, of CLIP brain medians
MUSCLE_LEVELS, FAT_LEVELS = (0.3, 0.72), (0.72, 2.6)  # brain medians; far from the coil fat is darker than the brain
NECK_MM = -138.0  # the head ends there: most fields of view do
FACE_FLOOR, FACE_BACK = -48.0, 36.0  # facial tissue that all tools remove lies below the eyes, before the ears (mm)


def fit_model(
    heads: Sequence[Path], displacements: Sequence[Path], covariates: np.ndarray, start: np.ndarray
) -> HeadModel:
    """The head model.

    Parameters
    ----------
    heads : n files of the training cache
    displacements : n files, (3, 48, 64, 64) mm, from the average to each head
    covariates : (n, 2) float, age and male
    start : (3, 96, 128, 128), channels of the average that heads were registered to
    """
    where = start[1] < 0.8
    values, seen, means = _carried_heads(heads, displacements, where, start)
    skin, brain = means
    skin = np.maximum(skin, np.clip((NECK_MM - _axes()[2]) / REACH_MM, -1, 1)).astype(np.float32)
    inside = skin[where] < INSIDE
    known = seen & inside
    count = known.sum(0)
    tissue = np.where(count >= LEAST_HEADS, (values * known).sum(0, dtype=np.float32) / np.maximum(count, 1), 0)
    whole = np.zeros(where.shape, np.float32)
    whole[where] = np.clip(tissue / 255, 0, 1)
    shape, support = _shapes(displacements, skin)
    rest, coarse, coarse_seen = _coarse_tissue(values, known, whole, where)
    parts = [_Part(shape.reshape(len(shape), -1), _shape_seen(seen, where, support)), _Part(rest, coarse_seen)]
    directions = _principal(parts)
    modes = [part.modes(directions) for part in parts]
    texture = _texture(values, known, whole, where, directions, modes[1], coarse)
    shape_mean = _every_shape_mean(displacements)
    shape_mean[:, support] = parts[0].mean.reshape(3, -1)
    scores = directions * np.sqrt(len(directions))
    slopes, root, mean, std = _regression(scores, covariates)
    extended = (tissue_field(whole * 2 - 1, skin * REACH_MM / SKIN_UNIT_MM, np.ones_like(where)) + 1) / 2
    muscle, fat = _facial_tissue(extended, skin)
    tissue_modes = modes[1].astype(np.float32)
    return HeadModel(
        tissue_mean=extended,
        tissue_modes=tissue_modes,
        tissue_support=coarse,
        texture=texture,
        skin_mm=_halved(skin) * REACH_MM,
        brain_mm=_halved(brain) * REACH_MM,
        muscle=muscle,
        fat=fat,
        eyes=_eyes(extended),
        shape_mean=shape_mean,
        shape_modes=modes[0].reshape(MODES, 3, -1),
        shape_support=support,
        slopes=slopes,
        covariance_root=root,
        covariate_mean=mean,
        covariate_std=std,
    )


def _carried_heads(
    heads: Sequence[Path], displacements: Sequence[Path], where: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, p) uint8 intensities and (n, p) bool of all heads in the average's frame, mean skin and brain distance."""
    values, seen = np.zeros((len(heads), where.sum()), np.uint8), np.zeros((len(heads), where.sum()), bool)
    total, count = np.zeros((2, where.sum()), np.float32), np.full(where.sum(), 1e-3, np.float32)
    for number, (path, moved) in enumerate(zip(heads, displacements, strict=True)):
        channels = channels_of(load_head(path), 2)
        everything = np.concatenate([channels.values, channels.seen[None]])
        found = carried(everything, np.load(moved).astype(np.float32), where)
        values[number], seen[number] = np.rint(found[0] * 255), found[3] > 0.9
        total += found[1:3] * seen[number]
        count += seen[number]
        print(f"carried {number + 1} of {len(heads)}", flush=True)
    means = start[1:].copy()
    means[:, where] = np.where(count >= 1, total / count, means[:, where])
    return values, seen, means


def _shapes(displacements: Sequence[Path], skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, v) mm at the voxels of the (24, 32, 32) support."""
    near = ndimage.distance_transform_edt(_halved(_halved(skin)) > 0, sampling=8.0) < SUPPORT_MM
    return np.stack([_coarse(path)[:, near] for path in displacements]), near


def _coarse(path: Path) -> np.ndarray:
    return np.stack([_halved(u) for u in np.load(path).astype(np.float32)])


def _every_shape_mean(displacements: Sequence[Path]) -> np.ndarray:
    return np.mean([_coarse(path) for path in displacements], axis=0)


def _shape_seen(seen: np.ndarray, where: np.ndarray, support: np.ndarray) -> np.ndarray:
    """(n, 3 v) bool: displacements are known where most of a voxel is, and far from the skin."""
    found = []
    for head in seen:
        whole = np.ones(where.shape, np.float32)
        whole[where] = head
        found.append(np.tile(_halved(_halved(whole))[support] > 0.5, 3))
    return np.stack(found)


def _coarse_tissue(
    values: np.ndarray, known: np.ndarray, whole: np.ndarray, where: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deviations from the mean at 4 mm, (n, v); their support, (48, 64, 64); whether they are known, (n, v)."""
    shares = np.zeros(where.shape, np.float32)
    shares[where] = known.mean(0)
    support = _halved(shares) > 0.3
    rest, seen = [], []
    for head, there in zip(values, known, strict=True):
        share, deviation = np.zeros((2, *where.shape), np.float32)
        share[where] = there
        deviation[where] = (head / np.float32(255) - whole[where]) * there
        weight = _halved(share)[support]
        rest.append(_halved(deviation)[support] / np.maximum(weight, 1e-3))
        seen.append(weight > 0.2)
    return np.stack(rest), support, np.stack(seen)


class _Part:
    """One block of numbers, (n, v), of which some are not seen; centred, and filled in by the common modes."""

    def __init__(self, values: np.ndarray, seen: np.ndarray) -> None:
        self.seen = seen | ~seen.any(0)  # what no head shows is taken as registration left it
        seen = self.seen
        self.mean = (values * seen).sum(0) / np.maximum(seen.sum(0), 1)
        self.values = np.where(seen, values - self.mean, 0).astype(np.float32)

    def gram(self) -> np.ndarray:
        centred = self.values - self.values.mean(0)
        product = (centred @ centred.T).astype(np.float64)
        return product / np.trace(product)

    def fill(self, directions: np.ndarray) -> None:
        centre = self.values.mean(0)
        fitted = directions @ (directions.T @ (self.values - centre)) + centre
        self.values = np.where(self.seen, self.values, fitted)

    def modes(self, directions: np.ndarray) -> np.ndarray:
        centre = self.values.mean(0)
        self.mean = self.mean + centre
        self.values = self.values - centre
        return directions.T @ self.values / np.sqrt(len(self.values))


def _principal(parts: list[_Part]) -> np.ndarray:
    """(n, MODES) common principal directions; each block has the same total variance."""
    for turn in range(ROUNDS + 1):
        directions = np.linalg.eigh(sum(part.gram() for part in parts))[1][:, ::-1][:, :MODES].astype(np.float32)
        if turn < ROUNDS:
            for part in parts:
                part.fill(directions)
    for name, part in zip(("shape", "tissue"), parts, strict=True):
        kept = np.trace(directions.T @ part.gram() @ directions)
        print(f"{MODES} modes hold {kept:.0%} of the variance of {name}")
    return directions


def _texture(
    values: np.ndarray,
    known: np.ndarray,
    whole: np.ndarray,
    where: np.ndarray,
    directions: np.ndarray,
    modes: np.ndarray,
    support: np.ndarray,
) -> np.ndarray:
    """(48, 64, 64) standard deviation of what mean and modes leave at 2 mm."""
    total, count = np.zeros((2, where.sum()), np.float32)
    scores = directions * np.sqrt(len(directions))
    for head, there, score in zip(values, known, scores, strict=True):
        part = np.zeros(support.shape, np.float32)
        part[support] = score @ modes
        expected = whole + ndimage.zoom(part, 2, order=1, grid_mode=True, mode="nearest")
        total += (head / np.float32(255) - expected[where]) ** 2 * there
        count += there
    spread = np.zeros(where.shape, np.float32)
    spread[where] = np.sqrt(total / np.maximum(count, 1))
    return _halved(spread)


def _regression(scores: np.ndarray, covariates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Slopes on standardised covariates, root of the covariance beyond them, mean and spread of the covariates."""
    mean, std = covariates.mean(0), covariates.std(0)
    design = (covariates - mean) / std
    slopes = np.linalg.lstsq(design, scores, rcond=None)[0]
    rest = scores - design @ slopes
    covariance = rest.T @ rest / len(rest) + 1e-4 * np.eye(rest.shape[1])
    return slopes.T.astype(np.float32), np.linalg.cholesky(covariance).astype(np.float32), mean, std


def _eyes(tissue: np.ndarray) -> np.ndarray:
    """(48, 64, 64): fluid near where eyes are."""
    grid = CANONICAL[2]
    world = np.moveaxis(np.indices(grid.shape), 0, -1) * 2.0 + grid.affine[:3, 3]
    near = np.min([np.linalg.norm(world - eye, axis=-1) for eye in EYES], axis=0) < EYE_REACH
    tissue = (tissue + tissue[::-1]) / 2  # both alike
    fluid = near & (tissue > EYE_LEVELS[0]) & (tissue < EYE_LEVELS[1])
    return _halved(ndimage.binary_opening(fluid, iterations=1).astype(np.float32))


def _facial_tissue(tissue: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(48, 64, 64) muscle and fat, 0..1, well inside the part of the face that is removed by every tool."""
    zone = resample(pydeface_keep_mask(), CANONICAL[2], order=1, cval=1.0) < 0.5
    depth = np.clip((ndimage.distance_transform_edt(zone & zone[::-1], sampling=2.0) - 8) / 8, 0, 1)
    _, y, z = _axes()
    depth *= np.clip((y - FACE_BACK) / 8, 0, 1)[:, None] * np.clip((FACE_FLOOR - z) / 8, 0, 1)
    depth *= np.clip(skin / INSIDE, 0, 1)
    medians = tissue * CLIP
    return tuple(  # type: ignore[return-value]
        _halved(depth * ((medians > low) & (medians < high))).astype(np.float32)
        for low, high in (MUSCLE_LEVELS, FAT_LEVELS)
    )


def _axes() -> list[np.ndarray]:
    """x, y and z (mm) of the voxels of the 2 mm grid."""
    grid = CANONICAL[2]
    return [np.arange(n) * 2.0 + start for n, start in zip(grid.shape, grid.affine[:3, 3], strict=True)]


def _halved(values: np.ndarray) -> np.ndarray:
    i, j, k = (side // 2 for side in values.shape)
    return values.reshape(i, 2, j, 2, k, 2).mean(axis=(1, 3, 5))
