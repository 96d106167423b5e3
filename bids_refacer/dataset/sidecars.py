"""The JSON sidecars of outputs: where each came from and how it was made."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bids_refacer import __version__
from bids_refacer.dataset.images import HeadImage

_PACKAGES = (
    "numpy scipy nibabel nipype pybids torch scikit-image trimesh libigl safetensors deepbet quickshear pydeface "
    "niimath"
).split()


def software_versions() -> dict[str, str]:
    """Versions of this app, Python, and the packages that results depend on; absent packages are left out."""
    versions = {"bids_refacer": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def defaced_sidecar(
    image: HeadImage, tool: str, details: Mapping[str, Any], *, brain_mask_uri: str | None, run_time_s: float
) -> dict[str, Any]:
    """Sidecar of a defaced image. `details` is what the defacer reported (Tool, Version, Command, Options, ...)."""
    return {
        "Description": f"Original image defaced with {tool}",
        "Sources": [uri for uri in (image.bids_uri, brain_mask_uri) if uri],
        "SpatialReference": image.bids_uri,
        "SkullStripped": tool == "skullstrip",
        "Defaced": True,
        **details,
        **_provenance(run_time_s),
    }


def defacemask_sidecar(
    image: HeadImage, tool: str, details: Mapping[str, Any], *, defaced_uri: str, run_time_s: float
) -> dict[str, Any]:
    """Sidecar of the mask of what a tool removed or replaced."""
    return {
        "Description": f"Voxels that {tool} removed or replaced (1), air as well as tissue; all others (0) are intact",
        "Sources": [image.bids_uri, defaced_uri],
        "SpatialReference": image.bids_uri,
        "SkullStripped": False,  # about the anatomy that the mask was drawn on; the schema requires it
        "Type": "Face",
        **details,
        **_provenance(run_time_s),
    }


def other_defaced_sidecar(
    image: HeadImage, tool: str, *, mask_uri: str, reference_mask_uri: str, native: bool, run_time_s: float
) -> dict[str, Any]:
    """Sidecar of an image that was defaced as another one of its session was, whose mask is `reference_mask_uri`.

    `native`: the tool ran on the image itself, with what was found in the other one.
    """
    how = f"with {tool}" if native else f"with the mask that {tool} left of another image of the session"
    return {
        "Description": f"Original image defaced {how}",
        "Sources": [image.bids_uri, reference_mask_uri, mask_uri],
        "SpatialReference": image.bids_uri,
        "SkullStripped": tool == "skullstrip",
        "Defaced": True,
        **_provenance(run_time_s),
    }


def other_mask_sidecar(
    image: HeadImage,
    reference: HeadImage,
    tool: str,
    *,
    defaced_uri: str,
    reference_mask_uri: str,
    native: bool,
    run_time_s: float,
) -> dict[str, Any]:
    """Sidecar of the mask of such an image; its sources are the other image and its mask as well."""
    what = f"{tool} removed or replaced" if native else f"were removed as {tool} did in another image of the session"
    return {
        "Description": f"Voxels that {what} (1), air as well as tissue; all others (0) are intact",
        "Sources": [image.bids_uri, reference.bids_uri, reference_mask_uri, defaced_uri],
        "SpatialReference": image.bids_uri,
        "SkullStripped": False,
        "Type": "Face",
        **_provenance(run_time_s),
    }


def brain_mask_sidecar(image: HeadImage, *, run_time_s: float) -> dict[str, Any]:
    """Sidecar of the brain mask, which deepbet drew on the original."""
    return {
        "Description": "Brain mask of the original image",
        "Sources": [image.bids_uri],
        "SpatialReference": image.bids_uri,
        "SkullStripped": False,
        "Type": "Brain",
        "Tool": "deepbet",
        "Version": software_versions().get("deepbet", "not installed"),
        **_provenance(run_time_s),
    }


def refaced_sidecar(
    image: HeadImage,
    description: str,
    *,
    defaced_uri: str,
    seeds: Sequence[int],
    weights_sha256: Mapping[str, str],
    options: Mapping[str, Any],
    command: str,
    run_time_s: float,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Sidecar of a refaced image, of the mean of samples, or of the average face (no seeds, no weights).

    `options` are those of the attack (Model, Sampler, Steps, NumSamples, Device, ...). The image is synthetic in the
    face and made from the defaced image alone; it is identifiable all the same.
    """
    return {
        "Description": description,
        "Sources": [defaced_uri],
        "SpatialReference": image.bids_uri,
        "SkullStripped": False,
        "Synthetic": True,
        "Identifiable": True,
        "Tool": "bids_refacer",
        "Version": __version__,
        "Command": command,
        "Options": dict(options),
        "Seeds": list(seeds),
        "WeightsSHA256": dict(weights_sha256),
        **(details or {}),
        **_provenance(run_time_s),
    }


def surface_sidecar(
    description: str, *, sources: Sequence[str], run_time_s: float, synthetic: bool, details: Mapping[str, Any]
) -> dict[str, Any]:
    """Sidecar of a skin surface or of its distance map. `details`: threshold (intensity), Units, and the like."""
    return {
        "Description": description,
        "Sources": list(sources),
        "Coordinates": "RAS+ mm, scanner",
        "Synthetic": synthetic,
        "Identifiable": True,
        **details,
        **_provenance(run_time_s),
    }


def _provenance(run_time_s: float) -> dict[str, Any]:
    # not SoftwareVersions: BIDS means the scanner's by that, and wants a text
    return {"SoftwarePackages": software_versions(), "RunTime": round(run_time_s, 2)}
