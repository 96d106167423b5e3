"""The head of an image as a surface in the canonical frame: what recognition draws."""

from __future__ import annotations

import numpy as np

from bids_refacer.recognition.render import Surface
from bids_refacer.surfaces.skin import skin_level, skin_surface
from bids_refacer.volumes.grid import CANONICAL, Alignment, Volume

SPACING_MM = 2  # of the grid that skins are cut on: the same for images of all resolutions


def head_level(image: Volume, alignment: Alignment) -> np.ndarray:
    """Intensity of the skin of an original, on the canonical grid; SkinError as `surfaces.skin.skin_level`."""
    return skin_level(_canonical(image, alignment))


def head_surface(image: Volume, alignment: Alignment, level: np.ndarray) -> Surface:
    """The skin of an image.

    Parameters
    ----------
    image : original, defaced or refaced
    alignment : of the original; its rigid part alone is used
    level : `head_level` of the original: all images of a head are cut at the same intensity

    Raises
    ------
    SkinError
        When there is none.
    """
    mesh = skin_surface(_canonical(image, alignment), level)
    return Surface(np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces))


def _canonical(image: Volume, alignment: Alignment) -> Volume:
    return Volume(alignment.to_canonical(image, SPACING_MM), CANONICAL[SPACING_MM].affine)
