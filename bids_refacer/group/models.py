"""The models of phenotypes on the voxels of a region, and what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from bids_refacer.diffusion.device import choose_device
from bids_refacer.group.phenotype_tables import PhenotypeError
from bids_refacer.phenotypes.cross_validation import OUTER
from bids_refacer.phenotypes.models import MODELS, Learner, Linear, linear_kernel
from bids_refacer.phenotypes.voxels import roi, to_lattice
from bids_refacer.settings import RunSettings

CNN = "cnn"


def model_names(settings: RunSettings) -> tuple[str, ...]:
    """Values of the column `model`, in order: two linear ones, and the network where it was asked for."""
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
    voxels : (n, v) uint8, as of `sample_voxels`
    region : of `facial_voxels.ROIS`
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
