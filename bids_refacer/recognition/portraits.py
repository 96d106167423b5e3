"""A head drawn by every camera and light, and described by every recogniser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_refacer.recognition.descriptors import detected, mean_descriptor, similarity
from bids_refacer.recognition.recognisers import Recogniser
from bids_refacer.recognition.render import Surface, render


def describe_head(
    head: Surface, lights: Sequence[str], views: int, recognisers: Sequence[Recogniser]
) -> dict[str, np.ndarray]:
    """Recogniser -> (lights, views, d) float32, NaN in views in which it finds no face."""
    pictures = np.concatenate([render(head, views, light) for light in lights])
    described = {one.name: one.describe(pictures) for one in recognisers}
    return {name: values.reshape(len(lights), views, -1) for name, values in described.items()}


def figures(views: np.ndarray, own: np.ndarray) -> list[dict[str, str | int | float | None]]:
    """How alike a head is to its own original, by the means of the views first and then view by view.

    Parameters
    ----------
    views : (views, d) float, of the head that is looked up
    own : (views, d) float, of the original under another light

    Returns
    -------
    list of dict, with the columns of `RecognitionRow` that say so
    """
    found = detected(views)
    mean = similarity(mean_descriptor(views), mean_descriptor(own))
    rows: list[dict[str, str | int | float | None]] = [
        {"view": "mean", "n_views": len(views), "n_detected": int(found.sum()), "similarity": _known(mean)}
    ]
    for number, (one, other) in enumerate(zip(views, own, strict=True), start=1):
        alike = _known(similarity(one, other))
        rows.append({"view": str(number), "n_views": 1, "n_detected": int(found[number - 1]), "similarity": alike})
    return rows


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
