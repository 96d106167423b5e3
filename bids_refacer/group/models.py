"""What phenotypes are predicted from, the facial voxels of a group, and the models that learn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bids_refacer.diffusion.device import choose_device
from bids_refacer.group.faces import names_of
from bids_refacer.group.outputs import SUBJECT, ParticipantOutputs
from bids_refacer.group.phenotype_tables import PhenotypeError
from bids_refacer.phenotypes.cross_validation import OUTER
from bids_refacer.phenotypes.models import MODELS, Learner, Linear, linear_kernel
from bids_refacer.phenotypes.voxels import read_voxels, roi, to_lattice
from bids_refacer.settings import RunSettings
from bids_refacer.volumes.image_file import ImageError

CNN = "cnn"


class ImageKind(NamedTuple):
    """Tool, or None for the original, and type of image."""

    tool: str | None
    image_type: str


ORIGINAL = ImageKind(None, "original")
IMAGE_TYPES = ("defaced", "average", "refaced", "refaced_mean")
Paths = dict[str, list[Path]]
"""Participant -> one file for each of its images."""


def voxel_paths(outputs: ParticipantOutputs, reasons: pd.DataFrame, suffix: str) -> dict[ImageKind, Paths]:
    """Files of facial voxels of images with one suffix, the original first.

    What a tool made of an image whose defacing failed (`group.cohorts.gate`) is left out: a face that was left, or a
    brain that was cut, says nothing about what is lost when the tool works.
    """
    rows = outputs.distances[outputs.distances["suffix"] == suffix][SUBJECT].drop_duplicates().astype(str)
    rows = rows.merge(reasons[[*SUBJECT, "reason"]], on=SUBJECT, how="left").sort_values(SUBJECT)
    paths: dict[ImageKind, Paths] = {ORIGINAL: {}}
    seen = set()
    for participant, image, tool, reason in rows[[*SUBJECT, "reason"]].itertuples(index=False):
        originals = [] if image in seen else [ORIGINAL]
        seen.add(image)
        for kind in originals + [ImageKind(tool, name) for name in IMAGE_TYPES if not reason]:
            path = _voxel_path(outputs, image, kind)
            if path is not None:
                paths.setdefault(kind, {}).setdefault(participant, []).append(path)
    return {kind: paths[kind] for kind in sorted(paths, key=_order)}


def _voxel_path(outputs: ParticipantOutputs, image: str, kind: ImageKind) -> Path | None:
    """The first file that is there: an image is in one output, or the same in several."""
    sample = 1 if kind.image_type == "refaced" else None
    paths = (names.facial_voxels(kind.tool, kind.image_type, sample) for names in names_of(outputs, image))
    return next((path for path in paths if path.is_file()), None)


def _order(kind: ImageKind) -> tuple[str, int]:
    return kind.tool or "", IMAGE_TYPES.index(kind.image_type) if kind.tool else 0


def load_voxels(paths: Paths, say: Callable[[str], None]) -> tuple[list[str], np.ndarray]:
    """Voxels of each participant, the mean where there are several images.

    A participant with a file that cannot be read is left out, and named.

    Returns
    -------
    participants : those whose files could be read
    voxels : (participants, voxels) uint8
    """
    names, rows = [], []
    for name, files in paths.items():
        try:
            total = sum(read_voxels(path).astype(np.float32) for path in files)
        except ImageError as error:
            say(f"{error} For this type of image, {name} is left out.")
            continue
        names.append(name)
        rows.append(np.rint(total / np.float32(len(files))).astype(np.uint8))
    return names, np.stack(rows) if rows else np.zeros((0, 0), dtype=np.uint8)


def model_names(settings: RunSettings) -> tuple[str, ...]:
    """Values of the column `model`, in order: two linear models, and the network, where these were asked for."""
    linear = tuple(MODELS) if "linear" in settings.phenotype_models else ()
    return linear + ((CNN,) if CNN in settings.phenotype_models else ())


def prepare_models(settings: RunSettings) -> str | None:
    """Settle where the network is trained; a sentence on what it costs, None without one.

    Raises
    ------
    PhenotypeError
        When a GPU is required and there is none.
    """
    if CNN not in settings.phenotype_models:
        return None
    device, threads = _device(settings), settings.omp_nthreads
    if device == "cpu":
        import torch

        torch.set_num_threads(threads)
    where = f"on {threads} CPU thread{'s' if threads > 1 else ''}" if device == "cpu" else "on the GPU"
    return (
        f"The network is trained {2 * OUTER * (1 + settings.cnn_permutations)} times for each phenotype, region and "
        f"type of image, {where}: this takes long; --cnn-permutations says how often chance is tried."
    )


class RegionVoxels:
    """Voxels of a region in the forms that models learn from, each made when it is first needed.

    Parameters
    ----------
    voxels : (n, v) uint8, of `load_voxels`
    region : of `phenotypes.voxels.ROIS`
    """

    def __init__(self, voxels: np.ndarray, region: str) -> None:
        self._voxels, self._region = voxels, region

    @cached_property
    def _kernel(self) -> np.ndarray:
        return linear_kernel(self._voxels[:, roi(self._region)])

    @cached_property
    def _volumes(self) -> np.ndarray:
        return to_lattice(self._voxels, self._region)

    def learner(self, model: str, rows: Sequence[int], settings: RunSettings) -> Learner:
        """A model of `model_names` on some participants, given by their rows."""
        if model != CNN:
            return Linear(self._kernel[np.ix_(rows, rows)], MODELS[model])
        from bids_refacer.phenotypes.network import Network

        return Network(self._volumes[rows], settings.seed, _device(settings))


def _device(settings: RunSettings) -> str:
    try:
        return str(choose_device(settings.gpu))
    except ValueError as error:
        raise PhenotypeError(str(error)) from error
