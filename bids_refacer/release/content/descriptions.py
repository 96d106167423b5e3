"""dataset_description.json, README, CHANGES and .bidsignore of a release: the input's own, completed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bids_refacer.dataset.descriptions.derivatives import generated_by, source_of
from bids_refacer.wording import counted

MASKS = "derivatives/defacemasks"
"""The derivative dataset of the masks, inside the release."""

BIDSIGNORE = ("/release.tsv", "/release.json", "/release.html")

_ACKNOWLEDGE = "Defaced with {tool} and released with bids_refacer."
_BIDS_VERSION = "1.10.0"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the texts of a release say: the tool with its version, the day, and numbers of images."""

    tool: str
    version: str
    day: str
    defaced: int
    held_back: int


def release_description(source: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """dataset_description.json; `source` is the input's own, already scrubbed."""
    made = source.get("GeneratedBy")
    origin = source_of(source)
    former = source.get("SourceDatasets")
    said = source.get("HowToAcknowledge")
    own = {**generated_by(), "Description": f"Defaced with {_tool(facts)}"}
    thanks = _ACKNOWLEDGE.format(tool=_tool(facts))
    completed = {
        **source,
        "DatasetType": "raw",
        "GeneratedBy": [*(made if isinstance(made, list) else []), own],
        "HowToAcknowledge": f"{said} {thanks}" if said else thanks,
    }
    if origin:
        completed["SourceDatasets"] = [*(former if isinstance(former, list) else []), origin]
        completed.pop("DatasetDOI", None)  # it names the dataset with its faces
    return completed


def masks_description(name: str) -> dict[str, Any]:
    """dataset_description.json of the derivative dataset of the masks."""
    return {
        "Name": f"Masks of what was removed: {name}",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated_by()],
        "DatasetLinks": {"raw": "../.."},
    }


def carried_mask_sidecar(image: str, reference: str, tool: str) -> dict[str, Any]:
    """The sidecar of a mask that was carried from an audited image to another one of its session."""
    return {
        "Description": f"Voxels that were removed as {tool} did in another image of the session (1)",
        "Sources": [f"bids:raw:{image}", f"bids:raw:{reference}"],
        "SpatialReference": f"bids:raw:{image}",
        "SkullStripped": False,
        "Type": "Face",
    }


def release_readme(text: str | None, facts: Facts) -> str:
    """README with a part about the defacing at its end; `text` is the input's own, None where it has none."""
    about = (
        "Defacing\n--------\n\n"
        f"Faces were removed from {counted(facts.defaced, 'image')} with {_tool(facts)}, by bids_refacer. "
        "Voxels outside the masks in derivatives/defacemasks are those of the originals. Sidecars and tables were "
        "cleaned by a published list, texts and extensions of NIfTI headers are blank. "
        "release.tsv says of each file what was done with it, and release.html says it in short. "
        f"{_held_back(facts)}Removing a face makes it harder to know a person, not impossible.\n"
    )
    return f"{text.rstrip()}\n\n{about}" if text and text.strip() else f"A BIDS dataset\n\n{about}"


def release_changes(text: str | None, facts: Facts) -> str:
    """CHANGES with an entry at its top (CPAN changelog); `text` is the input's own, None where it has none."""
    entry = (
        f"{_next_version(text)} {facts.day}\n"
        f"  - Faces removed from {counted(facts.defaced, 'image')} with {_tool(facts)} (bids_refacer); sidecars, "
        "tables and headers cleaned.\n"
    )
    return f"{entry}\n{text.lstrip()}" if text and text.strip() else entry


def release_bidsignore(text: str | None) -> str:
    """.bidsignore with the certificate's files."""
    lines = (text or "").splitlines()
    return "\n".join([*lines, *(one for one in BIDSIGNORE if one not in lines)]) + "\n"


def _held_back(facts: Facts) -> str:
    if not facts.held_back:
        return ""
    verb = "is" if facts.held_back == 1 else "are"
    return f"{counted(facts.held_back, 'image')} could not be released and {verb} not here. "


def _tool(facts: Facts) -> str:
    return f"{facts.tool} {facts.version}" if facts.version else facts.tool


def _next_version(text: str | None) -> str:
    """The version after that of the newest entry, in its last number; 1.0.0 for the first."""
    match = re.search(r"^\D{0,2}(\d+(?:\.\d+)*)\s", text or "", re.MULTILINE)
    if match is None:
        return "1.0.0"
    *first, last = match[1].split(".")
    return ".".join([*first, str(int(last) + 1)])
