"""Outputs of two runs, compared byte for byte, but for the times that runs took."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}|\.matplotlib-.*")
_VARYING = ("logs", "running", "work")  # parts of paths
# run times, and in records the sizes of the sidecars that show them
_TIMES = re.compile(r'"(RunTime|run_time_s|ModifiedNs|[^"]+\.json)": [-\d.e+]+')
_IMAGES = (".gz", ".gii", ".npz")  # written once, and never again by a later run


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Names of files: missing; added, or with another content than expected."""

    lost: list[str]
    wrong: list[str]


def differences(expected: Path, got: Path) -> Differences:
    """How an output differs from what it should be; of pages, which show times, only whether they are there."""
    ours, theirs = _files(expected), _files(got)
    other = {name for name in set(ours) & set(theirs) if content(ours[name]) != content(theirs[name])}
    return Differences(lost=sorted(set(ours) - set(theirs)), wrong=sorted(other | (set(theirs) - set(ours))))


def half_written(expected: Path, got: Path) -> list[str]:
    """Images, surfaces and arrays that are there under their own names and are not whole."""
    ours, theirs = _files(expected), _files(got)
    names = [name for name in theirs if name.endswith(_IMAGES) and not _TEMPORARY.fullmatch(Path(name).name)]
    return [name for name in names if name not in ours or content(ours[name]) != content(theirs[name])]


def temporaries(*folders: Path) -> list[Path]:
    """What writers leave that are killed."""
    found = (path for folder in folders if folder.exists() for path in folder.rglob(".*"))
    return [path for path in found if _TEMPORARY.fullmatch(path.name)]


def _files(root: Path) -> dict[str, Path]:
    if not root.exists():
        return {}
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path for name, path in found.items() if not set(_VARYING) & set(Path(name).parts)}


def content(path: Path) -> object:
    """The bytes of a file; of texts without the times that runs took."""
    if path.suffix == ".html":
        return None
    if path.suffix == ".tsv":
        header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
        kept = [place for place, name in enumerate(header) if not name.startswith("run_time")]
        return [[row[place] for place in kept] for row in (header, *rows)]
    return _TIMES.sub("", path.read_text()) if path.suffix == ".json" else path.read_bytes()
