"""The published networks that come with this package: found, verified, read. No pickles.

`benchmarks/make_recognisers.py` makes the files; NOTICE says whose they are and under which licences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from bids_refacer.problems import AuditProblem

FOLDER = Path(__file__).parents[1] / "data" / "recognition"
SHA256 = {
    "dlib": "7236dd34110025d71b5512281d3c1b086b770869c1f653caea0eafbdf35edce4",
    "sface": "60835e740c84b06b6cd75edf58292390097a7e579481e836217234e4e0d29732",
}
"""Recogniser -> SHA-256 of its file."""


class RecogniserError(AuditProblem):
    """A recogniser cannot be used: one sentence with what is wrong and what to do."""


def read_weights(name: str, folder: Path = FOLDER) -> dict[str, np.ndarray]:
    """Arrays of a recogniser (a key of `SHA256`), by their names.

    Raises
    ------
    RecogniserError
        When the file is missing, cannot be read, or is not the one that was published.
    """
    path = folder / f"{name}.safetensors"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecogniserError(
            f"{path} cannot be read ({error.strerror}): install bids_refacer again, or give --no-recognition."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise RecogniserError(
            f"{path} is not the file that was published (SHA-256 {found[:12]}..., expected {SHA256[name][:12]}...): "
            "install bids_refacer again, or give --no-recognition."
        )
    try:
        return dict(load(content))
    except SafetensorError as error:
        raise RecogniserError(f"{path} is no weight file ({error}): install bids_refacer again.") from error


def dequantised(arrays: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    """A parameter as float32; whole numbers are scaled block by block along the last axis of their matrix."""
    values = arrays[key]
    if f"{key}.scale" not in arrays:
        return values.astype(np.float32)
    scale, block = arrays[f"{key}.scale"], int(arrays[f"{key}.block"][0])
    flat = values.reshape(*scale.shape[:-1], -1).astype(np.float32)

    def spread(parts: np.ndarray) -> np.ndarray:
        return np.repeat(parts, block, axis=-1)[..., : flat.shape[-1]]

    zero = arrays.get(f"{key}.zero")
    centred = flat if zero is None else flat - spread(zero.astype(np.float32))
    return np.asarray((centred * spread(scale)).reshape(values.shape), dtype=np.float32)
