"""dataset_description.json, README and .bidsignore of the two derivative datasets: shareable and identifiable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from bids_refacer import __version__
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import (
    IDENTIFIABLE_BIDSIGNORE,
    SHAREABLE_BIDSIGNORE,
)
from bids_refacer.dataset.tables import write_dictionary
from bids_refacer.files import write_json, write_text
from bids_refacer.layout import Layout, pointer

SHAREABLE_LINK = "shareable"
"""Name of the shareable dataset in links of the identifiable one, and in its BIDS URIs."""
_BIDS_VERSION = "1.10.0"
_NAMELESS = "a dataset without a name"
_ACKNOWLEDGE = (
    "Please cite bids_refacer, Gao et al. 2025 (arXiv:2501.18834), and the works that CITATION.md lists for what ran."
)
_SHAREABLE_README = """\
Audit of defacing by bids_refacer

This dataset holds what may be shared, once its owner has judged the audit: defaced images, the masks of what was
removed, brain masks, and tables of how close a recovered face comes to the true one.

- sub-*/[ses-*/]anat/*_desc-<tool>Defaced_<suffix>.nii.gz: the image defaced with each tool
- sub-*/[ses-*/]anat/*_mod-<suffix>_desc-<tool>_defacemask.nii.gz: what the tool removed or replaced
- sub-*/[ses-*/]anat/*_desc-brain_mask.nii.gz: the brain
- surfacedistance.tsv: distances (mm) between recovered and true skin surfaces; surfacedistance.json explains them
- calibration.tsv: whether the spread of several samples tells how wrong they are
- group_*.tsv: the tables of the group level, when it was run
- defacing.tsv: how much each tool removed, of the head and of the brain
- status.tsv: how each image fared with each tool, failures included; also images that were defaced with the mask of
  another one of their session
- CITATION.md: methods and references of what really ran

No face is in this folder. Recovered faces, records and logs are kept apart from it, in a dataset of their own.
Voxels outside the masks are those of the originals: the originals' terms of use hold for them.
"""
_OUTPUT_README = """\
Output of bids_refacer

- {shareable}: a BIDS derivative without any face. It may be shared, once its owner has judged the audit: copy this
  folder alone.
- {private}: recovered faces, which are identifiable data; records and logs, which have fingerprints of the originals
  and paths of the machine. NOT for sharing.
"""
_IDENTIFIABLE_README = """\
Recovered faces: identifiable data, not for sharing

This dataset holds what bids_refacer recovered from defaced images: volumes with a face painted back by a diffusion
model, skin surfaces of originals and of recovered heads, and maps of the distance between them. A recovered face can
be close enough to the true one to name a person; the surfaces of originals are the true ones. Treat all of it as the
undefaced originals: same consent, same access, same storage. It exists so that holders of the originals can judge how
to release their data. Remove it when it is no longer needed; --no-keep-refaced removes the faces at the end of a run.

- sub-*/[ses-*/]anat/*_desc-<tool>Refaced<k>_<suffix>.nii.gz: sample k of the diffusion model
- sub-*/[ses-*/]anat/*_desc-<tool>RefacedMean_<suffix>.nii.gz: mean of the samples
- sub-*/[ses-*/]anat/*_desc-<tool>AverageFace_<suffix>.nii.gz: the population-average face in the same place
- sub-*/[ses-*/]anat/*_face.surf.gii: skin surfaces (RAS+ mm)
- sub-*/[ses-*/]anat/*_facemap.npz: the shape of each face on a fixed grid, by which the group level finds it in a crowd
- sub-*/[ses-*/]anat/*_distance.shape.gii: distance (mm) of each vertex to the original's surface
- .bids_refacer: a record of each image and tool, by which a second run knows what is finished; without it, it is done
  again
- logs: settings and log of each run

Voxels in the painted region are synthetic; sidecars say so ("Synthetic": true).
"""


def write_datasets(layout: Layout, bids_dir: Path) -> None:
    """Make the folders of the two derivative datasets and the files that describe them; unchanged files are left alone.

    The identifiable dataset's folder gets mode 0700 before anything is written into it.

    Raises
    ------
    DatasetError
        When the input's dataset_description.json cannot be read.
    """
    source = read_description(bids_dir)
    shareable, private = layout.shareable, layout.identifiable
    make_private(private)
    write_text(layout.output_dir / "README", _output_readme(layout))
    path, text = pointer(layout)
    path.unlink(missing_ok=True) if text is None else write_text(path, text)
    for folder, description, readme, ignored in (
        (shareable, shareable_description(source, bids_dir, shareable), _SHAREABLE_README, SHAREABLE_BIDSIGNORE),
        (private, identifiable_description(source, bids_dir, layout), _IDENTIFIABLE_README, IDENTIFIABLE_BIDSIGNORE),
    ):
        write_json(folder / "dataset_description.json", description)
        write_text(folder / "README", readme)
        write_text(folder / ".bidsignore", "\n".join(ignored) + "\n")
    for table in ("surfacedistance", "defacing", "calibration", "status", "participants"):
        write_dictionary(shareable / f"{table}.json", table)


def _output_readme(layout: Layout) -> str:
    """What is what in the folder that people name."""
    private = layout.identifiable
    return _OUTPUT_README.format(
        shareable=layout.shareable.name, private=private.name if private.parent == layout.output_dir else private
    )


def shareable_of(private: Path) -> Path | None:
    """The shareable dataset that a folder of faces belongs to, as it says itself; None where it does not say."""
    try:
        link = read_description(private)["DatasetLinks"][SHAREABLE_LINK]
    except (DatasetError, KeyError, TypeError):
        return None
    return Path(os.path.normpath(private / link)) if isinstance(link, str) else None


def make_private(folder: Path) -> None:
    """Make the identifiable dataset's folder, closed to others."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # the umask restricts mkdir's mode, and a folder that exists keeps its own


def read_description(bids_dir: Path) -> dict[str, Any]:
    """The input's dataset_description.json. Raises DatasetError when it is absent, unreadable or not a JSON object."""
    path = bids_dir / "dataset_description.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): check the path and its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON ({error}): correct it.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} must hold a JSON object with Name and BIDSVersion: rewrite it.")
    return content


def shareable_description(source: Mapping[str, Any], bids_dir: Path, shareable: Path) -> dict[str, Any]:
    """dataset_description.json of the shareable dataset; `source` is the input's own."""
    license_name = source.get("License")
    if license_name:
        terms = f"Defaced images: as the originals ({license_name})."
    else:
        terms = "Defaced images: under the terms of the originals, which name no license."
    link = _shareable_link(bids_dir, shareable)
    return {
        "Name": f"Audit of defacing: {source.get('Name', _NAMELESS)}",
        **_common(source, link, link),
        "License": terms,
    }


def identifiable_description(source: Mapping[str, Any], bids_dir: Path, layout: Layout) -> dict[str, Any]:
    """dataset_description.json of the identifiable dataset; `source` is the input's own."""
    private = layout.identifiable
    content = {
        "Name": f"Recovered faces, identifiable: {source.get('Name', bids_dir.name)}",
        **_common(source, _link(bids_dir, private), bids_dir.resolve().as_uri()),
        "License": (
            "Not licensed for sharing. Recovered faces are identifiable data, under the terms, consent and access "
            f"rules of the undefaced originals ({source.get('License', 'no license named')}). Weights of the default "
            "model: CC BY-SA 3.0."
        ),
    }
    content["DatasetLinks"][SHAREABLE_LINK] = layout.from_identifiable()
    return content


def _common(source: Mapping[str, Any], link: str, url: str) -> dict[str, Any]:
    return {
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "Authors": _authors(source),
        "GeneratedBy": [generated_by()],
        "SourceDatasets": [source_of(source) or {"URL": url}],
        "DatasetLinks": {"raw": link},
        "HowToAcknowledge": " ".join(part for part in (_ACKNOWLEDGE, source.get("HowToAcknowledge")) if part),
    }


def _authors(source: Mapping[str, Any]) -> list[str]:
    """Those of the originals, and of this app, which made the derivative of them."""
    given = source.get("Authors")
    names = [name for name in given if isinstance(name, str) and name.strip()] if isinstance(given, list) else []
    return list(
        dict.fromkeys([*(names or [f"Authors of {source.get('Name', _NAMELESS)}"]), "bids_refacer contributors"])
    )


def generated_by() -> dict[str, Any]:
    """This app as an entry of ``GeneratedBy``."""
    made: dict[str, Any] = {"Name": "bids_refacer", "Version": __version__}
    url = _code_url()
    if url:
        made["CodeURL"] = url
    container = _container()
    if container:
        made["Container"] = container
    return made


def _code_url() -> str | None:
    """The address of the code, from the metadata of the installed package."""
    try:
        entries = metadata("bids_refacer").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a checkout
        return None
    urls = dict(entry.split(", ", 1) for entry in entries)
    return next((urls[name] for name in ("Source", "Repository", "Homepage") if name in urls), None)


def _container() -> dict[str, str] | None:
    """The container that this process runs in, by the environment variables that its image or Apptainer sets."""
    image = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    if image:  # before Docker's: an Apptainer image that was made from a Docker image has both variables
        return {"Type": "apptainer", "Tag": Path(image).name}
    tag = os.environ.get("BIDS_REFACER_DOCKER_TAG")
    if not tag:
        return None
    registry, _, name = tag.partition("/")
    if name and re.search(r"[.:]|^localhost$", registry):  # a host, which is nobody's business
        tag = name
    return {"Type": "docker", "Tag": tag if ":" in Path(tag).name else f"{tag}:{__version__}"}


def _link(bids_dir: Path, folder: Path) -> str:
    """The raw dataset, seen from a folder."""
    return Path(os.path.relpath(bids_dir.resolve(), folder.resolve())).as_posix()


def _shareable_link(bids_dir: Path, shareable: Path) -> str:
    """The same without names of other folders: where dataset and output are not side by side, as if they were."""
    link = _link(bids_dir, shareable)
    named = [part for part in link.split("/") if part != ".."]
    return link if not named or link == f"../../{named[0]}" else "../../raw"


def source_of(source: Mapping[str, Any]) -> dict[str, str] | None:
    """An entry of ``SourceDatasets`` for a dataset that has a DOI, by its description; None without one."""
    doi = source.get("DatasetDOI")
    if not doi:
        return None
    name = str(doi).removeprefix("https://doi.org/").removeprefix("doi:")
    return {"DOI": str(doi), "URL": f"https://doi.org/{name}"}
