"""What a defacing tool is to this app, and what each must hand back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bids_refacer.defacers.qc import defacing_qc
from bids_refacer.problems import AuditProblem
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.nifti import Scan, to_stored


class DefacerError(AuditProblem):
    """A defacing tool failed on an image. The message is a sentence: file, what is wrong, what to do."""


@dataclass(frozen=True, kw_only=True)
class DefaceResult:
    """A defaced image.

    ``stored`` is ``(i, j, k)`` in the dtype and scaling of the input scan, equal to it bit for bit where ``removed``
    ``(i, j, k)`` bool is False. ``removed`` covers the tool's whole region, air as well as tissue. ``details`` goes
    into the sidecar: Tool, Version, Command, Options, Registration (where there is one), FillValue, QualityControl.
    """

    stored: np.ndarray
    removed: np.ndarray
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Defacer:
    """One entry of the registry.

    ``run(scan, brain_mask, alignment, work_dir)`` takes an ``(i, j, k)`` bool mask and an empty folder for temporary
    files. ``missing()`` is None when the tool can run here, else a sentence that says how to get it. ``executable`` is
    the program it calls, None for Python code; ``contrasts`` are the suffixes it was made for; ``memory_gb`` what it
    takes on a 1 mm head; ``options`` what it is called with; ``known_bad`` has versions and what is wrong with them;
    ``verified`` is whether the makers of this app ran the real program, and not only a stand-in.
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
    options: Mapping[str, Any] = field(default_factory=dict)
    known_bad: Mapping[str, str] = field(default_factory=dict)
    verified: bool = True

    def warnings(self, suffix: str) -> list[str]:
        """Sentences about this version of the tool, and about images of this suffix."""
        said = []
        if suffix not in self.contrasts:
            made_for = ", ".join(self.contrasts)
            said.append(f"{self.name} is made for {made_for}, not for {suffix}: look at its results.")
        if fault := self.known_bad.get(self.version()):
            said.append(f"{self.name} {self.version()} is known to be bad: {fault}.")
        return said


def remove(scan: Scan, removed: np.ndarray, brain_mask: np.ndarray, details: dict[str, Any]) -> DefaceResult:
    """The result of a tool that zeroes: ``removed`` voxels get the stored value whose scaled value is zero."""
    fill = to_stored(scan, np.zeros(1))[0]
    stored = np.where(removed, fill, scan.stored).astype(scan.stored.dtype)
    quality = defacing_qc(scan.values, scan.affine, removed, brain_mask)
    return DefaceResult(
        stored=stored, removed=removed, details={**details, "FillValue": 0.0, "QualityControl": quality}
    )


def package_version(package: str) -> str:
    """Version of an installed package, "not installed" otherwise."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def missing_package(package: str, tool: str) -> str | None:
    """None if ``package`` can be imported, else a sentence saying how to get it for ``tool``."""
    if find_spec(package) is not None:
        return None
    return f"The tool {tool} needs the Python package {package}, which is not installed: run `pip install {package}`."
