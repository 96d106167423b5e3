"""The one place that takes the name of an image apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath

from bids_refacer.dataset.errors import DatasetError

EXTENSIONS = (".nii.gz", ".nii")

NO_HEAD = ("defacemask", "mask", "dseg", "probseg")
"""Suffixes of images that lie beside those of heads and show none."""

BIDS_SUFFIXES = frozenset(
    "T1w T2w T2starw FLAIR PDw PDT2 PD FLASH T2star inplaneT1 inplaneT2 angio T1map T2map T2starmap R1map R2map "
    "R2starmap PDmap MTRmap MTsat UNIT1 T1rho MWFmap MTVmap Chimap M0map S0map VFA IRT1 MP2RAGE MESE MEGRE MPM MTR "
    "MTS".split()
)
"""Suffixes of anatomical images in the BIDS schema (rules.files.raw.anat)."""


@dataclass(frozen=True, kw_only=True)
class ImageKey:
    """What the name of an image says.

    `participant` and `session` are labels without ``sub-`` and ``ses-``; `suffix` is ``T1w`` and the like; `entities`
    are all that stand before it, by short names, in their order and with their padding (``{"sub": "01", "run":
    "01"}``). `ending` is what follows the suffix, which BIDS does not allow (``_dup-01`` of ``sub-01_T1w_dup-01``).
    """

    entities: dict[str, str] = field(hash=False)
    participant: str
    session: str | None
    suffix: str
    ending: str = ""

    @classmethod
    def of(cls, image: str | PurePath) -> ImageKey:
        """Parse a file name or a path, such as ``sub-01/anat/sub-01_T1w.nii.gz``; parts without ``-`` are passed over.

        Raises
        ------
        DatasetError
            When the name has no participant.
        """
        pairs, suffix, ending = split_name(without_extension(PurePath(image).name))
        entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
        if "sub" not in entities:
            raise DatasetError(f"The image {image} is of no participant: begin its name with sub-LABEL_.")
        participant, session = entities["sub"], entities.get("ses")
        return cls(entities=entities, participant=participant, session=session, suffix=suffix, ending=ending)


def split_name(stem: str) -> tuple[list[str], str, str]:
    """The parts of a name before its suffix, the suffix, and what follows it (with its ``_``; empty as a rule).

    The suffix is the first part that BIDS has as one, else the first part that is no entity, else the last part: what
    converters add to a name (``_ND``, ``__dup-01``, ``_Crop_1``) says nothing of what kind of image it is.
    """
    parts = stem.split("_")
    known = [place for place, part in enumerate(parts) if part in BIDS_SUFFIXES]
    no_entity = [place for place, part in enumerate(parts) if part and "-" not in part]
    place = next(iter(known or no_entity), len(parts) - 1)
    return parts[:place], parts[place], "".join(f"_{part}" for part in parts[place + 1 :])


def without_extension(image: str) -> str:
    """A file name or a path without ``.nii.gz`` or ``.nii``; other extensions stay."""
    return next((image.removesuffix(end) for end in EXTENSIONS if image.endswith(end)), image)


def suffix_of(image: str) -> str:
    """``T1w`` of ``sub-01/anat/sub-01_T1w.nii.gz``, whatever else the name says."""
    return split_name(without_extension(PurePath(image).name))[1]
