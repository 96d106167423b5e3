"""The statistical head model: an average head, its principal modes, and how they go with age and sex.

A head is the average head carried by a smooth displacement. Displacement and tissue vary together:
``displacement = shape_mean + shape_modes . z``, ``tissue = tissue_mean + tissue_modes . z``, where the scores
``z ~ N(slopes . covariates, covariance)`` have unit variance over the heads that the model was made from.
`benchmarks/make_head_model.py` makes it; what it holds are sums over all of those heads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

ASSET = "head_model.safetensors"
COARSE = (24, 32, 32)
"""Shape of the 8 mm grid of the displacements: 2x2x2 voxels of the canonical 4 mm grid."""


@dataclass(frozen=True)
class HeadModel:
    """Arrays of the model; grids are canonical (`volumes.grid.CANONICAL`), intensities in units of CLIP brain medians.

    Attributes
    ----------
    tissue_mean : (96, 128, 128) float32, 0..1, carried on beyond the skin
    tissue_modes : (m, n4) float32, at the voxels of `tissue_support`
    tissue_support : (48, 64, 64) bool
    texture : (48, 64, 64) float32, standard deviation of what the modes leave unexplained at 2 mm
    skin_mm : (48, 64, 64) float32, signed distance to the average skin, positive outside
    brain_mm : (48, 64, 64) float32, to the border of the average brain
    muscle, fat, eyes : (48, 64, 64) float32, 0..1: how much of a voxel is facial muscle, facial fat (of the part of
        the face that every defacing tool removes), vitreous of the eye
    shape_mean : (3, 24, 32, 32) float32, mm
    shape_modes : (m, 3, n8) float32, mm, at the voxels of `shape_support`
    shape_support : (24, 32, 32) bool
    slopes : (m, 2) float32, change of the scores with standardised (age, sex)
    covariance_root : (m, m) float32, L with covariance L L' of the scores beyond age and sex
    covariate_mean, covariate_std : (2,) float32, of age in years and of sex (male 1, female 0)
    """

    tissue_mean: np.ndarray
    tissue_modes: np.ndarray
    tissue_support: np.ndarray
    texture: np.ndarray
    skin_mm: np.ndarray
    brain_mm: np.ndarray
    muscle: np.ndarray
    fat: np.ndarray
    eyes: np.ndarray
    shape_mean: np.ndarray
    shape_modes: np.ndarray
    shape_support: np.ndarray
    slopes: np.ndarray
    covariance_root: np.ndarray
    covariate_mean: np.ndarray
    covariate_std: np.ndarray

    @property
    def modes(self) -> int:
        """Number of principal modes."""
        return len(self.slopes)


_BYTES = {"tissue_mean": 255.0, "muscle": 255.0, "fat": 255.0, "eyes": 255.0}  # 0..1 in so many steps
_SIGNED = ("tissue_modes",)  # 8 bits a voxel, a scale for each mode


def save_model(path: Path, model: HeadModel) -> None:
    """Write a model as safetensors: 8-bit tissue, packed masks, float16 otherwise."""
    stored: dict[str, np.ndarray] = {}
    for item in fields(HeadModel):
        values = getattr(model, item.name)
        if item.name in _BYTES:
            stored[item.name] = np.rint(np.clip(values, 0, 1) * _BYTES[item.name]).astype(np.uint8)
        elif item.name in _SIGNED:
            scale = np.abs(values).max(axis=1, keepdims=True) / 127
            stored[item.name] = np.rint(values / scale).astype(np.int8)
            stored[f"{item.name}.scale"] = scale.astype(np.float32)
        elif values.dtype == bool:
            stored[item.name] = np.packbits(values)
        else:
            stored[item.name] = values.astype(np.float16)
    save_file({name: np.ascontiguousarray(values) for name, values in stored.items()}, path)


def read_model(path: Path) -> HeadModel:
    """Read what `save_model` wrote."""
    stored = load_file(path)
    shapes = {"tissue_support": stored["skin_mm"].shape, "shape_support": COARSE}
    values: dict[str, np.ndarray] = {}
    for item in fields(HeadModel):
        found = stored[item.name]
        if item.name in shapes:
            shape = shapes[item.name]
            values[item.name] = np.unpackbits(found, count=int(np.prod(shape))).astype(bool).reshape(shape)
            continue
        values[item.name] = found.astype(np.float32)
        if item.name in _BYTES:
            values[item.name] /= _BYTES[item.name]
        elif item.name in _SIGNED:
            values[item.name] *= stored[f"{item.name}.scale"]
    return HeadModel(**values)


@cache
def head_model() -> HeadModel:
    """The model that is shipped with the package."""
    with as_file(files("bids_refacer") / "data" / ASSET) as path:
        return read_model(path)
