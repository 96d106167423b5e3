"""How an image was acquired, of what its sidecars say: the fields that identify nobody, and no others.

The list below is the one place that decides. Not on it, and so never kept: names, dates and times, serial numbers,
stations, institutions and their addresses, UIDs, comments, and texts that a site writes (protocol, series, sequence and
coil names), nor the imaging frequency, whose digits tell one scanner and day from another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from bids_refacer.dataset.details import Json
from bids_refacer.dataset.images import HeadImage

NUMBERS = frozenset(
    "MagneticFieldStrength EchoTime EchoTime1 EchoTime2 RepetitionTime RepetitionTimeExcitation "
    "RepetitionTimePreparation InversionTime FlipAngle EchoTrainLength PixelBandwidth NumberOfAverages NumberShots "
    "SliceThickness SpacingBetweenSlices PercentPhaseFOV PercentSampling PhaseOversampling AcquisitionMatrixPE "
    "PartialFourier ParallelReductionFactorInPlane ParallelReductionFactorOutOfPlane "
    "MultibandAccelerationFactor MTState MTOffsetFrequency MTPulseDuration "
    "SpoilingState SpoilingRFPhaseIncrement SpoilingGradientMoment NonlinearGradientCorrection".split()
)
"""Fields that are numbers, true or false, or short lists of these."""
WORDS = frozenset(
    "Manufacturer ManufacturersModelName MRAcquisitionType ScanningSequence SequenceVariant PartialFourierDirection "
    "ParallelAcquisitionTechnique SpoilingType MTPulseShape PhaseEncodingDirection SliceEncodingDirection".split()
)
"""Fields that are a word or two of the vendor's or the standard's."""
_MOST = 8  # numbers in a list
_WORDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,_()+/-]{0,63}")


def acquisition_of(image: HeadImage) -> Json:
    """The fields of `NUMBERS` and `WORDS` that the sidecars of an image have, in the order of their names.

    Sidecars further up in the dataset hold for all images whose names have their entities and suffix; the nearer one
    counts. One that cannot be read has no fields.
    """
    found: dict[str, object] = {}
    for path in _sidecars(image):
        found |= _read(path)
    kept = {name: value for name, value in found.items() if _may_be_kept(name, value)}
    return dict(sorted(kept.items()))


def _sidecars(image: HeadImage) -> Iterator[Path]:
    """From the root of the dataset down to the image's own folder; of one folder, the most specific last."""
    folders = list(image.path.parents[: len(Path(image.bids_path).parts)])
    for folder in reversed(folders):
        applying = [path for path in folder.glob(f"*{image.suffix}.json") if _applies(path, image)]
        yield from sorted(applying, key=lambda path: path.name.count("-"))


def _applies(sidecar: Path, image: HeadImage) -> bool:
    *parts, suffix = sidecar.name.removesuffix(".json").split("_")
    entities = dict(part.partition("-")[::2] for part in parts)
    return suffix == image.suffix and entities.items() <= image.entities.items()


def _read(path: Path) -> Json:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _may_be_kept(name: str, value: object) -> bool:
    if name in WORDS:
        return isinstance(value, str) and bool(_WORDS.fullmatch(value))
    values = value if isinstance(value, list) and len(value) <= _MOST else [value]
    return name in NUMBERS and all(isinstance(one, int | float) for one in values)
