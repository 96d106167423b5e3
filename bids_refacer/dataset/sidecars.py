"""The JSON sidecars of outputs: where each came from and how it was made."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bids_refacer import __version__
from bids_refacer.dataset.descriptions.acquisition import acquisition_of
from bids_refacer.dataset.descriptions.shareable_text import shareable_json
from bids_refacer.dataset.details import Json, number
from bids_refacer.dataset.images import HeadImage

_PACKAGES = (
    "numpy scipy nibabel nipype pybids torch scikit-image trimesh libigl safetensors deepbet quickshear pydeface "
    "niimath"
).split()

HEADER_TEXT_BLANKED, HEADER_TEXT_KEPT = "blanked", "kept"
"""Values of ``HeaderText``: what became of the texts and extensions of the original's NIfTI header."""


def software_versions() -> dict[str, str]:
    """Versions of this app, Python, and the packages that results depend on; absent packages are left out."""
    installed = {package: found for package in _PACKAGES if (found := _installed_version(package)) is not None}
    return {"bids_refacer": __version__, "python": platform.python_version(), **installed}


@cache  # the metadata of a package are a file, which is read and parsed anew for each question
def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """The sidecar of an output that is yet to be made.

    Attributes
    ----------
    description : what the output is
    sources : BIDS URIs of what it was made from
    members : what else is known before it is made, by names of JSON members
    """

    description: str
    sources: tuple[str, ...]
    members: Json = field(hash=False)

    def complete(self, report: Json) -> Json:
        """The whole sidecar; `report` is what the node that made the output says, with its ``RunTime`` (s)."""
        return self._completed(self.members, report)

    def _completed(self, members: Json, report: Json) -> Json:
        known = {"Description": self.description, "Sources": list(self.sources), **members}
        own = {name: value for name, value in report.items() if name != "RunTime"}
        return {**known, **_provenance(report), **shareable_json(own)}


@dataclass(frozen=True, kw_only=True)
class RefacedSidecar(Sidecar):
    """The sidecar of a refaced image; `seeds` are those of its samples: one, several of a mean, none of an average.

    The image is synthetic in the face and made from the defaced image alone; it is identifiable all the same.
    """

    seeds: tuple[int, ...]

    def complete(self, report: Json) -> Json:
        """The whole sidecar; the average face owes nothing to the options and weights of the attack."""
        drawn = {
            "Command": report["Command"],
            "Options": report["Options"] if self.seeds else {},
            "Seeds": list(self.seeds),
            "WeightsSHA256": report["WeightsSHA256"] if self.seeds else {},
        }
        rest = {name: value for name, value in report.items() if name not in drawn}
        return self._completed({**self.members, **shareable_json(drawn)}, rest)


@dataclass(frozen=True, kw_only=True)
class DefacedSidecar(Sidecar):
    """The sidecar of a defaced image: how it was acquired, and how and by what its face was removed.

    `tool` is the tool's name, `how` goes on after "Face removed".
    """

    tool: str
    how: str

    def complete(self, report: Json) -> Json:
        """The whole sidecar; the tool's version is the report's."""
        removal = face_removal(self.tool, str(report.get("Version") or ""), self.how)
        return self._completed({**self.members, **removal}, report)


def face_removal(tool: str, version_of_tool: str, how: str) -> dict[str, list[Any]]:
    """The two members by which BIDS says how a face was removed; `how` names the tool and follows "Face removed"."""
    said = f"Face removed {how.replace(tool, f'{tool} {version_of_tool}'.strip(), 1)}"
    return {
        "DeidentificationMethod": [f"{said}, by bids_refacer {__version__}"],
        "DeidentificationMethodCodeSequence": [_FEATURES_CLEANED, _code_of(tool, said)],
    }


# DICOM PS3.16, context group 7050 (De-identification Method); the scheme DCM has one version
_FEATURES_CLEANED = {
    "CodeValue": "113102",
    "CodeMeaning": "Clean Recognizable Visual Features Option",
    "CodingSchemeDesignator": "DCM",
    "CodingSchemeVersion": "01",
}
_MOST_OF_CODE, _MOST_OF_MEANING = 16, 64  # characters that DICOM allows (SH, LO)


def _code_of(tool: str, said: str) -> Json:
    """The tool's own code; DICOM's private schemes begin with 99."""
    return {
        "CodeValue": tool[:_MOST_OF_CODE],
        "CodeMeaning": said[:_MOST_OF_MEANING],
        "CodingSchemeDesignator": "99BIDS_REFACER",
        "CodingSchemeVersion": __version__,
    }


def defaced_sidecar(
    image: HeadImage, tool: str, *, brain_mask_uri: str | None, header_text: str = HEADER_TEXT_BLANKED
) -> DefacedSidecar:
    """Of a defaced image; `header_text` is what became of the texts of the original's header."""
    return DefacedSidecar(
        tool=tool,
        how=f"with {tool}",
        description=f"Original image defaced with {tool}",
        sources=tuple(uri for uri in (image.bids_uri, brain_mask_uri) if uri),
        members=_defaced_members(image, tool, header_text),
    )


def defacemask_sidecar(image: HeadImage, tool: str, *, defaced_uri: str) -> Sidecar:
    """Of the mask of what a tool removed or replaced."""
    return Sidecar(
        description=f"Voxels that {tool} removed or replaced (1), air as well as tissue; all others (0) are intact",
        sources=(image.bids_uri, defaced_uri),
        members=_mask_members(image, "Face"),
    )


def other_defaced_sidecar(
    image: HeadImage,
    tool: str,
    *,
    mask_uri: str,
    reference_mask_uri: str,
    native: bool,
    header_text: str = HEADER_TEXT_BLANKED,
) -> DefacedSidecar:
    """Of an image that was defaced as another one of its session was, whose mask is `reference_mask_uri`.

    `native`: the tool ran on the image itself, with what was found in the other one.
    """
    how = f"with {tool}" if native else f"with the mask that {tool} left of another image of the session"
    return DefacedSidecar(
        tool=tool,
        how=how,
        description=f"Original image defaced {how}",
        sources=(image.bids_uri, reference_mask_uri, mask_uri),
        members=_defaced_members(image, tool, header_text),
    )


def other_mask_sidecar(
    image: HeadImage, reference: HeadImage, tool: str, *, defaced_uri: str, reference_mask_uri: str, native: bool
) -> Sidecar:
    """Of the mask of such an image; its sources are the other image and its mask as well."""
    what = f"{tool} removed or replaced" if native else f"were removed as {tool} did in another image of the session"
    return Sidecar(
        description=f"Voxels that {what} (1), air as well as tissue; all others (0) are intact",
        sources=(image.bids_uri, reference.bids_uri, reference_mask_uri, defaced_uri),
        members=_mask_members(image, "Face"),
    )


def brain_mask_sidecar(image: HeadImage) -> Sidecar:
    """Of the brain mask, which deepbet drew on the original."""
    version_of_deepbet = software_versions().get("deepbet", "not installed")
    return Sidecar(
        description="Brain mask of the original image",
        sources=(image.bids_uri,),
        members={**_mask_members(image, "Brain"), "Tool": "deepbet", "Version": version_of_deepbet},
    )


def refaced_sidecar(
    image: HeadImage,
    description: str,
    *,
    defaced_uri: str,
    seeds: Sequence[int],
    header_text: str = HEADER_TEXT_BLANKED,
) -> RefacedSidecar:
    """Of a refaced image, of the mean of samples, or of the average face (no seeds)."""
    return RefacedSidecar(
        description=description,
        sources=(defaced_uri,),
        seeds=tuple(seeds),
        members={
            "SpatialReference": image.bids_uri,
            "SkullStripped": False,
            "Synthetic": True,
            "Identifiable": True,
            "HeaderText": header_text,
            "Tool": "bids_refacer",
            "Version": __version__,
        },
    )


def surface_sidecar(description: str, *, sources: Sequence[str], synthetic: bool, details: Json) -> Sidecar:
    """Of a skin surface, its distance map, or what else was measured of a head; `details` are Units, and the like."""
    members = {"Coordinates": "RAS+ mm, scanner", "Synthetic": synthetic, "Identifiable": True, **details}
    return Sidecar(description=description, sources=tuple(sources), members=members)


def _defaced_members(image: HeadImage, tool: str, header_text: str) -> Json:
    return {
        "SpatialReference": image.bids_uri,
        "SkullStripped": tool == "skullstrip",
        "HeaderText": header_text,
        **acquisition_of(image),
    }


def _mask_members(image: HeadImage, kind: str) -> Json:
    # SkullStripped is about the anatomy that the mask was drawn on; the schema requires it
    return {"SpatialReference": image.bids_uri, "SkullStripped": False, "Type": kind}


def _provenance(report: Json) -> Json:
    # not SoftwareVersions: BIDS means the scanner's by that, and wants a text
    return {"SoftwarePackages": software_versions(), "RunTime": round(number(report, "RunTime"), 2)}
