"""dataset_description.json, README and .bidsignore of the two derivative datasets: shareable and identifiable."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from bids_refacer import __version__
from bids_refacer.dataset.errors import DatasetError
from bids_refacer.dataset.names import (
    IDENTIFIABLE_BIDSIGNORE,
    LOGS,
    RECORDS,
    SHAREABLE_BIDSIGNORE,
    identifiable_dir,
)
from bids_refacer.dataset.tables import write_dictionary
from bids_refacer.files import one_writer, write_json, write_text

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

The folder identifiable is NOT for sharing: it holds recovered faces, and records and logs, which have fingerprints of
the originals and paths of the machine. Leave it out of every copy of this dataset.
Voxels outside the masks are those of the originals: the originals' terms of use hold for them.
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


def write_datasets(output_dir: Path, bids_dir: Path) -> None:
    """Make the folders of the two derivative datasets and the files that describe them; unchanged files are left alone.

    The identifiable dataset's folder gets mode 0700 before anything is written into it.

    Raises
    ------
    DatasetError
        When the input's dataset_description.json cannot be read.
    """
    source = read_description(bids_dir)
    private = _make_private(output_dir)
    for folder, description, readme, ignored in (
        (output_dir, shareable_description(source, bids_dir, output_dir), _SHAREABLE_README, SHAREABLE_BIDSIGNORE),
        (private, identifiable_description(source, bids_dir, private), _IDENTIFIABLE_README, IDENTIFIABLE_BIDSIGNORE),
    ):
        write_json(folder / "dataset_description.json", description)
        write_text(folder / "README", readme)
        write_text(folder / ".bidsignore", "\n".join(ignored) + "\n")
    for table in ("surfacedistance", "defacing", "calibration", "status", "participants"):
        write_dictionary(output_dir / f"{table}.json", table)


def move_private_files(output_dir: Path) -> str | None:
    """Move records and logs that earlier versions left in the shareable dataset to the identifiable one.

    Returns
    -------
    str or None
        A sentence for people when anything was moved.
    """
    if not _former_folders(output_dir):
        return None
    private = _make_private(output_dir)
    with one_writer(private / RECORDS / "lock"):  # tasks of a cluster begin at the same time
        former = _former_folders(output_dir)
        for folder in former:
            _move_files(folder, private / folder.name)
    if not former:
        return None
    return (
        f"Records and logs of an earlier version lay in the shareable part of {output_dir}; they were moved to "
        f"{identifiable_dir(output_dir)}, as they hold fingerprints and paths of the originals."
    )


def _former_folders(output_dir: Path) -> list[Path]:
    """Folders of records and logs in the shareable dataset."""
    return [folder for name in (RECORDS, LOGS) if (folder := output_dir / name).is_dir() and not folder.is_symlink()]


def _make_private(output_dir: Path) -> Path:
    """The identifiable dataset's folder, closed to others."""
    private = identifiable_dir(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    private.mkdir(mode=0o700, exist_ok=True)
    private.chmod(0o700)  # the umask restricts mkdir's mode, and a folder that exists keeps its own
    return private


def _move_files(former: Path, place: Path) -> None:
    """Move every file of a folder into another one, where the newer of two stays, and remove the folder."""
    for path in sorted(former.rglob("*")):
        target = place / path.relative_to(former)
        if path.is_dir() and not path.is_symlink():
            continue
        if not target.exists() or target.stat().st_mtime_ns < path.lstat().st_mtime_ns:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
    shutil.rmtree(former, ignore_errors=True)


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


def shareable_description(source: Mapping[str, Any], bids_dir: Path, output_dir: Path) -> dict[str, Any]:
    """dataset_description.json of the shareable dataset; `source` is the input's own."""
    license_name = source.get("License")
    if license_name:
        terms = f"Defaced images: as the originals ({license_name})."
    else:
        terms = "Defaced images: under the terms of the originals, which name no license."
    link = _shareable_link(bids_dir, output_dir)
    return {
        "Name": f"Audit of defacing: {source.get('Name', _NAMELESS)}",
        **_common(source, link, link),
        "License": f"{terms} Not included: the folder identifiable, which is not for sharing.",
    }


def identifiable_description(source: Mapping[str, Any], bids_dir: Path, private: Path) -> dict[str, Any]:
    """dataset_description.json of the identifiable dataset; `source` is the input's own."""
    content = {
        "Name": f"Recovered faces, identifiable: {source.get('Name', bids_dir.name)}",
        **_common(source, _link(bids_dir, private), bids_dir.resolve().as_uri()),
        "License": (
            "Not licensed for sharing. Recovered faces are identifiable data, under the terms, consent and access "
            f"rules of the undefaced originals ({source.get('License', 'no license named')}). Weights of the default "
            "model: CC BY-SA 3.0."
        ),
    }
    content["DatasetLinks"]["shareable"] = ".."
    return content


def _common(source: Mapping[str, Any], link: str, url: str) -> dict[str, Any]:
    return {
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated_by()],
        "SourceDatasets": [source_of(source) or {"URL": url}],
        "DatasetLinks": {"raw": link},
        "HowToAcknowledge": " ".join(part for part in (_ACKNOWLEDGE, source.get("HowToAcknowledge")) if part),
    }


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


def _shareable_link(bids_dir: Path, output_dir: Path) -> str:
    """The same without names of other folders: where the two do not lie side by side, as if they did."""
    link = _link(bids_dir, output_dir)
    named = [part for part in link.split("/") if part != ".."]
    return link if not named or link == f"../{named[0]}" else "../raw"


def source_of(source: Mapping[str, Any]) -> dict[str, str] | None:
    """An entry of ``SourceDatasets`` for a dataset that has a DOI, by its description; None without one."""
    doi = source.get("DatasetDOI")
    if not doi:
        return None
    name = str(doi).removeprefix("https://doi.org/").removeprefix("doi:")
    return {"DOI": str(doi), "URL": f"https://doi.org/{name}"}
