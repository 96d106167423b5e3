"""Descriptors of a head: a vector for each recogniser, light and view; their mean, how alike two are, and their file.

They are biometric data: whoever has them can look a person up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bids_refacer.volumes.versioned import Shapes, read_versioned, write_versioned

VERSION = 1
"""Of cameras, lights and files: descriptors of different versions must not be compared."""
LIGHTS = {"original": ("gallery", "probe"), "other": ("probe",)}
"""Lights (`render.LIGHTS`) of originals, which are in the gallery and are looked up, and of all other images."""

Descriptors = Mapping[str, np.ndarray]
"""Recogniser -> (lights, views, d) float32; NaN in views in which no face was found."""


def write_descriptors(path: Path, descriptors: Descriptors) -> None:
    """Write the descriptors of one image as ``.npz``; the same descriptors give the same bytes."""
    write_versioned(path, VERSION, **{f"of_{name}": values for name, values in descriptors.items()})


def read_descriptors(path: Path, recognisers: Sequence[str]) -> dict[str, np.ndarray]:
    """Read those of some recognisers.

    Raises
    ------
    ImageError
        When the file cannot be read, lacks a recogniser, or holds descriptors of another version.
    """
    shapes: Shapes = {f"of_{name}": ((None, None, None), "f") for name in recognisers}
    content = read_versioned(path, VERSION, "descriptors", shapes)
    return {name: content[f"of_{name}"].astype(np.float32) for name in recognisers}


def detected(views: np.ndarray) -> np.ndarray:
    """Whether a face was found in each view: (..., d) -> (...) bool."""
    return ~np.isnan(views).any(axis=-1)


def mean_descriptor(views: np.ndarray) -> np.ndarray:
    """The mean direction of the views with a face.

    Parameters
    ----------
    views : (views, d) float

    Returns
    -------
    (d,) float32, of length 1; NaN where no view has a face
    """
    known = views[detected(views)]
    lengths = np.linalg.norm(known, axis=1, keepdims=True)
    total = (known / np.maximum(lengths, 1e-12)).sum(axis=0)
    length = np.linalg.norm(total)
    if not len(known) or length == 0:
        return np.full(views.shape[1], np.nan, dtype=np.float32)
    return np.asarray(total / length, dtype=np.float32)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of the angle between two descriptors, -1 to 1; NaN where one of them is."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float("nan") if lengths == 0 else float(one.astype(np.float64) @ other.astype(np.float64)) / lengths
