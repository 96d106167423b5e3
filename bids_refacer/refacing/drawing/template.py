"""The head that is warped: a sharp, symmetric average of training heads (`benchmarks/make_template.py`)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np

from bids_refacer.refacing.conditioning import doubled
from bids_refacer.refacing.drawing.displacement import halved
from bids_refacer.refacing.fields import SKIN_UNIT_MM, Fields, skin_field, tissue_field
from bids_refacer.volumes.intensity import CLIP
from bids_refacer.volumes.templates import asset

SPACING = 1
IMAGE, SKIN = "face_template.nii.gz", "face_template_skin.nii.gz"
_IMAGE_UNIT = 100.0  # the image is stored in hundredths of its brain's median
_SKIN_UNIT = 100.0  # the distance in hundredths of a millimetre


@dataclass(frozen=True)
class Template:
    """An average head in the canonical frame.

    Attributes
    ----------
    image : (192, 256, 256) float32, 0 to 1, on the 1 mm grid: intensity in units of CLIP brain medians
    skin_mm : (48, 64, 64) float32, signed distance to its skin, positive outside, on the grid of the fields
    """

    image: np.ndarray
    skin_mm: np.ndarray

    @cached_property
    def images(self) -> dict[int, np.ndarray]:
        """The image at 1, 2 and 4 mm, by spacing."""
        two = halved(self.image).astype(np.float32)
        return {1: self.image, 2: two, 4: halved(two).astype(np.float32)}

    @cached_property
    def fields(self) -> Fields:
        """Its fields, as those of any head."""
        skin = skin_field(self.skin_mm)
        return Fields(skin, tissue_field(self.images[4] * 2 - 1, skin, np.ones(skin.shape, bool)))

    @cached_property
    def skins(self) -> dict[int, np.ndarray]:
        """The skin field at 2 and 4 mm, by spacing."""
        return {2: doubled(self.fields.skin), 4: self.fields.skin}


@cache
def face_template() -> Template:
    """The template that is shipped with the package."""
    image = asset(IMAGE).values.astype(np.float32) / np.float32(_IMAGE_UNIT * CLIP)
    return Template(image, asset(SKIN).values.astype(np.float32) / np.float32(_SKIN_UNIT))


@cache
def template_digests() -> dict[str, str]:
    """File name -> SHA-256 of what the shipped template is read from."""
    folder = files("bids_refacer") / "data"
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (IMAGE, SKIN)}


def stored(image: np.ndarray, skin_mm: np.ndarray) -> dict[str, np.ndarray]:
    """File name -> array to be written, for an image (0 to 1) and a distance as in `Template`."""
    reach = 2 * SKIN_UNIT_MM
    return {
        IMAGE: np.round(image * (_IMAGE_UNIT * CLIP)).clip(0, 255).astype(np.uint8),
        SKIN: np.round(np.clip(skin_mm, -reach, reach) * _SKIN_UNIT).astype(np.int16),
    }
