"""Every file of the originals' dataset, and what kind of file it is: nothing is passed over in silence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from bids_refacer.dataset.image_key import EXTENSIONS
from bids_refacer.dataset.images import missing_content
from bids_refacer.dataset.inputs.naming import FOREIGN
from bids_refacer.problems import printable

DICTIONARIES = (
    *("participants", "scans", "sessions", "samples", "events", "channels", "electrodes", "coordsystem", "physio"),
    *("stim", "beh", "aslcontext", "motion", "markers", "optodes", "blood", "genetic_info", "description"),
)
"""Suffixes of JSON files that describe tables, or no image."""

_UNCHECKED = (
    *(".mgz", ".mgh", ".img", ".hdr", ".mnc", ".nrrd", ".nhdr", ".mha", ".mhd", ".par", ".rec", ".parrec"),
    *(".dcm", ".ima", ".dicom", ".gii", ".stl", ".ply", ".obj", ".vtk", ".vtp", ".h5", ".mat", ".npy", ".npz"),
    *(".pdf", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".svg", ".webp", ".html", ".mp4", ".avi"),
    *(".mov", ".zip", ".tar", ".tgz", ".7z", ".bz2", ".xz"),
)
"""Files that may show a head or hold an image, and into which nobody looks here."""

OF_GIT = (".git", ".datalad", ".gitattributes", ".gitmodules")
"""Files and folders of those who keep a release in git or DataLad."""

_TEXTS = ("", ".txt", ".md", ".rst", ".cff", ".bib", ".bval", ".bvec", ".bvals", ".bvecs", ".tsv", ".json")
_POINTERS = (b"/annex/objects/", b"version https://git-lfs")
_LONGEST_POINTER = 2**15


class Kind(Enum):
    """What a file is, by its name and place."""

    DESCRIPTION = "dataset_description.json"
    OTHER_DESCRIPTION = "dataset_description.json of a dataset inside"
    TEXT_TO_COMPLETE = "README, CHANGES or .bidsignore"
    IMAGE = "NIfTI image"
    SIDECAR = "sidecar of images"
    DICTIONARY = "dictionary of a table"
    TABLE = "table"
    PACKED = "gzipped file"
    OTHER = "other file"
    UNCHECKED = "nobody can look into it here"
    UNREADABLE = "its content is not here"
    LEFT_OUT = "left out"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file, or a whole folder that is left out; `path` is relative, with forward slashes; `note` says why."""

    path: str
    source: Path
    kind: Kind
    note: str | None = None

    @property
    def is_plain_text(self) -> bool:
        """Whether a person can read all that it holds."""
        return self.source.suffix.lower() in _TEXTS


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a release takes over that others leave out: folders of other datasets, and files that nobody can look into.

    `unchecked` are patterns of paths.
    """

    include: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


def list_files(bids_dir: Path, wanted: Wanted | None = None) -> list[Found]:
    """Every file of a dataset, sorted."""
    return sorted(_walk(bids_dir, bids_dir, frozenset(), wanted or Wanted()), key=lambda found: found.path)


def _walk(root: Path, folder: Path, above: frozenset[str], wanted: Wanted) -> Iterator[Found]:
    real = os.path.realpath(folder)
    if real in above:
        note = "A link that leads back to a folder around it."
        yield Found(path=_name(folder, root) + "/", source=folder, kind=Kind.LEFT_OUT, note=note)
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_dir():
            reason = _left_out(entry.name, wanted.include)
            if reason:
                yield Found(path=_name(path, root) + "/", source=path, kind=Kind.LEFT_OUT, note=reason)
            else:
                yield from _walk(root, path, above | {real}, wanted)
        else:
            yield _found(path, root, wanted.unchecked)


def _left_out(folder: str, include: Sequence[str]) -> str | None:
    """Why a folder is left out as a whole."""
    if folder in FOREIGN and folder not in include:
        return f"Datasets of their own in {folder} are not looked at and not released: --include {folder} takes them."
    return "A hidden folder, which is no part of BIDS." if folder.startswith(".") else None


def _found(path: Path, root: Path, unchecked: Sequence[str]) -> Found:
    name = _name(path, root)
    kind, note = _kind(path, name, unchecked)
    return Found(path=name, source=path, kind=kind, note=note)


def _kind(path: Path, name: str, unchecked: Sequence[str]) -> tuple[Kind, str | None]:
    low = path.name.lower()
    if not name.isprintable() or " ".join(name.split()) != name:
        return Kind.LEFT_OUT, "Its name holds characters that a table cannot hold: rename it."
    missing = missing_content(path)
    if missing:
        return Kind.UNREADABLE, printable(missing)
    if name == ".bidsignore" or ("/" not in name and low.split(".")[0] in ("readme", "changes")):
        return Kind.TEXT_TO_COMPLETE, None
    if path.name.startswith("."):
        return Kind.LEFT_OUT, "A hidden file, which is no part of BIDS."
    if not path.is_file():
        return Kind.LEFT_OUT, "No file: a device, a pipe or a socket."
    if _is_pointer(path):
        return Kind.UNREADABLE, f"{path} is a pointer without its content: run 'git annex get' or 'datalad get' on it."
    if low.endswith(EXTENSIONS):
        return Kind.IMAGE, None
    if name == "dataset_description.json":
        return Kind.DESCRIPTION, None
    if low.endswith(_UNCHECKED) and not any(fnmatchcase(name, pattern) for pattern in unchecked):
        return Kind.UNCHECKED, f"Nobody can look into it here: look yourself, then give --release-unchecked '{name}'."
    return _text_kind(path, name), None


def kind_of(path: Path, name: str) -> Kind:
    """What a file is; `name` is its path in the dataset."""
    return _kind(path, name, ())[0]


def _text_kind(path: Path, name: str) -> Kind:
    if path.name == "dataset_description.json":
        return Kind.OTHER_DESCRIPTION
    low, in_bids = path.name.lower(), name.split("/")[0] not in ("code", "stimuli")
    if low.endswith(".json") and in_bids:
        is_dictionary = name.startswith("phenotype/") or path.stem.split("_")[-1] in DICTIONARIES
        return Kind.DICTIONARY if is_dictionary else Kind.SIDECAR
    if low.endswith(".tsv") and in_bids:
        return Kind.TABLE
    return Kind.PACKED if low.endswith(".gz") else Kind.OTHER


def _is_pointer(path: Path) -> bool:
    if path.stat().st_size > _LONGEST_POINTER:
        return False
    with path.open("rb") as file:
        return file.read(64).startswith(_POINTERS)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
