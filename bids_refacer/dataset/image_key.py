"""The one place that takes the name of an image apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath

from bids_refacer.dataset.errors import DatasetError

EXTENSIONS = (".nii.gz", ".nii")


@dataclass(frozen=True, kw_only=True)
class ImageKey:
    """What the name of an image says.

    `participant` and `session` are labels without ``sub-`` and ``ses-``; `suffix` is ``T1w`` and the like; `entities`
    are all of the name's, by short names, in their order and with their padding (``{"sub": "01", "run": "01"}``).
    """

    entities: dict[str, str] = field(hash=False)
    participant: str
    session: str | None
    suffix: str

    @classmethod
    def of(cls, image: str | PurePath) -> ImageKey:
        """Parse a file name or a path, such as ``sub-01/anat/sub-01_T1w.nii.gz``; parts without ``-`` are passed over.

        Raises
        ------
        DatasetError
            When the name has no participant.
        """
        *pairs, suffix = without_extension(PurePath(image).name).split("_")
        entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
        if "sub" not in entities:
            raise DatasetError(f"The image {image} is of no participant: begin its name with sub-LABEL_.")
        return cls(entities=entities, participant=entities["sub"], session=entities.get("ses"), suffix=suffix)


def without_extension(image: str) -> str:
    """A file name or a path without ``.nii.gz`` or ``.nii``; other extensions stay."""
    return next((image.removesuffix(end) for end in EXTENSIONS if image.endswith(end)), image)


def suffix_of(image: str) -> str:
    """``T1w`` of ``sub-01/anat/sub-01_T1w.nii.gz``, whatever else the name says."""
    return without_extension(image).rsplit("_", 1)[-1]
