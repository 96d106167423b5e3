"""What a defacing tool is to this app, and what each must hand back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from bids_refacer.defacers.removed_volumes import removed_volumes
from bids_refacer.problems import AuditProblem
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.scan import Scan, to_stored


class DefacerError(AuditProblem):
    """A defacing tool failed, or cannot be used. The message is a sentence: file, what is wrong, what to do."""


@dataclass(frozen=True, kw_only=True)
class DefaceResult:
    """A defaced image.

    ``stored`` is ``(i, j, k)`` in the dtype and scaling of the input scan, equal to it bit for bit where ``removed``
    ``(i, j, k)`` bool is False. ``removed`` covers the tool's whole region, air as well as tissue. ``details`` is the
    JSON object for the sidecar: Tool, Version, Command, Options, Registration (where there is one), FillValue,
    QualityControl. ``published`` is the mask to publish, where ``removed`` would draw the face (see `published_mask`);
    it has every changed voxel, too.
    """

    stored: np.ndarray
    removed: np.ndarray
    details: Mapping[str, object]
    published: np.ndarray | None = None

    @property
    def mask(self) -> np.ndarray:
        """The mask to publish, (i, j, k) bool."""
        return self.removed if self.published is None else self.published


@dataclass(frozen=True, kw_only=True)
class Defacer:
    """One entry of the registry.

    ``run(scan, brain_mask, alignment, work_dir)`` takes an ``(i, j, k)`` bool mask and an empty folder for temporary
    files; it raises `DefacerError`. ``missing()`` is None when the tool can run here, else a sentence that says how to
    get it. ``executable`` is the program it calls, None for Python code; ``contrasts`` are the suffixes it was made
    for; ``memory_gb`` what it takes on a 1 mm head; ``options`` what it is called with; ``known_bad`` has versions and
    what is wrong with them; ``verified`` is whether the makers of this app ran the real program, and not only a
    stand-in.
    """

    name: str
    action: Literal["removes", "replaces"]
    requirement: str
    citation: str
    version: Callable[[], str]
    missing: Callable[[], str | None]
    run: Callable[[Scan, np.ndarray, Alignment, Path], DefaceResult]
    licence: str
    executable: str | None = None
    contrasts: tuple[str, ...] = ("T1w", "T2w", "FLAIR", "PDw")
    memory_gb: float = 1.0
    options: Mapping[str, object] = field(default_factory=dict)
    known_bad: Mapping[str, str] = field(default_factory=dict)
    verified: bool = True

    def warnings(self, suffix: str) -> list[str]:
        """Sentences about this version of the tool, and about images of this suffix."""
        sentences = []
        if suffix not in self.contrasts and not (suffix == "UNIT1" and "T1w" in self.contrasts):
            made_for = ", ".join(self.contrasts)
            sentences.append(f"{self.name} is made for {made_for}, not for {suffix}: look at its results.")
        if fault := self.known_bad.get(self.version()):
            sentences.append(f"{self.name} {self.version()} is known to be bad: {fault}.")
        return sentences


def zero_region(scan: Scan, region: np.ndarray, brain_mask: np.ndarray, details: Mapping[str, object]) -> DefaceResult:
    """The result of a tool that removes: voxels of the region get the image's air (`Scan.fill`).

    Parameters
    ----------
    scan : the original
    region : (i, j, k) bool, what the tool removes
    brain_mask : (i, j, k) bool
    details : what the sidecar says beside fill value and quality control
    """
    stored = np.where(region, scan.fill, scan.stored).astype(scan.stored.dtype)
    quality = removed_volumes(scan.volume, region, brain_mask)
    details = {**details, "FillValue": scan.fill_value, "QualityControl": quality}
    return DefaceResult(stored=stored, removed=region, details=details)


def replace_region(
    scan: Scan, region: np.ndarray, values: np.ndarray, brain_mask: np.ndarray, details: Mapping[str, object]
) -> DefaceResult:
    """The result of a tool that replaces: voxels of the region get other values.

    Parameters
    ----------
    scan : the original
    region : (i, j, k) bool, what the tool replaces
    values : (i, j, k) float, intensities above air (`Scan.values`), finite everywhere
    brain_mask : (i, j, k) bool
    details : what the sidecar says beside quality control
    """
    stored = np.where(region, to_stored(scan, values), scan.stored).astype(scan.stored.dtype)
    quality = removed_volumes(scan.volume, region, brain_mask)
    return DefaceResult(stored=stored, removed=region, details={**details, "QualityControl": quality})
